"""What is a machine's state to the engine: gone, off, or on disks that are no longer its own."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from xml.sax.saxutils import escape

import pytest

from model.errors import UnderstudyError
from model.libvirt_xml import CardSpec, DomainSpec, domain_xml
from provisioners.hypervisor import boot, running
from provisioners.hypervisor.boot import Boot
from provisioners.hypervisor.cold import memory_digest
from provisioners.hypervisor.running import generation, shut_down
from provisioners.hypervisor.template_memory import marks
from provisioners.hypervisor.virsh import Virsh
from provisioners.provider.kinds import UNKNOWN
from provisioners.shell import Unreachable
from tests.hypervisor.conftest import FakeVirsh

WAIT_FOR_SSH = boot._wait_for_ssh
UUID = "6b1f3b3e-52c5-5cf3-9d11-0a5d2a8ac6a1"
OUTPUTS = {"generation": "old", "started": "warm", "reason": "wakes", "boot_seconds": 3.5}


def quiet(_: str) -> None: ...


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    disks = [tmp_path / "system.qcow2", tmp_path / "data.qcow2"]
    for disk in disks:
        disk.write_bytes(b"")
    monkeypatch.setattr("provisioners.hypervisor.warm_start.MANAGED_SAVES", tmp_path)
    monkeypatch.setattr(running, "_process_start", lambda _: 0.0)
    card = CardSpec(network="n", mac="52:54:00:00:00:01")
    spec = DomainSpec(name="stage-db1", uuid=UUID, vcpus=1, memory_mib=512, system_disk=str(disks[0]), control=card)
    return {
        "domain": "stage-db1",
        "uuid": UUID,
        "domain_id": UUID,
        "domain_xml": domain_xml(spec),
        "host_uri": "qemu:///system",
        "identity": {
            "hostname": "db1",
            "domain": "",
            "hosts": [],
            "authorized_keys": [],
            "cards": {"control": {"mac": "52:54:00:00:00:01", "address": "198.18.7.10", "prefix": 24}},
        },
        "host_private_key": "private",
        "host_public_key": "public",
        "connection": {"name": "db1", "address": "198.18.7.10"},
        "private_key": "private",
        "volume_ids": [str(disk) for disk in disks],
        "image": "0123456789ab",
        "warm_placed": True,
        "warm_reason": "wakes from template x",
        "running": True,
    }


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the machine: what it is told, and that its SSH answered."""
    told: list[str] = []

    def ask(*_: object, **more: object) -> dict[str, object]:
        told.append(str(more["doing"]))
        return {"ok": True, "hostname": "(none)"}

    monkeypatch.setattr("provisioners.hypervisor.identity.ask", ask)
    monkeypatch.setattr(running, "ask", ask)
    monkeypatch.setattr(boot, "_wait_for_ssh", lambda *_: told.append("ssh"))
    return told


UP = {"domif-setlink stage-db1 52:54:00:00:00:01 up": ""}


def test_the_inputs_are_what_they_should_be(inputs: dict[str, Any]) -> None:
    assert Boot().check(inputs) == ()
    assert [failure.property for failure in Boot().check({**inputs, "identity": {"hostname": "a"}, "running": 1})] == [
        "identity",
        "running",
    ]


@pytest.mark.parametrize(
    ("state", "placed", "started", "reason"),
    [
        ("running (restored)", True, "warm", "wakes from template x"),
        ("running (booted)", True, "cold", "cold: no saved memory was left for this start"),
        ("running (booted)", False, "cold", "wakes from template x"),
    ],
)
def test_it_says_how_the_machine_started(
    inputs: dict[str, Any], virsh: FakeVirsh, told: list[str], state: str, placed: bool, started: str, reason: str
) -> None:
    virsh.answer({"domstate stage-db1 --reason": state, **UP})
    identifier, outputs = Boot().create({**inputs, "warm_placed": placed}, quiet)
    assert (identifier, outputs["started"], outputs["reason"]) == (UUID, started, reason)
    assert told == ["telling it who it is", "ssh"]
    assert outputs["generation"] == generation(inputs["volume_ids"])


@pytest.mark.parametrize(
    ("damaged", "said", "why"),
    [
        (False, "load of migration failed: a < b", ""),
        (True, "load of migration failed: a < b", "was damaged, or written to since it was saved"),
        (False, "can't open backing store /t/memory.ram for guest RAM: Permission denied", "cannot be mapped any more"),
    ],
)
def test_a_memory_that_did_not_wake_is_told_in_libvirts_words_and_goes_if_it_is_of_no_use(
    inputs: dict[str, Any], virsh: FakeVirsh, told: list[str], tmp_path: Path, damaged: bool, said: str, why: str
) -> None:
    template, disk = tmp_path / "key-1", inputs["volume_ids"][0]
    template.mkdir()
    memory = template / "memory.save"
    memory.write_bytes(b"memory")
    (template / "template.json").write_text(
        json.dumps({"memory": marks(template), "memory_sha256": memory_digest(memory)})
    )
    for argv in (
        ("create", "-f", "qcow2", template / "disk.qcow2", "1M"),
        ("create", "-f", "qcow2", "-F", "qcow2", "-b", template / "disk.qcow2", disk),
    ):
        subprocess.run(["qemu-img", *map(str, argv)], check=True, capture_output=True)
    if damaged:
        memory.write_bytes(b"MEMORY")
    noted = f"<cold>error creating libvirt domain: internal error: {escape(said)}</cold>"
    virsh.answer(
        {
            "domstate stage-db1 --reason": "running (booted)",
            "metadata stage-db1 https://understudy.invalid/cold --config": noted,
            **UP,
        }
    )
    outputs = Boot().create(inputs, quiet)[1]
    words = f"cold: the template's memory did not wake: internal error: {said}"
    assert outputs["reason"] == words + f"; the memory of template key-1 {why}, and is removed" * bool(why)
    assert memory.exists() == (not why)


def test_a_memory_that_is_still_there_once_the_machine_runs_is_removed(
    inputs: dict[str, Any], virsh: FakeVirsh, told: list[str], tmp_path: Path
) -> None:
    (tmp_path / "stage-db1.save").write_bytes(b"")
    virsh.answer({"domstate stage-db1 --reason": "running (booted)", "managedsave-remove stage-db1": "", **UP})
    Boot().create(inputs, quiet)
    assert "managedsave-remove stage-db1" in virsh.asked()
    assert not (tmp_path / "stage-db1.save").exists()


def test_a_machine_that_runs_on_a_disk_that_is_gone_is_started_on_the_new_one(
    inputs: dict[str, Any], virsh: FakeVirsh, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_process_start", lambda _: time.time() - 1000)
    virsh.answer(
        {
            "domstate stage-db1 --reason": ["running (restored)", "running (booted)"],
            "destroy stage-db1": "",
            "start stage-db1": "",
            **UP,
        }
    )
    assert Boot().create(inputs, quiet)[1]["started"] == "cold"
    assert virsh.asked().index("destroy stage-db1") < virsh.asked().index("start stage-db1")


def test_a_machine_that_nobody_made_is_an_error_that_says_what_to_do(inputs: dict[str, Any], virsh: FakeVirsh) -> None:
    virsh.answer({"domstate stage-db1 --reason": "error: failed to get domain 'stage-db1'"})
    with pytest.raises(UnderstudyError, match="libvirt does not know it"):
        Boot().create(inputs, quiet)


def test_reading_tells_gone_from_off_from_on(inputs: dict[str, Any], virsh: FakeVirsh) -> None:
    virsh.answer({"domstate stage-db1": ["running", "shut off", "error: failed to get domain 'stage-db1'"]})
    on, off, gone = (Boot().read(UUID, inputs, OUTPUTS, quiet) for _ in range(3))
    assert on is not None
    assert off is not None
    assert gone is None
    assert on.inputs == inputs
    assert off.inputs == {**inputs, "running": False}
    assert on.outputs["generation"] == off.outputs["generation"] == generation(inputs["volume_ids"])


def test_a_machine_whose_disk_is_gone_is_gone(inputs: dict[str, Any], virsh: FakeVirsh) -> None:
    virsh.answer({"domstate stage-db1": "running"})
    Path(inputs["volume_ids"][1]).unlink()
    assert Boot().read(UUID, inputs, OUTPUTS, quiet) is None


def test_another_identity_is_told_and_a_machine_that_lost_its_own_is_told_again(
    inputs: dict[str, Any], virsh: FakeVirsh, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    virsh.answer({"domstate stage-db1 --reason": ["shut off", "running (booted)"], "start stage-db1": "", **UP})
    again = ["asking it who it is", "telling it who it is", "ssh"]
    Boot().update(UUID, {**inputs, "running": False}, inputs, OUTPUTS, quiet)
    assert told == again, "a power cut in its first seconds took what it was told"
    Boot().update(UUID, {**inputs, "running": False}, inputs, OUTPUTS, quiet)
    assert told[3:] == again, "it was the update of libvirt's domain that started it"
    Boot().update(UUID, {**inputs, "private_key": "old"}, inputs, OUTPUTS, quiet)
    assert told[6:] == ["ssh"]
    Boot().update(UUID, {**inputs, "host_public_key": "old"}, inputs, OUTPUTS, quiet)
    assert told[7:] == ["telling it who it is", "ssh"]
    monkeypatch.setattr(running, "ask", lambda *_, **__: {"ok": True, "hostname": "db1"})
    Boot().update(UUID, {**inputs, "running": False}, inputs, OUTPUTS, quiet)
    assert told[9:] == ["ssh"], "it knows who it is"


@pytest.mark.parametrize(("name", "runs"), [("(none)", False), ("db1", True)])
def test_a_machine_that_waits_to_be_told_who_it_is_does_not_run(
    name: str, runs: bool, inputs: dict[str, Any], virsh: FakeVirsh, monkeypatch: pytest.MonkeyPatch
) -> None:
    virsh.answer({"domstate stage-db1": "running"})
    monkeypatch.setattr(running, "ask", lambda *_, **__: {"ok": True, "hostname": name})
    real = Boot().read(UUID, inputs, OUTPUTS, quiet)
    assert real is not None
    assert real.inputs["running"] is runs


def test_a_machine_that_is_reset_as_it_is_silent_is_told_again(
    inputs: dict[str, Any], virsh: FakeVirsh, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "_wait_for_ssh", WAIT_FOR_SSH)
    looks = iter([False, True, False])
    monkeypatch.setattr("provisioners.hypervisor.acts.look_at", lambda *_, resets, **__: resets and next(looks))
    answers = iter([Unreachable(where="db1", found="no answer")] * 3)

    @contextmanager
    def connect(*_: object) -> Iterator[Mock]:
        if failed := next(answers, None):
            raise failed
        yield Mock()

    monkeypatch.setattr(boot, "connect", connect)
    virsh.answer({"domstate stage-db1 --reason": "running (booted)", **UP})
    Boot().update(UUID, inputs, inputs, OUTPUTS, quiet)
    assert told == ["asking it who it is", "telling it who it is"] * 3


def test_the_generation_is_new_when_a_disk_is_and_only_then(inputs: dict[str, Any]) -> None:
    before = generation(inputs["volume_ids"])
    Path(inputs["volume_ids"][0]).write_bytes(b"changed")
    assert generation(inputs["volume_ids"]) == before
    Path(inputs["volume_ids"][0]).rename(inputs["volume_ids"][0] + ".old")
    Path(inputs["volume_ids"][0]).write_bytes(b"changed")
    assert generation(inputs["volume_ids"]) != before


def test_a_preview_knows_what_a_restart_does_not_change(inputs: dict[str, Any]) -> None:
    assert Boot().foresee(inputs, OUTPUTS) == OUTPUTS
    assert Boot().foresee({**inputs, "volume_ids": [UNKNOWN]}, OUTPUTS) == {}
    assert Boot().foresee(inputs, {}) == {}


def test_it_is_shut_down_and_not_switched_off(virsh: FakeVirsh) -> None:
    """A changed memory cuts a machine's power before it is made anew, and its disks may suffer.

    https://github.com/dmacvicar/terraform-provider-libvirt/issues/1060
    """
    virsh.answer({"domstate a": ["running", "running", "shut off"], "shutdown a": ""})
    shut_down(Virsh(), "a", quiet)
    assert "destroy a" not in virsh.asked()


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_machine_that_does_not_end_is_switched_off(virsh: FakeVirsh, state: str) -> None:
    virsh.answer({"domstate a": state, "shutdown a": "", "destroy a": ""})
    said: list[str] = []
    shut_down(Virsh(), "a", said.append, seconds=0.3)
    assert "destroy a" in virsh.asked()
    assert said[-1] == "it does not shut down: switching it off"


def test_a_machine_that_is_gone_is_shut_down_already(virsh: FakeVirsh) -> None:
    virsh.answer({"domstate a": "error: failed to get domain 'a'"})
    shut_down(Virsh(), "a", quiet)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, ""),
        (
            {"memory_mib": 2048},
            "db1 is shut down in order and starts with 2048 MiB of memory (512 now); its disks stay",
        ),
        (
            {"memory_mib": 999, "vcpus": 2},
            "db1 is shut down in order and starts with 999 MiB of memory (512 now) and 2 vCPUs (1 now); its disks stay",
        ),
        ({"kernel": "/boot/new"}, "db1 is shut down in order and starts anew; its disks stay"),
        (
            {"system_disk": "/new.qcow2"},
            "db1 is shut down in order and starts anew; it gets a new system disk, and its data disk stays",
        ),
        ({"data_disk": ""}, "db1 is shut down in order and starts anew; its system disk stays, its data disk does not"),
        (
            {"system_disk": "/new.qcow2", "data_disk": ""},
            "db1 is shut down in order and starts anew; it gets new disks, and what was on the old ones is gone",
        ),
    ],
)
def test_a_preview_says_what_a_changed_machine_goes_through(
    inputs: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    card = CardSpec(network="n", mac="52:54:00:00:00:01")
    usual: dict[str, Any] = {"name": "stage-db1", "uuid": UUID, "vcpus": 1, "memory_mib": 512, "control": card}
    usual |= {"system_disk": "/system.qcow2", "data_disk": "/data.qcow2"}
    before, after = (domain_xml(DomainSpec(**given)) for given in (usual, {**usual, **more}))
    assert Boot().consequence({**inputs, "domain_xml": before}, {**inputs, "domain_xml": after}) == words
    assert Boot().consequence(inputs, {**inputs, "domain_xml": UNKNOWN}) == ""
