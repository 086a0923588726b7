"""Proves the newest backups: restores them into a stage, checks them, times it, and writes down what came of it.

The pin of each store moves to its newest snapshot, and `pulumi up` fills the store from it anew, even where it is the
same as before. The exit code is 0 where all is good, 1 where anything is not, or could not be checked.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.arguments import add_stack, project_directory, short_stack
from cli.drill_timer import install, remove
from cli.files import load_environment, read_lock, write_lock
from cli.pins import in_words, labelled_pin, open_backups, pin_lines
from cli.preflight import ensure_placed
from cli.pulumi_state import PulumiState
from model.drilling import attempted, environment_checks, fault_in, holds, in_utc, restore_of
from model.environment import Environment
from model.errors import UnderstudyError
from model.evidence import Drill, Restore, drill_line
from model.placement import PinnedSeed
from model.topology import Store

NIGHTLY = "*-*-* 02:30:00"
ATTEMPTS = "UNDERSTUDY_ATTEMPTS"
"""The variable that names a file where the provider notes restores that it refused."""


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
    environment = load_environment(directory, stack)
    refuse_live(environment)
    if arguments.install:
        return install(directory, stack, arguments.at)
    drill = rehearse(directory, environment)
    record(directory, drill)
    for line in told(drill):
        print(line)
    return 0 if drill.ok else 1


def refuse_live(environment: Environment) -> None:
    """Refuse a stack whose data is nobody's copy.

    Raises:
        UnderstudyError: it mirrors no other stack, or fills no store from a backup.
    """
    stores = [store for store in environment.topology.stores if store.backup is not None]
    if not environment.mirror_of or environment.settings.seed != "newest" or not stores:
        raise UnderstudyError(
            where=f"stack {environment.stack}",
            found="it has data of its own, or no store that is filled from a backup",
            wanted="a stack with `mirror` and `seed: newest`, and a store with a `backup`",
            todo="A drill overwrites the stores of its stack. Nothing was done.",
        )


def rehearse(directory: Path, environment: Environment) -> Drill:
    """Restore the newest snapshots and return what came of it; what goes wrong is told in it."""
    began, started = datetime.now(UTC).replace(microsecond=0), time.monotonic()
    stack = environment.stack
    stores = tuple(store for store in environment.topology.stores if store.backup is not None)
    restores: tuple[Restore, ...] = ()
    try:
        before = ensure_placed(directory, environment)
        pins = tuple(newest_pin(directory, store, began) for store in stores)
        for line in pin_lines(before.seeds, pins):
            print(line, flush=True)
        write_lock(directory, stack, replace(before, seeds=tuple(sorted(pins, key=lambda pin: pin.store))))
        with tempfile.NamedTemporaryFile("r", prefix="understudy-attempts-") as attempts:
            code, printed = bring_up(directory, stack, attempts.name)
            restores = tuple(_attempts(stores, attempts.read()))
        with PulumiState(directory, stack) as state:
            deployment = state.exported
        if code != 0:
            _put_back(directory, stack, before.seeds, deployment)
            return _red(began, stack, fault_in(printed), restores)
        return _judged(began, time.monotonic() - started, environment, pins, deployment)
    except UnderstudyError as error:
        return _red(began, stack, str(error), restores)
    except KeyboardInterrupt:
        return _red(began, stack, "interrupted", restores)


def newest_pin(directory: Path, store: Store, began: datetime) -> PinnedSeed:
    """Return the pin on a store's newest snapshot, good or not: a bad one is what a drill is there to find.

    Raises:
        UnderstudyError: the repository cannot be used, or its newest snapshot is not good.
    """
    label = open_backups(directory, store).snapshots()[-1].label
    return replace(labelled_pin(directory, store, label), drilled_at=began)


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
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            kept.append(line)
    return process.returncode, "".join(kept)


def _attempts(stores: tuple[Store, ...], text: str) -> list[Restore]:
    by_name = {store.name: store for store in stores}
    noted = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [attempted(by_name[each["store"]], each) for each in noted if each.get("store") in by_name]


def _put_back(directory: Path, stack: str, before: tuple[PinnedSeed, ...], deployment: dict[str, Any]) -> None:
    """Let the pins say what the stores hold: those that were not filled keep their old data."""
    lock = read_lock(directory, stack)
    if lock is None:
        return
    old = {pin.store: pin for pin in before}
    pins = tuple(pin if holds(deployment, pin) else old.get(pin.store, pin) for pin in lock.seeds)
    write_lock(directory, stack, replace(lock, seeds=pins))
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


def record(directory: Path, drill: Drill) -> None:
    """Append a drill to the stack's history, and show it in the report."""
    folder = directory / "reports" / drill.stack
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "drills.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{drill_line(drill)}\n")
        file.flush()
        os.fsync(file.fileno())
    from provisioners.report.kind import refresh

    try:
        refresh(str(folder / "report.html"), str(path))
    except UnderstudyError as error:
        print(f"the drill is in {path}, but not in the report: {error}", file=sys.stderr)


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
