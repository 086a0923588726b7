"""Machines that cannot wake start cold, and say why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from images import build
from model import names
from provisioners.hypervisor.accelerator import seconds_to_start
from provisioners.hypervisor.host import read_json
from provisioners.hypervisor.identity import ask
from provisioners.hypervisor.savefile import read_head
from provisioners.hypervisor.template import ensure, found
from provisioners.hypervisor.template_memory import SAVED, marks, take_ram_out
from provisioners.hypervisor.virsh import Virsh
from tests.vm.capture import escapes, listening
from tests.vm.lab import Lab, lab, left_overs, machine
from tests.vm.templates import forget, name_of, odd

pytestmark = pytest.mark.vm


def test_a_tiny_real_guest_is_timed_and_one_whose_kernel_is_none_did_not_start(tmp_path: Path) -> None:
    """What the choice between KVM and emulation rests on, by the real qemu and the real kernel."""
    taken = seconds_to_start(build.ensure(print).kernel, "tcg", 120)
    assert taken is not None
    (tmp_path / "kernel").write_bytes(bytes(4096))
    assert seconds_to_start(tmp_path / "kernel", "tcg", 4 * taken) is None


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path, 3, [machine("a", 11)], warm=False) as made:
        yield made
    assert left_overs(made) == []


def run(made: Lab, script: str) -> str:
    with made.shell("a") as shell:
        return shell.run(("bash", "-c", script)).text


def test_without_warmth_it_starts_cold_and_keeps_its_disk_when_warmth_comes(alone: Lab) -> None:
    with listening() as capture:  # before its networks are there, so that its first packet of all is heard
        alone.up()
    output = alone.outputs()["a"]
    assert (output["started"], output["reason"]) == ("cold", "cold: there is no template for it")
    assert names.tap(alone.stack, "a", "control") in {device for device, _, _ in capture.frames}
    assert escapes(alone.stack, alone.machine_names, capture) == []
    assert run(alone, "hostname; touch /root/kept; sync") == "a"
    alone.warm = True
    alone.up()
    assert run(alone, "ls /root/kept") == "/root/kept"
    assert alone.outputs()["a"] == output
    assert alone.changes_nothing()


def ask_twice(virsh: Virsh, domain: str, request: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Ask as is done where an answer was lost."""
    return [ask(virsh, domain, request, **more) for _ in range(2)][1]


def test_where_qemu_may_not_map_the_memory_it_is_copied(alone: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As AppArmor, SELinux or a qemu of another user have it."""
    spec = odd(416)
    monkeypatch.setattr("provisioners.hypervisor.template.take_ram_out", lambda work, _: take_ram_out(work, 0))
    monkeypatch.setattr("provisioners.hypervisor.template.ask", ask_twice)
    said: list[str] = []
    try:
        template = ensure(spec, Virsh(), said.append).directory
        assert [line for line in said if "cannot be mapped" in line and "Permission denied" in line], said
        assert set(marks(template)) == {SAVED}
        assert {path.name for path in template.iterdir()} == {"disk.qcow2", SAVED, "template.json"}
        alone.warm, alone.machines = True, [machine("a", 11, memory_mib=spec.memory_mib)]
        alone.up()
        output = alone.outputs()["a"]
        assert (output["started"], output["reason"]) == ("warm", f"wakes from template {template.name}")
        assert run(alone, "hostname") == "a"
        alone.pulumi("destroy", "--yes", "--skip-preview", "--stack", alone.stack)
    finally:
        forget(spec)


def test_a_memory_that_does_not_wake_is_a_cold_start_within_the_same_update(alone: Lab) -> None:
    spec = odd(448)
    template = ensure(spec, Virsh(), print).directory
    with (template / SAVED).open("r+b") as file:
        file.seek(read_head(file, "memory").length)
        file.write(b"\xff" * 64)  # qemu's own head
    notes = read_json(template / "template.json") | {"memory": marks(template)}  # as if the disk had done it
    (template / "template.json").write_text(json.dumps(notes))
    try:
        alone.warm, alone.machines = True, [machine("a", 11, memory_mib=spec.memory_mib)]
        alone.up()
        output = alone.outputs()["a"]
        assert output["started"] == "cold"
        assert output["reason"].startswith("cold: the template's memory did not wake: internal error: ")
        assert "load of migration failed" in output["reason"]
        assert output["reason"].endswith(
            f"the memory of template {template.name} was damaged, or written to since it was saved, and is removed"
        )
        assert run(alone, "hostname") == "a"
        assert alone.changes_nothing()
        assert found(name_of(spec)) is None, "the next stack gets a template of its own"
        alone.pulumi("destroy", "--yes", "--skip-preview", "--stack", alone.stack)
    finally:
        forget(spec)
