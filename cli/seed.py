"""Moves the pin of a stack's stores to another snapshot; `pulumi preview` then shows old and new.

Whatever a stage has written into its stores itself is lost when the next `pulumi up` fills them again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC
from pathlib import Path

from cli.arguments import add_stack, project_directory, short_stack
from cli.files import load_environment, read_lock, write_lock
from cli.pins import labelled_pin, newest_pin, open_backups, pin_lines
from model.environment import Environment
from model.errors import UnderstudyError
from model.placement import PinnedSeed, Placement, file_name
from model.readers import meant
from model.topology import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy seed`."""
    add_stack(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--newest", action="store_true", help="the newest good snapshot of each store")
    what.add_argument("--snapshot", metavar="LABEL", help="the snapshot of this label")
    what.add_argument("--list", action="store_true", help="change nothing; show the snapshots that there are")
    parser.add_argument("--store", metavar="NAME", help="this store only; needed with --snapshot if there are several")


def run(arguments: argparse.Namespace) -> int:
    """Move the pins and say from where to where."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    before = read_lock(directory, stack)
    environment = load_environment(directory, stack).at_copy(before.offsite if before else "")
    stores = _stores(environment, arguments.store)
    if arguments.list:
        _print_snapshots(directory, stores, before)
        return 0
    environment.refuse_overwriting()
    if before is None:
        todo = f"Run `./run understudy place -s {stack}`; it pins the newest."
        raise UnderstudyError(where=file_name(stack), found="no such file", wanted="a stack that was placed", todo=todo)
    after = replace(before, seeds=_moved(directory, stores, before.seeds, arguments.snapshot))
    if after == before:
        print(f"{file_name(stack)}: the pins stay where they are")
        return 0
    write_lock(directory, stack, after)
    for line in pin_lines(before.seeds, after.seeds):
        print(line)
    print(f"`./run pulumi preview -s {stack}` shows what that changes, `./run pulumi up -s {stack}` does it.")
    return 0


def _stores(environment: Environment, name: str | None) -> tuple[Store, ...]:
    stores = environment.topology.stores
    chosen = tuple(store for store in stores if name in (None, store.name))
    if environment.settings.seed != "newest" or not chosen:
        known = [store.name for store in stores]
        found = f"no store {name}" if name else "no store"
        if environment.settings.seed != "newest":
            found = f"`seed: {environment.settings.seed}`"
        wanted = f"a store that is filled from a backup{meant(name, known)}"
        raise UnderstudyError(where=f"stack {environment.stack}", found=found, wanted=wanted)
    return chosen


def _moved(
    directory: Path, stores: tuple[Store, ...], before: tuple[PinnedSeed, ...], label: str | None
) -> tuple[PinnedSeed, ...]:
    if label is not None and len(stores) > 1:
        raise UnderstudyError(
            where=f"--snapshot {label}",
            found=f"{len(stores)} stores",
            wanted=f"--store with one of {', '.join(store.name for store in stores)}",
        )
    pins = {pin.store: pin for pin in before}
    for store in stores:
        pins[store.name] = newest_pin(directory, store) if label is None else labelled_pin(directory, store, label)
    return tuple(sorted(pins.values(), key=lambda pin: pin.store))


def _print_snapshots(directory: Path, stores: tuple[Store, ...], lock: Placement | None) -> None:
    for store in stores:
        pinned = lock.seed(store.name) if lock else None
        print(f"store {store.name}:")
        for snapshot in open_backups(directory, store).snapshots():
            marks = [snapshot.kind, *(["pinned"] if pinned and pinned.snapshot == snapshot.label else [])]
            fault = f": {snapshot.fault}" if snapshot.fault else ""
            when = f"{snapshot.taken_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
            print(f"  {snapshot.label} of {when} ({', '.join(marks)}){fault}")
