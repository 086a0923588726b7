"""This computer's disk is full: machines start cold, with the reason, or an error says which disk it is."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from provisioners.hypervisor import boot
from provisioners.hypervisor.boot import Boot
from provisioners.hypervisor.silent import Stalled
from provisioners.hypervisor.template_kind import Template
from provisioners.shell import Unreachable
from tests.hypervisor import test_boot_kind, test_warm_start_kind
from tests.hypervisor.conftest import FakeVirsh
from tests.hypervisor.test_warm_start_kind import SPEC, create, qemu_img

inputs = test_warm_start_kind.inputs
of_boot = pytest.fixture(name="of_boot")(test_boot_kind.inputs.__wrapped__)  # type: ignore[attr-defined]


def quiet(_: str) -> None:
    """Show nothing."""


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk of its own, on which nothing more has room."""
    directory = tmp_path / "full"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)], check=True)
    (directory / "ballast").write_bytes(bytes(60 << 10))
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_no_room_for_a_template(full: Path, tmp_path: Path, virsh: FakeVirsh, monkeypatch: pytest.MonkeyPatch) -> None:
    virsh.answer({"version": "libvirt 9"})
    image = tmp_path / "images" / SPEC.image
    image.mkdir(parents=True)
    qemu_img("create", "-f", "qcow2", image / "disk.qcow2", "64M")
    monkeypatch.setattr("provisioners.hypervisor.host.IMAGES", tmp_path / "images")
    for module in ("template", "old_templates"):
        monkeypatch.setattr(f"provisioners.hypervisor.{module}.TEMPLATES", full)
    said: list[str] = []
    _, outputs = Template().create({**asdict(SPEC), "warm": True}, said.append)
    assert (outputs["warm"], outputs["key"]) == (False, "")
    assert outputs["disk_path"] == str(image / "disk.qcow2"), "it boots from the image"
    assert outputs["reason"].startswith("cold: no template could be made")
    assert "No space left on device" in outputs["reason"]
    assert any("No space left on device" in line for line in said)
    assert not list(full.glob(".building-*")), "what was begun is gone"


def test_no_room_for_a_machines_memory(full: Path, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioners.hypervisor.warm_start.MANAGED_SAVES", full)
    outputs = create(inputs)
    assert (outputs["placed"], outputs["mark"]) == (False, "")
    assert outputs["reason"].startswith("cold: the template's memory cannot be laid down")
    assert "No space left on device" in outputs["reason"]
    assert [path.name for path in full.iterdir()] == ["ballast"]
    (full / "ballast").unlink()
    assert create(inputs)["placed"], "libvirt's memories may lie on another disk than ours"
    assert (full / "stage-db1.save").read_bytes().endswith(b"memory" * 999)


def test_a_machine_that_stands_still_because_the_disk_is_full(
    of_boot: dict[str, Any], virsh: FakeVirsh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine was halted while it booted; nobody waits ten minutes for its SSH, and the next run lets it go on."""

    def connect(*_: object) -> None:
        raise Unreachable(where="db1", found="no answer")

    monkeypatch.setattr(boot, "connect", connect)
    monkeypatch.setattr("provisioners.hypervisor.identity.ask", lambda *_, **__: {"ok": True})
    up = {"domif-setlink stage-db1 52:54:00:00:00:01 up": ""}
    virsh.answer({"domstate stage-db1 --reason": ["running (booted)", "paused (I/O error)"], **up})
    with pytest.raises(Stalled, match=r"could not write to its disk: \d+ MiB are free in /var/lib/understudy"):
        Boot().create(of_boot, quiet)
    monkeypatch.setattr(boot, "_wait_for_ssh", lambda *_: None)
    virsh.answer(
        {"domstate stage-db1 --reason": ["paused (I/O error)", "running (booted)"], "resume stage-db1": "", **up}
    )
    assert Boot().create(of_boot, quiet)[1]["started"] == "cold"
