"""What a change document has of libvirt, typed word for word: a new machine, a bigger disk, and all gone again."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from model import names
from model.change.document import Part, markdown
from model.change.planned import Planned
from model.libvirt_xml import (
    CardSpec,
    DomainSpec,
    domain_arguments,
    network_arguments,
    replacing_xslt,
    volume_xml,
)
from provisioners.changes.by_hand import parts_of
from provisioners.hypervisor.virsh import Virsh
from tests.doubles.robot import read
from tests.model.test_change_document import document
from tests.vm.lab import left_overs

pytestmark = pytest.mark.vm

STACK = f"t{os.getpid() % 65536:04x}h-stage"
MIB = 1024 * 1024
DISKS = names.stack_directory(STACK)
NETWORK = names.network(STACK, "control")
SPEC = DomainSpec(
    name=names.domain(STACK, "db1"),
    uuid=names.domain_uuid(STACK, "db1"),
    vcpus=1,
    memory_mib=64,
    system_disk=str(DISKS / "db1-system.qcow2"),
    data_disk=str(DISKS / "db1-data.qcow2"),
    control=CardSpec(network=NETWORK, mac="52:54:00:0b:1d:01"),
)


def new(kind: str, called: str, /, **inputs: Any) -> Planned:
    """Return the plan to make a resource."""
    member = f"{kind[0].lower()}{kind[1:]}"
    return Planned(operation="create", kind=f"libvirt:index/{member}:{kind}", name=called, after=inputs)


def disk(what: str, mib: int) -> Mapping[str, Any]:
    """Return the inputs of a disk of the machine."""
    name = f"db1-{what}.qcow2"
    xml = {"xslt": replacing_xslt(volume_xml(name, mib))}
    return {"name": name, "pool": STACK, "format": "qcow2", "size": mib * MIB, "xml": xml}


WANTED = (
    new("Network", "control", **network_arguments(NETWORK, names.bridge(STACK, "control"))),
    new("Pool", "pool", name=STACK, type="dir", target={"path": str(DISKS)}),
    new("Volume", "db1-system", **disk("system", 16)),
    new("Volume", "db1-data", **disk("data", 32)),
    new("Domain", "db1", **domain_arguments(SPEC)),
)
BIGGER = Planned(
    operation="replace",
    kind=WANTED[3].kind,
    name="db1-data",
    before=disk("data", 32),
    after=disk("data", 48),
    differing=("size", "xml.xslt"),
)


@pytest.fixture
def virsh() -> Iterator[Virsh]:
    virsh = Virsh()
    yield virsh
    of_machine, of_network = (("destroy", "undefine"), ("net-destroy", "net-undefine"))
    rest = [("vol-delete", disk) for disk in (SPEC.system_disk, SPEC.data_disk)]
    rest += [(verb, STACK) for verb in ("pool-destroy", "pool-delete", "pool-undefine")]
    for verb, name in (*((each, SPEC.name) for each in of_machine), *((each, NETWORK) for each in of_network), *rest):
        subprocess.run(["virsh", "--connect", virsh.uri, verb, name], capture_output=True, check=False)
    assert left_overs(STACK) == []


def typed(parts: Sequence[Part], kind: str = "do") -> None:
    """Type what a document with these parts has for the operator's own computer."""
    for block in read(markdown(document(*parts))):
        if (block.kind, block.machine) == (kind, ""):
            done = subprocess.run(["bash"], input=block.text, capture_output=True, text=True, timeout=60, check=False)
            assert done.stdout.splitlines()[-1:] == [block.prints], f"{block.text}{done.stdout}{done.stderr}"


def data_mib() -> int:
    """Return how large the data disk is."""
    argv = ("qemu-img", "info", "--force-share", "--output=json", SPEC.data_disk)
    shown = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return int(shown["virtual-size"]) // MIB


def test_a_new_machine_and_a_bigger_disk_and_all_of_it_gone_again(virsh: Virsh) -> None:
    parts = [part for each in WANTED for part in parts_of(each)]
    typed(parts)
    assert virsh.state(SPEC.name) == "running"
    assert data_mib() == 32

    typed(parts_of(BIGGER))
    assert data_mib() == 48
    assert f"{48 * MIB}" in virsh.run("domblkinfo", SPEC.name, "vdb"), "the machine has seen it"
    virsh.run("destroy", SPEC.name)  # nothing in it would hear that it is to shut down
    typed(parts_of(replace(BIGGER, before=disk("data", 48), after=disk("data", 64))))
    assert data_mib() == 64

    typed(parts[::-1], "undo")
    assert left_overs(STACK) == []
