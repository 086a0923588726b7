"""Units: what systemd is told, in which order, and what is made of its answers."""

from __future__ import annotations

from typing import Any

import pytest

from provisioners.provider.kinds import HalfMade
from provisioners.provider.unit import NotRightError, Unit, status_of
from tests.doubles.sshd import Machine

UNIT = Unit()


def quiet(_: str) -> None:
    """Show nothing."""


def inputs(machine: Machine, unit: str, **more: Any) -> dict[str, Any]:
    """Return a unit's inputs."""
    reach = {"connection": machine.connection.values(), "private_key": machine.private_key, "generation": "1"}
    return {**reach, "unit": unit, **more}


def verbs(machine: Machine, since: int) -> list[str]:
    """Return what systemctl was told to change."""
    words = [call.split()[1] for call in machine.systemctl_calls()[since:] if call.startswith("systemctl")]
    return [word for word in words if word not in ("show", "is-enabled")]


def test_its_life(machine: Machine) -> None:
    wanted = inputs(machine, "a.service", restart_on=["1"])
    count = len(machine.systemctl_calls())
    assert UNIT.create(wanted, quiet) == ("m1:a.service", {"active_state": "active"})
    assert verbs(machine, count) == ["enable", "restart"]

    count = len(machine.systemctl_calls())
    changed = {**wanted, "restart_on": ["2"]}
    assert UNIT.update("", wanted, changed, {"active_state": "active"}, quiet) == {"active_state": "active"}
    assert verbs(machine, count) == ["restart"]

    count = len(machine.systemctl_calls())
    unable = {**changed, "enabled": False}
    UNIT.update("", changed, unable, {"active_state": "active"}, quiet)
    assert verbs(machine, count) == ["disable", "start"], "what runs is not restarted for that"

    count = len(machine.systemctl_calls())
    assert UNIT.update("", unable, {**unable, "running": False}, {"active_state": "active"}, quiet) == {
        "active_state": "inactive"
    }
    assert verbs(machine, count) == ["stop"]
    UNIT.delete("", wanted, {}, quiet)
    assert not (machine.root / "run/fake-systemd/a.service.enabled").exists()


def test_what_somebody_stopped_or_disabled_is_seen(machine: Machine) -> None:
    wanted = inputs(machine, "b.service")
    UNIT.create(wanted, quiet)
    real = UNIT.read("", wanted, {}, quiet)
    assert real is not None
    assert real.inputs == wanted
    (machine.root / "run/fake-systemd/b.service.active").unlink()
    (machine.root / "run/fake-systemd/b.service.enabled").unlink()
    real = UNIT.read("", wanted, {}, quiet)
    assert real is not None
    assert real.inputs == {**wanted, "running": False, "enabled": False}
    (machine.root / "etc/fake-missing").mkdir()
    (machine.root / "etc/fake-missing/b.service").touch()
    assert UNIT.read("", wanted, {}, quiet) is None


def test_a_unit_that_does_not_start_is_half_made_and_shows_its_log(machine: Machine) -> None:
    (machine.root / "etc/fake-broken").mkdir()
    broken = machine.root / "etc/fake-broken/c.service"
    broken.touch()
    wanted = inputs(machine, "c.service")
    with pytest.raises(HalfMade, match=r"c.service: loaded, failed(.|\n)*the last words of the service") as caught:
        UNIT.create(wanted, quiet)
    assert (caught.value.identifier, caught.value.outputs) == ("m1:c.service", {"active_state": "failed"})
    with pytest.raises(NotRightError):
        UNIT.update("", wanted, wanted, {"active_state": "failed"}, quiet)
    broken.unlink()
    assert UNIT.update("", wanted, wanted, {"active_state": "failed"}, quiet) == {"active_state": "active"}


@pytest.mark.parametrize(
    ("shown", "runs", "moves", "ready"),
    [
        ("ActiveState=active\nSubState=running\nType=notify", True, False, True),
        ("ActiveState=active\nSubState=running\nType=simple", True, False, False),
        ("ActiveState=active\nSubState=exited\nType=oneshot", True, False, True),
        ("ActiveState=inactive\nSubState=dead\nType=oneshot\nResult=success", True, False, True),
        ("ActiveState=inactive\nSubState=dead\nType=simple\nResult=success", False, False, False),
        ("ActiveState=activating\nSubState=auto-restart\nType=simple", False, True, False),
        ("ActiveState=failed\nSubState=failed\nType=oneshot\nResult=exit-code", False, False, True),
    ],
)
def test_states(shown: str, runs: bool, moves: bool, ready: bool) -> None:
    status = status_of(shown)
    assert (status.runs, status.moves, status.says_when_ready) == (runs, moves, ready)


@pytest.mark.parametrize("unit", ["a", "a b.service", "--now.service;", "../x.service", ""])
def test_names_that_are_no_units_are_refused(machine: Machine, unit: str) -> None:
    assert [failure.property for failure in UNIT.check(inputs(machine, unit))] == ["unit"]
