"""What a person types out of the document is what an update makes, on a real libvirt: a new machine, a bigger disk.

For the disk nothing boots: a real qemu stands still before its first instruction.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bench.site import on_host
from model.change.document import Part
from model.change.planned import DATA_DISK, Planned, planned
from model.connection import connection_of
from model.mirror import Portrait
from provisioners.changes.by_hand import parts_of
from provisioners.hypervisor.data_disk import DataDisk
from provisioners.shell import Shell, connect
from tests.doubles.robot import document_of, read
from tests.vm import test_known_complaints as complaints
from tests.vm.lab import ROOT, lab, left_overs
from tests.vm.lab import machine as described
from tests.vm.test_document import differences, looked
from tests.vm.test_known_complaints import Pool, succeed, virsh

pytestmark = pytest.mark.vm
pool = complaints.pool
KIND = DataDisk()


def quiet(_: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine with a data disk; its inputs are of the size that it has first."""

    inputs: dict[str, Any]

    def of(self, mebibytes: int) -> dict[str, Any]:
        return {**self.inputs, "size_mib": mebibytes}

    @property
    def size_mib(self) -> int:
        """Return what the product finds, once libvirt's pool and the file itself say the same."""
        real = KIND.read("", self.inputs, {}, quiet)
        assert real is not None
        size = int(real.inputs["size_mib"])
        assert f'"virtual-size": {size << 20},' in succeed(
            "qemu-img", "info", "-U", "--output=json", self.inputs["path"]
        )
        assert f"{size << 20} bytes" in virsh("vol-info", "--bytes", self.inputs["path"])
        return size


@pytest.fixture(params=["off", "at work"])
def machine(request: pytest.FixtureRequest, pool: Pool) -> Machine:
    spec = replace(pool.spec("a"), data_disk=pool.volume("data.qcow2"))
    pool.define(spec)
    if request.param == "at work":
        virsh("start", "--paused", spec.name)
    inputs = {"domain": spec.name, "path": spec.data_disk, "pool": pool.name, "size_mib": 64, "key": "x"}
    return Machine(inputs=inputs)


def test_a_bigger_disk(machine: Machine, tmp_path: Path) -> None:
    step = Planned(operation="update", kind=DATA_DISK, name="a-data", before=machine.inputs, after=machine.of(96))
    (part,) = parts_of(step)
    assert len(read(document_of(part))) == 1
    type_all([part], "do", tmp_path)
    assert machine.size_mib == 96
    said = list[str]()
    KIND.update("", machine.inputs, machine.of(96), {}, said.append)
    assert (said, machine.size_mib) == ([], 96), "what was typed is what an update wants"
    KIND.update("", machine.of(96), machine.of(128), {}, said.append)
    assert machine.size_mib == 128


def test_a_new_machine_with_a_disk_of_its_own_and_its_way_back(tmp_path: Path) -> None:
    home = tmp_path / "project"
    home.mkdir()
    (home / "run").symlink_to(ROOT / "run")
    with lab(tmp_path / "lab", 18, [described("a", 11)], warm=False) as made:
        made.up()
        a, there, of_a = made.outputs()["a"], virsh("domid", made.domain("a")), left_overs(made)
        made.machines = [*made.machines, described("b", 12, data_disk_mib=256)]
        preview = json.loads(made.pulumi("preview", "--json", "--stack", made.stack).stdout)
        parts = [part for step in planned(preview, made.state()) for part in parts_of(step)]
        type_all(parts, "do", home)
        address = a["connection"]["address"].rpartition(".")[0] + ".11"
        key = " ".join((home / "b.host-key.pub").read_text().split()[:2])
        reached = connection_of({**a["connection"], "name": "b", "address": address, "host_key": key, "domain": ""})
        with connect(reached, a["private_key"], print, 180) as shell:
            assert shell.run(("hostname", "--fqdn")).text == "b.test.example"
            assert "10.77.0.12/24" in shell.run(("ip", "-brief", "address")).text
            typed = settled(shell)
        xml = virsh("dumpxml", "--inactive", made.domain("b"))
        type_all(parts[::-1], "undo", home)
        assert on_host(made.stack)["machines"] == {made.domain("a")}
        assert virsh("domid", made.domain("a")) == there, "it was not started anew"
        assert left_overs(made) == of_a
        made.up()
        with made.shell("b") as shell:
            found = differences(typed, settled(shell))
        assert [each for each in found if "ssh_host_ed25519_key" not in each] == []
        assert len(found) == 2, "its own host key, which the document tells"
        assert virsh("dumpxml", "--inactive", made.domain("b")) == xml
    assert left_overs(made) == []


def settled(shell: Shell) -> Portrait:
    """Return what a machine is like once it has started all that it starts."""
    shell.run(("systemctl", "is-system-running", "--wait"), check=False)
    return looked(shell, [])


def type_all(parts: Sequence[Part], kind: str, directory: Path) -> None:
    """Type the blocks of a kind, part by part, in a shell of the operator's own computer."""
    for part in parts:
        for block in (each for each in read(document_of(part)) if each.kind == kind):
            argv = ("bash", "--norc")
            done = subprocess.run(argv, input=block.text, cwd=directory, capture_output=True, text=True, check=False)
            assert block.machine == ""
            assert done.stdout.splitlines()[-1:] == [block.prints], f"{block}: {done.stdout}{done.stderr}"
