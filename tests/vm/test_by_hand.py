"""What a change document has of libvirt, typed word for word: a new machine, a bigger disk, and all gone again."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model import names
from model.change.document import Part, markdown
from model.change.planned import BOOT, UNKNOWN, Needed, Planned
from model.connection import Connection
from model.kernel import kernel_command_line
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
from provisioners.shell import close_all, connect
from tests.doubles.robot import read
from tests.doubles.sshd import keypair
from tests.model.test_change_document import document
from tests.vm.lab import ROOT, image, left_overs

pytestmark = pytest.mark.vm

STACK = f"t{os.getpid() % 65536:04x}h-stage"
MIB = 1024 * 1024
DISKS, IMAGES = names.stack_directory(STACK), names.ROOT / "images"
NETWORK, HOST, ADDRESS = names.network(STACK, "control"), "198.19.214.1", "198.19.214.11"
CARD = CardSpec(network=NETWORK, mac="52:54:00:0b:1d:01")
PRIVATE, PUBLIC = keypair()


def spec() -> DomainSpec:
    """Return the machine."""
    below = IMAGES / image()
    return DomainSpec(
        name=names.domain(STACK, "db1"),
        uuid=names.domain_uuid(STACK, "db1"),
        vcpus=2,
        memory_mib=512,
        system_disk=str(DISKS / "db1-system.qcow2"),
        data_disk=str(DISKS / "db1-data.qcow2"),
        control=CARD,
        kernel=str(below / "vmlinuz"),
        initrd=str(below / "initrd.img"),
        cmdline=kernel_command_line("tcg"),
    )


def new(kind: str, called: str, /, **inputs: Any) -> Planned:
    """Return the plan to make a resource of libvirt's."""
    member = f"{kind[0].lower()}{kind[1:]}"
    return Planned(operation="create", kind=f"libvirt:index/{member}:{kind}", name=called, after=inputs)


def disk(what: str, mib: int) -> Mapping[str, Any]:
    """Return the inputs of a disk of the machine."""
    name = f"db1-{what}.qcow2"
    xml = {"xslt": replacing_xslt(volume_xml(name, mib))}
    return {"name": name, "pool": STACK, "format": "qcow2", "size": mib * MIB, "xml": xml}


def wanted() -> tuple[Planned, ...]:
    """Return the plan of a machine whose template is not there yet, as a first preview has it."""
    machine = spec()
    template = Needed(kind="understudy:index:Template", name="template", inputs={"image": image()})
    card = {"mac": CARD.mac, "address": ADDRESS, "prefix": 24}
    identity = {
        "hostname": "db1",
        "domain": "shop.example",
        "hosts": [{"address": ADDRESS, "names": ["db1.shop.example", "db1"]}],
        "authorized_keys": [PUBLIC],
        "cards": {"control": card, "mirror": None},
    }
    told = {"domain": machine.name, "uuid": machine.uuid, "image": image(), "identity": identity}
    system = new("Volume", "db1-system", **{**disk("system", 8192), "xml": {"xslt": UNKNOWN}})
    return (
        new("Network", "control", **network_arguments(NETWORK, names.bridge(STACK, "control"), HOST, 24)),
        new("Pool", "pool", name=STACK, type="dir", target={"path": str(DISKS)}),
        replace(system, needs={"xml": (template,)}),
        new("Volume", "db1-data", **disk("data", 32)),
        new("Domain", "db1", **domain_arguments(machine)),
        Planned(operation="create", kind=BOOT, name="db1", after=told),
    )


@pytest.fixture
def virsh(tmp_path: Path) -> Iterator[Virsh]:
    virsh, machine = Virsh(), spec()
    (tmp_path / "run").write_text(f'#!/bin/sh\nexec {ROOT}/run "$@"\n')
    (tmp_path / "run").chmod(0o755)
    yield virsh
    close_all()
    of_machine, of_network = (("destroy", "undefine"), ("net-destroy", "net-undefine"))
    rest = [("vol-delete", disk) for disk in (machine.system_disk, machine.data_disk)]
    rest += [(verb, STACK) for verb in ("pool-destroy", "pool-delete", "pool-undefine")]
    for verb, name in (
        *((each, machine.name) for each in of_machine),
        *((each, NETWORK) for each in of_network),
        *rest,
    ):
        subprocess.run(["virsh", "--connect", virsh.uri, verb, name], capture_output=True, check=False)
    assert left_overs(STACK) == []


def typed(place: Path, parts: Sequence[Part], kind: str = "do") -> None:
    """Type what a document with these parts has for the operator's own computer."""
    for block in read(markdown(document(*parts))):
        if (block.kind, block.machine) == (kind, ""):
            done = subprocess.run(
                ["bash"], input=block.text, cwd=place, capture_output=True, text=True, timeout=300, check=False
            )
            assert done.stdout.splitlines()[-1:] == [block.prints], f"{block.text}{done.stdout}{done.stderr}"


def data_mib() -> int:
    """Return how large the data disk is."""
    argv = ("qemu-img", "info", "--force-share", "--output=json", spec().data_disk)
    shown = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return int(shown["virtual-size"]) // MIB


def test_a_new_machine_and_a_bigger_disk_and_all_of_it_gone_again(virsh: Virsh, tmp_path: Path) -> None:
    parts = [part for each in wanted() for part in parts_of(each)]
    typed(tmp_path, parts)
    assert data_mib() == 32
    host_key = " ".join((tmp_path / "db1.host-key.pub").read_text().split()[:2])
    bigger = Planned(
        operation="replace",
        kind="libvirt:index/volume:Volume",
        name="db1-data",
        before=disk("data", 32),
        after=disk("data", 48),
        differing=("size", "xml.xslt"),
    )
    grown, inside = parts_of(bigger)
    with connect(Connection(name="db1", address=ADDRESS, host_key=host_key), PRIVATE, print, 120) as shell:
        assert shell.run(("hostname", "--fqdn")).text.strip() == "db1.shop.example"
        shell.run(("bash", "-c", "mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && echo kept >/mnt/data"))
        typed(tmp_path, [grown])
        assert data_mib() == 48
        (step,) = inside.steps
        assert step.prints in shell.run(("bash", "-c", step.command)).text.splitlines()
        kibibytes, data = shell.run(("bash", "-c", "df --output=size /mnt | tail -n 1; cat /mnt/data")).text.split()
        assert int(kibibytes) > 36 * 1024
        assert data == "kept"
    typed(tmp_path, parts[::-1], "undo")
    assert left_overs(STACK) == []
