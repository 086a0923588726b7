"""What is rehearsed, what counts as green, and that a rehearsal that fails says where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.change.rehearse import Play, differences, rehearsal_of, to_rehearse, told
from model.change.digest import NOTHING, change_digest, machine_digest
from model.change.planned import BOOT, SERVICE, VOLUME, Planned
from model.change.rehearsing import changes, resized
from model.errors import UnderstudyError
from model.evidence.rehearsal import RehearsedSeed, rehearsal_body, rehearsal_from
from model.mirror import Portrait, Reading

A, B = "a" * 64, "b" * 64
MIRROR = {"faithful": 0.97, "complete": True, "differences": 3, "unexcused": []}
SEEDS = (RehearsedSeed(store="shop", snapshot="20261124-032202F", taken_at="2026-11-24T03:22:10Z"),)


def service(machine: str, before: str = A, after: str = B, checks: bool = True) -> Planned:
    """Return a planned change of the service ``web``."""

    def values(digest: str) -> Mapping[str, Any]:
        return {"service": "web", "digest": digest, "checks": [{"name": "x"}] if checks else []} if digest else {}

    return Planned(operation="update", kind=SERVICE, name=f"{machine}:web", before=values(before), after=values(after))


def boot(machine: str, before: int, after: int) -> Planned:
    """Return a planned start of a machine whose memory changes; 0 MiB where it is not there."""

    def values(memory: int) -> dict[str, Any]:
        return {"sizes": {"vcpus": 1, "memory_mib": memory}} if memory else {}

    return Planned(operation="replace", kind=BOOT, name=machine, before=values(before), after=values(after))


def other(kind: str) -> Planned:
    return Planned(operation="update", kind=kind, name="x")


def test_services_are_rehearsed_and_what_only_follows_them_is_no_hindrance() -> None:
    follows = other("understudy:index:Report"), other("understudy:index:HttpCheck")
    assert to_rehearse("stage", (service("lb"), *follows)) == (service("lb"),)


def test_a_service_that_only_its_restarting_machine_draws_in_is_not_among_them() -> None:
    """Seen on real machines: nothing of it was changed, so it had no copy to take back, and the rehearsal was red."""
    steps = (boot("lb", 512, 640), service("lb", A, A), service("lb2", A, A), service("app1", A, B))
    assert to_rehearse("stage", steps) == steps[2:]
    assert to_rehearse("stage", steps[1:]) == steps[1:], "without such a machine somebody changed it by hand"


def test_machines_are_rehearsed_with_what_follows_them() -> None:
    steps = (boot("lb", 512, 640), boot("lb2", 0, 512), boot("app1", 512, 512), service("lb2", before=""))
    follows = tuple(other(kind) for kind in ("libvirt:index/domain:Domain", "understudy:index:Template"))
    assert to_rehearse("stage", (*steps, *follows)) == steps[3:]
    play = Play(Path("/x"), "stage", steps[3:], boots=resized(steps))
    assert play.machines == ("lb",), "a new one is not compared with how it was"
    assert play.sizes_before == {"lb": {"vcpus": 1, "memory_mib": 512}, "lb2": None}
    found = {each.service: each for each in rehearsal_of(play, MIRROR, SEEDS).changes}
    assert set(found) == {"web", "machine lb", "machine lb2"}
    before, after = (machine_digest("lb", {"vcpus": 1, "memory_mib": size}) for size in (512, 640))
    assert found["machine lb"].digest == change_digest(before, after)
    new = machine_digest("lb2", {"vcpus": 1, "memory_mib": 512})
    assert (found["machine lb2"].digest, found["machine lb2"].check) == (change_digest(NOTHING, new), "automatic")


def test_a_bigger_data_disk_stays_when_its_machine_is_taken_back() -> None:
    before, after = (
        {"sizes": {"vcpus": 1, "memory_mib": memory, "data_disk_mib": disk}}
        for memory, disk in ((512, 2048), (640, 4096))
    )
    step = Planned(operation="update", kind=BOOT, name="db1", before=before, after=after)
    follows = (other("understudy:index:DataDisk"), other("understudy:index:Filesystem"))
    assert to_rehearse("stage", (step, *follows)) == ()
    play = Play(Path("/x"), "stage", (), boots=resized((step,)))
    assert play.bigger == ("db1",)
    assert play.sizes_before == {"db1": {"vcpus": 1, "memory_mib": 512, "data_disk_mib": 4096}}
    same, larger, other_port = (portrait("db1", size, port) for size, port in ((2000, 80), (3980, 80), (3980, 81)))
    assert differences((same,), (larger,), play.excuses) == []
    assert len(differences((same,), (larger,))) == 1
    (named,) = differences((same,), (other_port,), play.excuses)
    assert "before 80, after the back-out 81" in named


def test_what_the_kernel_derives_anew_at_a_boot_is_no_difference_where_there_was_one() -> None:
    def looked(reserve: str, swappiness: str) -> Portrait:
        readings = (("vm.user_reserve_kbytes", reserve), ("vm.swappiness", swappiness))
        area = "kernel settings"
        return Portrait(machine="lb", readings=tuple(Reading(area=area, key=key, value=of) for key, of in readings))

    play = Play(Path("/x"), "stage", (), boots=(boot("lb", 512, 640),))
    assert differences((looked("14346", "60"),), (looked("14349", "60"),), play.excuses) == []
    (named,) = differences((looked("14346", "60"),), (looked("14349", "10"),), play.excuses)
    assert "vm.swappiness" in named
    assert len(differences((looked("14346", "60"),), (looked("14349", "60"),))) == 1, "nothing booted"


def portrait(machine: str, size: int, port: int) -> Portrait:
    readings = (
        Reading(area="system", key="size of /srv", value=f"{size} MiB", amount=size, within=0.05),
        Reading(area="system", key="port", value=str(port)),
    )
    return Portrait(machine=machine, readings=readings)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ((), "Git changes no service and no machine there"),
        ((other("understudy:index:Report"),), "Git changes no service and no machine there"),
        ((service("lb"), other("libvirt:index/domain:Domain")), "not only services and machines would .*: Domain x"),
        ((boot("lb", 512, 640), other("understudy:index:PostgresPrimary")), "machines would change: PostgresPrimary x"),
        (
            (boot("db1", 512, 640), Planned(operation="replace", kind=VOLUME, name="db1-data")),
            "what is on them is lost: db1-data",
        ),
    ],
)
def test_what_cannot_be_rehearsed_is_refused_with_what_to_do(steps: tuple[Planned, ...], words: str) -> None:
    with pytest.raises(UnderstudyError, match=words) as caught:
        to_rehearse("stage", steps)
    assert caught.value.todo


def test_one_change_has_all_its_machines_and_needs_a_check_on_each() -> None:
    found = changes((service("app2"), service("app1"), service("lb", before="", checks=False)))
    assert {each.digest: (each.machines, each.check) for each in found} == {
        change_digest(A, B): (("app1", "app2"), "automatic"),
        change_digest(NOTHING, B): (("lb",), "none"),
    }


def test_a_service_that_goes_is_a_change_to_nothing() -> None:
    (found,) = changes((service("lb", after=""),))
    assert (found.digest, found.service, found.check) == (change_digest(A, NOTHING), "web", "none"), (
        "nothing checked it"
    )


def play_of(**more: Any) -> Play:
    return Play(Path("/x"), "stage", (service("lb"),), **more)


def test_all_went_well_is_green_and_can_be_read_back() -> None:
    play = play_of()
    with play.step("apply and check"):
        pass
    rehearsal = rehearsal_of(play, MIRROR, SEEDS)
    assert rehearsal.green
    assert told(rehearsal, "", "stage")[-1] == "rehearsal: GREEN"
    assert rehearsal_from(rehearsal_body(rehearsal)) == rehearsal


def test_a_difference_after_the_back_out_is_red_and_named() -> None:
    play = play_of()
    play.differences.append("lb: files: /etc/a: before 1, after the back-out 2")
    rehearsal = rehearsal_of(play, MIRROR, SEEDS)
    assert not rehearsal.green
    assert "  RED lb: files: /etc/a: before 1, after the back-out 2" in told(rehearsal, "", "stage")


def test_a_step_that_fails_is_red_and_timed(capsys: pytest.CaptureFixture[str]) -> None:
    play = play_of()
    with pytest.raises(UnderstudyError), play.step("back out"):
        raise UnderstudyError(where="lb", found="no")
    assert [(step.name, step.ok) for step in play.steps] == [("back out", False)]
    assert "back out: FAILED" in capsys.readouterr().out
    assert not rehearsal_of(play, MIRROR, SEEDS).green


def test_a_step_that_was_not_reached_is_not_green() -> None:
    play = play_of(fault="stack stage: no")
    assert not rehearsal_of(play, MIRROR, SEEDS).green


def test_what_has_no_check_says_what_to_type() -> None:
    play = Play(Path("/x"), "stage", (service("lb", checks=False),))
    (line,) = (each for each in told(rehearsal_of(play, MIRROR, SEEDS), "", "stage") if "your word" in each)
    assert f'./run understudy change word {change_digest(A, B)[:12]} -s stage --why "..."' in line
