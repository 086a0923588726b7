"""Killed between any two commands, of a step or of the way back: no file is ever half, and the next run ends it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from model.change import Step
from provisioners.changes.apply import observe
from provisioners.changes.steps import steps_of
from provisioners.commands import guest_script
from provisioners.shell import close_all, connect
from tests.changes.values import (
    CONFIG,
    GONE,
    SECRET,
    SERVICE,
    UNIT_FILE,
    backups,
    inputs,
    quiet,
    state_of,
    tree,
    with_content,
)
from tests.doubles.sshd import Machine

KILLED = "set -T; n=0; trap '((++n > {at})) && kill -KILL $$ $BASHPID' DEBUG\n"
PLACES = ("/etc/web", "/etc/web.d", "/etc/systemd/system", "/run/fake-systemd/web.service.active")
FILES = tuple(path.lstrip("/") for path in (CONFIG, UNIT_FILE, GONE, "/etc/web/link", "/etc/web/new/one"))
LEFT_OVER = ("bash", "-c", guest_script("service_left_over"), "understudy", "web")
LINK = "/etc/web/link"
NEW = "/etc/web/new/one"
KILLED_BACK_OUT = (
    'bash -T -c \'n=0; trap "((++n > {at})) && kill -KILL \\$\\$ \\$BASHPID" DEBUG; . "$0"\''
    " /root/configs/.open/web/back-out.sh\n"
)
STRIDE = 3
"""Passed with 1 as well, in five minutes."""

State = dict[str, tuple[str, int, int, bytes | str]]


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine that runs the service, and where a second change of it is to come."""
    with Machine() as running:
        (running.root / "etc/fake-strict").touch()
        fast = running.root / "usr/local/bin/sleep"
        fast.parent.mkdir(parents=True, exist_ok=True)
        fast.write_text('#!/bin/bash\n[ "$1" = 1 ] && exec /bin/sleep 0.01\nexec /bin/sleep "$@"\n')
        fast.chmod(0o755)
        old = running.root / GONE.lstrip("/")
        old.parent.mkdir()
        old.write_text("old\n")
        SERVICE.create(inputs(running, files=without(inputs(running), GONE)), quiet)
        (running.root / LINK.lstrip("/")).symlink_to("else where")
        yield running
        close_all()


def without(given: dict[str, Any], path: str) -> dict[str, Any]:
    return {name: file for name, file in given["files"].items() if name != path}


def changed(machine: Machine) -> dict[str, Any]:
    """Return inputs that write over a file and a link, make a file and its directory, and remove one."""
    given = with_content(inputs(machine), CONFIG, "port = 1\nsecond\npassword=@@password of shop@@\n", owner="daemon")
    return with_content(with_content(given, LINK, "a file now\n"), NEW, "made\n")


@pytest.fixture(scope="module")
def steps(machine: Machine) -> tuple[Step, ...]:
    with connect(machine.connection, machine.private_key, quiet, 10) as shell:
        return steps_of(changed(machine), observe(shell, changed(machine)))


@pytest.fixture(scope="module")
def before(machine: Machine, steps: tuple[Step, ...]) -> State:
    return tree(machine, *PLACES)


@pytest.fixture(scope="module")
def after(machine: Machine, steps: tuple[Step, ...], before: State) -> State:
    for step in steps:
        do(machine, step)
    made = tree(machine, *PLACES)
    machine.inside("bash", "-c", steps[0].inverse)
    assert tree(machine, *PLACES) == before
    return made


def do(machine: Machine, step: Step, prefix: str = "", code: int | None = 0) -> str:
    """Do a step as a root shell does; with a prefix that kills it, it may end in any way."""
    given = "".join(f"{SECRET}\n" for _ in step.secrets)
    text = f"{prefix}{step.command}"
    argv = ("bash", "-c", 'exec bash -c "$1" <<<"$2"', "x", text, given.removesuffix("\n"))
    printed = machine.inside(*argv, code=code)
    if code == 0:
        assert not step.prints or step.prints in printed.splitlines(), printed
    return printed


def wholly_old_or_new(now: State, before: State, after: State) -> None:
    for name in FILES:
        assert now.get(name) in (before.get(name), after.get(name)), name


def is_open(machine: Machine) -> bool:
    return (machine.root / "root/configs/.open/web").is_symlink()


def end(machine: Machine, steps: tuple[Step, ...]) -> None:
    """Do what the next run does first, and, where the change was kept already, take it back as well."""
    if is_open(machine):
        machine.inside(*LEFT_OVER)
    if any(state_of(backup) == "kept" for backup in backups(machine) if (backup / "state").exists()):
        machine.inside("bash", "-c", steps[0].inverse)
    machine.inside("bash", "-c", "rm -rf /root/configs/web/[0-9]*Z-*")  # each is looked at alone


@pytest.mark.parametrize("at", range(14))
def test_every_step_killed_between_its_commands(
    machine: Machine, steps: tuple[Step, ...], before: State, after: State, at: int
) -> None:
    if at >= len(steps):
        assert at >= 12, "there are fewer steps than this test knows"
        return
    commands, whole = at % STRIDE, False
    while not whole:
        for step in steps[:at]:
            do(machine, step)
        printed = do(machine, steps[at], KILLED.format(at=commands), code=None)
        whole = steps[at].prints in printed.splitlines()
        wholly_old_or_new(tree(machine, *PLACES), before, after)
        if whole and at == len(steps) - 1:
            assert tree(machine, *PLACES) == after
        end(machine, steps)
        now = tree(machine, *PLACES)
        assert now == before, f"{steps[at].name}: killed after {commands} commands"
        assert not is_open(machine)
        commands += STRIDE
        assert commands < 400
    assert commands > 3, "the step was really cut"


def test_the_way_back_killed_between_its_commands(
    machine: Machine, steps: tuple[Step, ...], before: State, after: State
) -> None:
    commands, whole = 0, False
    while not whole:
        for step in steps[:-1]:
            do(machine, step)
        count = len(restarts(machine))
        printed = machine.inside("bash", "-c", KILLED_BACK_OUT.format(at=commands), code=None)
        whole = "backed out" in printed.splitlines()
        wholly_old_or_new(tree(machine, *PLACES), before, after)
        end(machine, steps)
        assert tree(machine, *PLACES) == before, f"after {commands} commands"
        assert len(restarts(machine)) > count, f"after {commands} commands the old file was not taken by its unit"
        assert not is_open(machine)
        commands += 5
    assert commands > 60, "the script was really cut"


def restarts(machine: Machine) -> list[str]:
    return [call for call in machine.systemctl_calls() if "restart" in call and "web.service" in call]
