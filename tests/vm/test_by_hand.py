"""What a person types for a bigger disk, out of the document, is what an update makes, on a real libvirt.

Nothing boots: a real qemu stands still before its first instruction.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from typing import Any

import pytest

from model.change.planned import DATA_DISK, Planned
from provisioners.changes.by_hand import parts_of
from provisioners.hypervisor.data_disk import DataDisk
from tests.doubles.robot import document_of, read
from tests.vm import test_known_complaints as complaints
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


def test_a_bigger_disk(machine: Machine) -> None:
    step = Planned(operation="update", kind=DATA_DISK, name="a-data", before=machine.inputs, after=machine.of(96))
    (part,) = parts_of(step)
    (block,) = read(document_of(part))
    typed = subprocess.run(("bash", "--norc"), input=block.text, capture_output=True, text=True, check=True)
    assert typed.stdout.splitlines()[-1] == block.prints
    assert machine.size_mib == 96
    said = list[str]()
    KIND.update("", machine.inputs, machine.of(96), {}, said.append)
    assert (said, machine.size_mib) == ([], 96), "what was typed is what an update wants"
    KIND.update("", machine.of(96), machine.of(128), {}, said.append)
    assert machine.size_mib == 128
