"""A change on a real machine with its real systemd: kept, taken back at once, by its deadline, and by a reboot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from model.change import Step
from model.errors import UnderstudyError
from provisioners.changes.apply import apply, back_out, changes_on, observe
from provisioners.machine_lock import machine_lock
from provisioners.outcome import ConnectionLost
from provisioners.provider.service import Service
from provisioners.shell import close_all
from tests.vm.lab import Lab, lab, left_overs, machine

pytestmark = pytest.mark.vm

SERVICE = Service()
CONFIG, UNIT, SYSCTL = "/etc/demo/a b.conf", "/etc/systemd/system/demo.service", "/etc/sysctl.d/70-demo.conf"
SAYS = "systemctl show --property=ActiveState,UnitFileState,StatusText demo.service; sysctl vm.swappiness"
LOOK = f"{SAYS}; stat -c '%n %a %U:%G %h' /etc/demo/* {SYSCTL} {UNIT}; cat /etc/demo/* {SYSCTL} {UNIT}"
OF_OURS = "ls /etc/systemd/system /etc/systemd/system/*.wants /root/configs/.open | grep understudy-back || true"


def quiet(_: str) -> None:
    """Show nothing."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("lab"), 9, [machine("a", 11)]) as made:
        made.up()
        yield made
    assert left_overs(made) == []


@pytest.fixture(scope="module")
def wanted(alone: Lab) -> dict[str, Any]:
    """A service whose unit tells systemd what it read, and that sets a kernel setting."""
    output = alone.outputs()["a"]
    given = {
        "connection": output["connection"],
        "private_key": output["private_key"],
        "generation": output["generation"],
        "service": "demo",
        "files": {
            CONFIG: {"content": "one\n", "mode": "0640", "group": "adm"},
            SYSCTL: {"content": "vm.swappiness = 7\n"},
            UNIT: {
                "content": "[Service]\nType=notify\nNotifyAccess=all\n"
                f'ExecStart=/bin/bash -c \'read -r said <"{CONFIG}"; [ $$said != broken ] || exit 3; '
                'systemd-notify --ready --status="$said"; exec sleep infinity\'\n'
                "[Install]\nWantedBy=multi-user.target\n"
            },
        },
        "reload": {SYSCTL: "systemd-sysctl.service"},
        "units": {"demo.service": {"restart_on": [CONFIG, UNIT]}},
        "checks": [{"name": "it runs", "command": ["systemctl", "is-active", "demo.service"], "prints": "active"}],
        "confirm_seconds": 20,
    }
    assert SERVICE.check(given) == ()
    SERVICE.create(given, quiet)
    assert SERVICE.update("", given, given, {}, quiet)["change"]
    return given


def run(alone: Lab, script: str) -> str:
    with alone.shell("a") as shell:
        return shell.run(("bash", "-c", script)).text


def with_config(given: dict[str, Any], content: str) -> dict[str, Any]:
    files = {
        **given["files"],
        CONFIG: {"content": content, "mode": "0600"},
        SYSCTL: {"content": "vm.swappiness = 9\n"},
    }
    return {**given, "files": files}


def stepwise(alone: Lab, given: dict[str, Any], before: Callable[[Step], None]) -> None:
    with alone.shell("a") as shell, machine_lock(shell, "a test"):
        apply(shell, given, observe(shell, given), before=before)


def wait_until_closed(alone: Lab, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while run(alone, "ls /root/configs/.open"):
        assert time.monotonic() < deadline, run(alone, "journalctl -n 30 -u 'understudy-back-out-*'")
        time.sleep(2)


def test_it_is_made_and_a_later_change_is_taken_back(alone: Lab, wanted: dict[str, Any]) -> None:
    first = run(alone, LOOK)
    assert "StatusText=one" in first
    assert "UnitFileState=enabled" in first
    assert "vm.swappiness = 7" in first.splitlines()
    second = with_config(wanted, "two\n")
    SERVICE.update("", wanted, second, {}, quiet)
    assert "StatusText=two" in run(alone, SAYS)
    assert "vm.swappiness = 9" in run(alone, SAYS)
    with alone.shell("a") as shell:
        back_out(shell, changes_on(shell)[0])
    assert run(alone, LOOK) == first
    assert run(alone, OF_OURS) == ""


def test_a_unit_that_refuses_is_backed_out_at_once(alone: Lab, wanted: dict[str, Any]) -> None:
    first = run(alone, LOOK)
    with pytest.raises(UnderstudyError, match=r"`tell systemd(.|\n)*The old configuration is back"):
        SERVICE.update("", wanted, with_config(wanted, "broken\n"), {}, quiet)
    assert run(alone, LOOK) == first
    assert run(alone, OF_OURS) == ""


def test_a_cut_connection_and_the_machine_takes_it_back_by_itself(alone: Lab, wanted: dict[str, Any]) -> None:
    first = run(alone, LOOK)

    def vanish(step: Step) -> None:
        if step.name.startswith("keep"):
            assert "StatusText=two" in run(alone, SAYS)
            close_all()  # as far as the machine can tell, the controller is gone

    with pytest.raises(ConnectionLost, match="takes its old configuration back by itself"):
        stepwise(alone, with_config(wanted, "two\n"), vanish)
    wait_until_closed(alone, 120)
    assert run(alone, LOOK) == first
    assert run(alone, OF_OURS) == ""


def test_a_reboot_in_the_middle(alone: Lab, wanted: dict[str, Any]) -> None:
    first = run(alone, LOOK)

    def reboot(step: Step) -> None:
        if step.name.startswith("keep"):
            run(alone, "sync; echo b >/proc/sysrq-trigger || true")

    with pytest.raises(UnderstudyError):
        stepwise(alone, with_config(wanted, "two\n"), reboot)
    close_all()
    wait_until_closed(alone, 240)
    assert run(alone, LOOK) == first
    assert run(alone, OF_OURS) == ""
    SERVICE.update("", wanted, with_config(wanted, "two\n"), {}, quiet)
    assert "StatusText=two" in run(alone, SAYS)


def test_taken_away_it_is_as_it_was_before_us(alone: Lab, wanted: dict[str, Any]) -> None:
    SERVICE.delete("", wanted, {}, quiet)
    assert run(alone, f"ls /etc/demo {SYSCTL} {UNIT} 2>/dev/null || true") == ""
    assert "ActiveState=inactive" in run(alone, SAYS)
