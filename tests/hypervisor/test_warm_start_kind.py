"""A memory is laid down only on the very disk that it was saved with."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from model.libvirt_xml import CardSpec, DomainSpec, domain_xml
from provisioners.hypervisor.host import processor
from provisioners.hypervisor.savefile import read_head
from provisioners.hypervisor.template import TemplateSpec, fingerprint
from provisioners.hypervisor.template_memory import marks
from provisioners.hypervisor.warm_start import WarmStart, save_path
from tests.hypervisor.conftest import FakeVirsh
from tests.hypervisor.test_savefile import libvirts_own

SPEC = TemplateSpec(
    image="0123456789ab",
    vcpus=1,
    memory_mib=512,
    accelerator="tcg",
    data_disk=False,
    system_disk_mib=64,
    cmdline="quiet",
)
KEY = f"{fingerprint(SPEC, 'libvirt 9', processor())}-01234567"
UUID = "6b1f3b3e-52c5-5cf3-9d11-0a5d2a8ac6a1"


def qemu_img(*argv: object) -> None:
    subprocess.run(["qemu-img", *map(str, argv)], check=True, capture_output=True)


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, virsh: FakeVirsh) -> dict[str, Any]:
    virsh.answer({"version": "libvirt 9", "domstate stage-db1": "error: failed to get domain 'stage-db1'"})
    for name in ("templates", "saves", "stacks"):
        (tmp_path / name).mkdir()
    for module in ("warm_start", "template"):
        monkeypatch.setattr(f"provisioners.hypervisor.{module}.TEMPLATES", tmp_path / "templates")
    monkeypatch.setattr("provisioners.hypervisor.warm_start.MANAGED_SAVES", tmp_path / "saves")
    template, disk = tmp_path / "templates" / KEY, tmp_path / "stacks" / "db1-system.qcow2"
    template.mkdir()
    memory = libvirts_own(b"<domain><name>template</name></domain>", b"", b"memory" * 999)
    (template / "memory.save").write_bytes(memory)
    (template / "template.json").write_text(json.dumps({"spec": asdict(SPEC), "memory": marks(template)}))
    qemu_img("create", "-f", "qcow2", template / "disk.qcow2", "64M")
    subprocess.run(["qemu-io", "-c", "write -P 7 0 1M", template / "disk.qcow2"], check=True, capture_output=True)
    qemu_img("create", "-f", "qcow2", "-F", "qcow2", "-b", template / "disk.qcow2", disk, "64M")
    card = CardSpec(network="n", mac="52:54:00:00:00:01")
    spec = DomainSpec(name="stage-db1", uuid=UUID, vcpus=1, memory_mib=512, system_disk=str(disk), control=card)
    return {
        "domain": "stage-db1",
        "uuid": UUID,
        "domain_xml": domain_xml(spec),
        "template_key": KEY,
        "system_disk_path": str(disk),
        "volume_id": str(disk),
    }


def create(inputs: dict[str, Any]) -> dict[str, Any]:
    assert WarmStart().check(inputs) == ()
    return WarmStart().create(inputs, lambda _: None)[1]


def write_to(disk: str) -> None:
    subprocess.run(["qemu-io", "-c", "write -P 9 32M 512", disk], check=True, capture_output=True)


def test_it_lies_where_libvirt_looks_with_the_cables_out(inputs: dict[str, Any]) -> None:
    outputs = create(inputs)
    assert outputs["placed"], outputs
    with save_path("stage-db1").open("rb") as stream:
        head = read_head(stream, "x")
        assert stream.read() == b"memory" * 999
    assert head.xml.count('state="down"') == 1
    assert head.xml.replace('state="down"', 'state="up"') == inputs["domain_xml"]


def test_never_on_a_disk_that_was_written_to(inputs: dict[str, Any]) -> None:
    outputs = create(inputs)
    write_to(inputs["system_disk_path"])
    after = WarmStart().update("x", inputs, inputs, outputs, lambda _: None)
    assert (after["placed"], "written to" in after["reason"]) == (False, True)
    assert not save_path("stage-db1").exists()


def test_never_on_a_disk_of_another_origin(inputs: dict[str, Any], tmp_path: Path) -> None:
    disk = Path(inputs["system_disk_path"])
    other = tmp_path / "templates" / "other.qcow2"
    qemu_img("create", "-f", "qcow2", other, "64M")
    disk.unlink()
    qemu_img("create", "-f", "qcow2", "-F", "qcow2", "-b", other, disk, "64M")
    assert "not made from template" in create(inputs)["reason"]
    disk.unlink()
    qemu_img("create", "-f", "qcow2", disk, "64M")
    assert "not made from template" in create(inputs)["reason"]
    assert not save_path("stage-db1").exists()


def test_never_from_a_template_of_another_qemu(inputs: dict[str, Any], virsh: FakeVirsh) -> None:
    virsh.answer({"version": "libvirt 10", "domstate stage-db1": "error: failed to get domain 'stage-db1'"})
    assert "another qemu" in create(inputs)["reason"]


def test_never_from_a_template_of_another_processor(inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioners.hypervisor.template.processor", lambda: "another")
    assert "another qemu or processor" in create(inputs)["reason"]


def test_never_over_a_memory_that_the_user_saved(inputs: dict[str, Any]) -> None:
    save_path("stage-db1").write_bytes(b"the user's")
    outputs = create(inputs)
    assert "not ours" in outputs["reason"]
    WarmStart().delete("x", inputs, outputs, lambda _: None)
    assert save_path("stage-db1").read_bytes() == b"the user's"


def test_never_for_a_machine_that_is_there(inputs: dict[str, Any], virsh: FakeVirsh) -> None:
    virsh.answer({"version": "libvirt 9", "domstate stage-db1": "shut off"})
    assert "ran before" in create(inputs)["reason"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"template_key": ""}, "no template"),
        ({"template_key": "gone-01234567"}, "is gone"),
        ({"uuid": UUID.replace("6", "7")}, "another machine"),
        ({"domain_xml": "<domain><name>stage-db1</name><uuid>" + UUID + "</uuid></domain>"}, "another system disk"),
        ({"system_disk_path": "/nowhere/disk.qcow2"}, "could not be looked at"),
    ],
)
def test_anything_wrong_is_a_cold_start_with_its_reason(
    inputs: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    outputs = create({**inputs, **change})
    assert (outputs["placed"], reason in outputs["reason"]) == (False, True), outputs
    assert "\n" not in outputs["reason"]
    assert not save_path("stage-db1").exists()


def test_a_memory_that_was_cut_short_is_not_laid_down(inputs: dict[str, Any], tmp_path: Path) -> None:
    memory = tmp_path / "templates" / KEY / "memory.save"
    memory.write_bytes(memory.read_bytes()[:60])
    outputs = create(inputs)
    assert not outputs["placed"]
    assert not save_path("stage-db1").exists()


def test_deleting_takes_away_what_was_never_used(inputs: dict[str, Any]) -> None:
    outputs = create(inputs)
    WarmStart().delete("x", inputs, outputs, lambda _: None)
    assert not save_path("stage-db1").exists()
    WarmStart().delete("x", inputs, outputs, lambda _: None)


def test_a_new_memory_takes_the_place_of_ours(inputs: dict[str, Any], virsh: FakeVirsh) -> None:
    outputs = create(inputs)
    again = WarmStart().update("x", inputs, inputs, outputs, lambda _: None)
    assert again["placed"]
    assert again["mark"] != outputs["mark"]


def test_it_tells_whether_a_disk_was_ever_written_to(inputs: dict[str, Any]) -> None:
    """A machine of a user's own image, which has no template, is told who it is only at its disk's first boot."""
    own = {**inputs, "template_key": ""}
    outputs = create(own)
    assert (outputs["placed"], outputs["untouched"]) == (False, True)
    real = WarmStart().read("x", own, outputs, lambda _: None)
    assert real is not None
    assert real.outputs == outputs
    write_to(inputs["system_disk_path"])
    assert not WarmStart().update("x", own, own, outputs, lambda _: None)["untouched"]
    real = WarmStart().read("x", own, outputs, lambda _: None)
    assert real is not None
    assert not real.outputs["untouched"]
    Path(inputs["system_disk_path"]).unlink()
    assert not create(own)["untouched"]
