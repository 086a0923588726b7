"""Proves the newest backups: restores them into a stage, checks them, times it, and writes down what came of it.

The pin of each store moves to its newest snapshot, and `pulumi up` fills the store from it anew, even where it is the
same as before. The exit code is 0 where all is good, 1 where anything is not, or could not be checked.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.arguments import add_stack, project_directory, short_stack
from cli.drill_history import read_history, record
from cli.drill_timer import install, remove
from cli.files import load_environment, read_lock, write_lock
from cli.pins import in_words, labelled_pin, open_backups, pin_lines
from cli.preflight import ensure_placed
from cli.pulumi_state import PulumiState
from cli.working import only_drill, refuse_busy, who_works_on
from model.drilling import attempted, environment_checks, fault_in, held_pin, holds, in_utc, refuse_changed, restore_of
from model.environment import Environment
from model.errors import UnderstudyError
from model.evidence import Drill, Restore
from model.placement import PinnedSeed, Placement
from model.topology import Store

NIGHTLY = "*-*-* 02:30:00"
ATTEMPTS = "UNDERSTUDY_ATTEMPTS"
"""The variable that names a file where the provider notes restores that it refused."""
_END_SECONDS = 60.0
"""How long Pulumi may take to end when the drill is stopped."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy drill`."""
    add_stack(parser)
    parser.add_argument("--install", action="store_true", help="set a systemd timer that drills every night; end there")
    parser.add_argument("--remove", action="store_true", help="remove that timer; end there")
    parser.add_argument("--at", default=NIGHTLY, metavar="WHEN", help="for --install (systemd.time): %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Drill once, or set or remove the timer."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    if arguments.remove:
        return remove(stack)
    if arguments.install:
        refuse_live(load_environment(directory, stack))
        return install(directory, stack, arguments.at)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        drill = proof(directory, stack)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends by itself now, once it is written down
        recorded = record(directory, drill)
    finally:
        signal.signal(signal.SIGTERM, before)
    for line in told(drill):
        print(line)
    return 0 if recorded and drill.ok else 1


class Stopped(KeyboardInterrupt):
    """Somebody asked this process to end, and nobody the processes that it started."""


def _stop(number: int, _: object) -> None:
    raise Stopped(f"it was stopped by {signal.Signals(number).name}")


def proof(directory: Path, stack: str) -> Drill:
    """Drill, and return what came of it. What could not run, for whatever reason, is red like what went wrong."""
    began = datetime.now(UTC).replace(microsecond=0)
    try:
        environment = load_environment(directory, stack)
        refuse_live(environment)
        with only_drill(stack):
            return rehearse(directory, environment, began)
    except KeyboardInterrupt as error:
        return _red(began, stack, str(error) or "it was interrupted")
    except UnderstudyError as error:
        return _red(began, stack, str(error))
    except Exception as error:  # noqa: BLE001  # a full disk, a broken file, a mistake of ours: none may pass for green
        traceback.print_exc(file=sys.stderr)
        return _red(began, stack, f"it could not run: {type(error).__name__}: {error}")


def refuse_live(environment: Environment) -> None:
    """Refuse a stack whose data is nobody's copy.

    Raises:
        UnderstudyError: it mirrors no other stack, fills no store from a backup, or users write there.
    """
    if not environment.mirror_of or environment.settings.seed != "newest" or not filled(environment):
        raise UnderstudyError(
            where=f"stack {environment.stack}",
            found="it has data of its own, or no store that is filled from a backup",
            wanted="a stack with `mirror` and `seed: newest`, and a store with a `backup`",
            todo="A drill overwrites the stores of its stack. Nothing was done.",
        )
    environment.refuse_overwriting()


def rehearse(directory: Path, environment: Environment, began: datetime) -> Drill:
    """Restore the newest snapshots and return what came of it.

    Raises:
        UnderstudyError: it could not even be tried.
    """
    started = time.monotonic()
    before = ensure_placed(directory, environment)
    environment = environment.at_copy(before.offsite)
    drills = read_history(directory, environment.stack)
    pins = tuple(newest_pin(directory, store, began, before.seeds, drills) for store in filled(environment))
    for line in pin_lines(before.seeds, pins):
        print(line, flush=True)
    fault, restores = _fill(directory, environment, before, pins)
    if fault:
        return _red(began, environment.stack, fault, restores)
    return _judged(began, time.monotonic() - started, environment, pins, _deployment(directory, environment.stack))


def filled(environment: Environment) -> tuple[Store, ...]:
    """Return the stores that are filled from a backup."""
    return tuple(store for store in environment.topology.stores if store.backup is not None)


def _fill(
    directory: Path, environment: Environment, before: Placement, pins: tuple[PinnedSeed, ...]
) -> tuple[str, tuple[Restore, ...]]:
    """Move the pins and run `up`; return why it failed, and the restores that it refused. Then the pins go back."""
    stack, restores = environment.stack, tuple[Restore, ...]()
    refuse_busy(stack)
    write_lock(directory, stack, replace(before, seeds=tuple(sorted(pins, key=lambda pin: pin.store))))
    done = False
    try:
        with tempfile.NamedTemporaryFile("r", prefix="understudy-attempts-") as attempts:
            code, printed = bring_up(directory, stack, attempts.name)
            restores = tuple(_attempts(filled(environment), attempts.read()))
        done = code == 0
    finally:
        if not done:
            _put_back(directory, stack, before.seeds)
    return "" if done else fault_in(printed) or f"`pulumi up` ended with {code}", restores


def _deployment(directory: Path, stack: str) -> dict[str, Any]:
    with PulumiState(directory, stack) as state:
        return state.exported


def newest_pin(
    directory: Path, store: Store, began: datetime, pinned: tuple[PinnedSeed, ...], drills: tuple[Drill, ...]
) -> PinnedSeed:
    """Return the pin on a store's newest snapshot, good or not: a bad one is what a drill is there to find.

    Raises:
        UnderstudyError: the repository cannot be used, its newest snapshot is not good, or is not what it was when it
            was pinned or drilled before.
    """
    label = open_backups(directory, store).snapshots()[-1].label
    pin = replace(labelled_pin(directory, store, label), drilled_at=began)
    refuse_changed(pin, pinned, drills)
    return pin


def bring_up(directory: Path, stack: str, attempts: str) -> tuple[int, str]:
    """Run `pulumi up`, show what it prints, and return its exit code and what it printed."""
    argv = (str(directory / "run"), "pulumi", "up", "-s", stack, "--yes", "--skip-preview", "--non-interactive")
    environment = {**os.environ, ATTEMPTS: attempts}
    kept: list[str] = []
    with subprocess.Popen(
        (*argv, "--color", "never"),
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                kept.append(line)
        except BaseException as error:
            _end(process, tell=not isinstance(error, KeyboardInterrupt) or isinstance(error, Stopped))
            raise
    return process.returncode, "".join(kept)


def _end(process: subprocess.Popen[str], *, tell: bool) -> None:
    """Let Pulumi end in order, as after Ctrl-C, of which a terminal has told it already; a second word would cut it."""
    if tell:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _attempts(stores: tuple[Store, ...], text: str) -> Iterator[Restore]:
    """Yield what the provider noted; a line that was cut off with it is none."""
    by_name = {store.name: store for store in stores}
    for line in text.splitlines():
        with suppress(ValueError):
            noted = json.loads(line)
            if noted.get("store") in by_name:
                yield attempted(by_name[noted["store"]], noted)


def _put_back(directory: Path, stack: str, before: tuple[PinnedSeed, ...]) -> None:
    """Let the pins say what the stores hold: those that were not filled anew keep their old data.

    While somebody else changes the stack, its state does not know yet what they will hold: the pins are what they were.
    What hinders that is only told: the drill is red for another reason, which must not be lost.
    """
    try:
        lock = read_lock(directory, stack)
        deployment = {} if who_works_on(stack) else _deployment(directory, stack)
        if lock is None:
            return
        old = {pin.store: pin for pin in before}
        pins = tuple(held_pin(deployment, pin.store) or old.get(pin.store, pin) for pin in lock.seeds)
        write_lock(directory, stack, replace(lock, seeds=pins))
    except (UnderstudyError, OSError, ValueError) as error:
        print(f"the pins could not be put back: {error}", file=sys.stderr)
        return
    for pin in pins:
        print(f"store {pin.store}: the pin is on {in_words(pin)}")


def _red(began: datetime, stack: str, fault: str, restores: tuple[Restore, ...] = ()) -> Drill:
    words = " ".join(fault.split())
    return Drill(at=in_utc(began), stack=stack, recovery_seconds=None, restores=restores, fault=words)


def _judged(
    began: datetime,
    seconds: float,
    environment: Environment,
    pins: tuple[PinnedSeed, ...],
    deployment: dict[str, Any],
) -> Drill:
    stores = {store.name: store for store in environment.topology.stores}
    restores = tuple(filter(None, (restore_of(deployment, stores[pin.store]) for pin in pins)))
    left = [pin.store for pin in pins if not holds(deployment, pin)]
    return Drill(
        at=in_utc(began),
        stack=environment.stack,
        recovery_seconds=None if left else round(seconds, 1),
        restores=restores,
        checks=environment_checks(deployment),
        fault=f"not restored: {', '.join(left)}" if left else "",
    )


def told(drill: Drill) -> list[str]:
    """Return what came of a drill, in a few lines."""
    lines = []
    for restore in drill.restores:
        age = "unknown" if restore.data_age_seconds is None else f"{restore.data_age_seconds:.0f} s"
        took = "" if restore.restore_seconds is None else f", restored in {restore.restore_seconds:.1f} s"
        lines.append(f"store {restore.store}: {restore.snapshot}{took}, data {age} old")
        lines += [f"  {'ok ' if check.green else 'RED'} {check.name}: {check.detail}" for check in restore.checks]
    lines += [f"  {'ok ' if check.green else 'RED'} {check.name}: {check.detail}" for check in drill.checks]
    if drill.ok:
        return [*lines, f"drill of {drill.stack}: GREEN, recovered in {drill.recovery_seconds:.0f} s"]
    return [*lines, f"drill of {drill.stack}: RED{f': {drill.fault}' if drill.fault else ''}"]
