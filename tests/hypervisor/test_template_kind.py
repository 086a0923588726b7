"""A template is of one build of an image: after another build it is made anew, and so is what was linked to it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from provisioners.hypervisor.host import processor
from provisioners.hypervisor.template import TemplateSpec, fingerprint, found
from provisioners.hypervisor.template_kind import Template
from provisioners.hypervisor.template_memory import marks
from tests.hypervisor.conftest import FakeVirsh

SPEC = TemplateSpec(
    image="0123456789ab",
    vcpus=1,
    memory_mib=512,
    accelerator="tcg",
    data_disk=False,
    system_disk_mib=64,
    cmdline="quiet",
)


def quiet(_: str) -> None:
    """Show nothing."""


def build(images: Path, number: int) -> None:
    """Stand for another build of the image's recipe."""
    directory = images / SPEC.image
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    (directory / f"disk-{number}.qcow2").write_bytes(b"disk")
    (directory / "disk.qcow2").symlink_to(f"disk-{number}.qcow2")


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, virsh: FakeVirsh) -> Path:
    virsh.answer({"version": "libvirt 9"})
    monkeypatch.setattr("provisioners.hypervisor.host.IMAGES", tmp_path / "images")
    monkeypatch.setattr("provisioners.hypervisor.template.TEMPLATES", tmp_path / "templates")
    build(tmp_path / "images", 1)
    return tmp_path / "images"


def read(inputs: dict[str, Any], outputs: dict[str, Any]) -> bool:
    """Return whether a refresh says that it still serves."""
    real = Template().read("t", inputs, outputs, quiet)
    assert real is not None
    return "outdated" not in real.inputs


def test_a_template_does_not_serve_another_build_of_its_image(images: Path, tmp_path: Path) -> None:
    name = fingerprint(SPEC, "libvirt 9", processor())
    directory = tmp_path / "templates" / f"{name}-01234567"
    directory.mkdir(parents=True)
    for file in ("memory.save", "disk.qcow2"):
        (directory / file).write_bytes(b"memory")
    (directory / "template.json").write_text(json.dumps({"spec": asdict(SPEC), "memory": marks(directory)}))
    inputs = {**asdict(SPEC), "warm": True}
    assert found(name) is not None
    assert read(inputs, {"key": directory.name})
    build(images, 2)
    assert found(fingerprint(SPEC, "libvirt 9", processor())) is None
    assert not read(inputs, {"key": directory.name})


def test_a_machine_that_boots_is_linked_to_the_very_disk_of_the_build(images: Path) -> None:
    inputs = {**asdict(SPEC), "warm": False}
    _, outputs = Template().create(inputs, quiet)
    assert outputs["disk_path"] == str(images / SPEC.image / "disk-1.qcow2")
    assert read(inputs, outputs)
    build(images, 2)
    assert not read(inputs, outputs)
