"""Which snapshot fills each store: choosing one, and saying what a move of the pin changes."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from datetime import UTC, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from model.environment import Environment
from model.errors import UnderstudyError
from model.placement import PinnedSeed, file_name
from model.readers import meant
from model.snapshot import Snapshot, check_version
from model.topology import Store

if TYPE_CHECKING:  # a stack whose pins are set never looks at a repository
    from provisioners.stores.repository import Repository


def newest_pins(directory: Path, environment: Environment, before: Collection[PinnedSeed]) -> tuple[PinnedSeed, ...]:
    """Return a pin for each store that is to be filled: the one that it has, else its newest good snapshot.

    Raises:
        UnderstudyError: a store has no good snapshot; says which and why.
    """
    if environment.settings.seed != "newest":
        return ()
    kept = {pin.store: pin for pin in before}
    stores = sorted(environment.topology.stores, key=lambda store: store.name)
    return tuple(kept.get(store.name) or newest_pin(directory, store) for store in stores)


def newest_pin(directory: Path, store: Store) -> PinnedSeed:
    """Return the pin on a store's newest good snapshot, and say which newer ones are not good.

    Raises:
        UnderstudyError: there is none, or it is of another version.
    """
    repository = open_backups(directory, store)
    snapshot = repository.newest()
    for label, why in repository.passed_over.items():
        print(f"store {store.name}: passed over {label}: {why}", file=sys.stderr)
    return _pin(repository, store, snapshot)


def labelled_pin(directory: Path, store: Store, label: str) -> PinnedSeed:
    """Return the pin on a store's snapshot of that label.

    Raises:
        UnderstudyError: it is not there, is not good, or is of another version.
    """
    repository = open_backups(directory, store)
    known = [snapshot.label for snapshot in repository.snapshots()]
    if label not in known:
        wanted = f"one of {', '.join(known)}{meant(label, known)}"
        raise UnderstudyError(where=f"store {store.name}", found=f"no snapshot {label}", wanted=wanted)
    return _pin(repository, store, repository.inspect(label))


def refuse_gone(directory: Path, environment: Environment, pins: Iterable[PinnedSeed]) -> None:
    """Raise where a store is to be filled from a snapshot that its backups no longer have.

    Args:
        directory: the project's.
        environment: the stack.
        pins: of the stores that hold something else, or nothing yet.
    """
    stores = {store.name: store for store in environment.topology.stores}
    for pin in pins:
        if pin.store not in stores:
            continue
        repository = open_backups(directory, stores[pin.store])
        known = [snapshot.label for snapshot in repository.snapshots()]
        if pin.snapshot not in known:
            newest = f"To fill it from the newest: `./run understudy seed --newest --store {pin.store} "
            raise UnderstudyError(
                where=f"{file_name(environment.stack)}: seeds.{pin.store}",
                found=f"snapshot {pin.snapshot}, which is no longer in {repository.where}",
                wanted=f"one of {', '.join(known)}" if known else "a snapshot that is there",
                todo=f"{newest}-s {environment.stack}`.",
            )


def open_backups(directory: Path, store: Store) -> Repository:
    """Return the backups of a store.

    Raises:
        UnderstudyError: it has none, or they cannot be used.
    """
    from provisioners.stores.repository import open_repository

    if store.backup is None:
        raise UnderstudyError(where=f"store {store.name}", found="no backup", wanted="`backup` in its description")
    return open_repository(store.backup, directory)


def _pin(repository: Repository, store: Store, snapshot: Snapshot) -> PinnedSeed:
    check_version(snapshot, store.version, repository.where)
    return PinnedSeed(
        store=store.name,
        snapshot=snapshot.label,
        taken_at=snapshot.taken_at.astimezone(UTC).replace(microsecond=0),
        repository_digest=repository.digest(snapshot.label),
    )


def pin_lines(before: Iterable[PinnedSeed], after: Iterable[PinnedSeed]) -> Iterable[str]:
    """Return old and new of each pin that moved, in words, with what is lost where it moved back."""
    old = {pin.store: pin for pin in before}
    for pin in after:
        former = old.pop(pin.store, None)
        if former is None:
            yield f"store {pin.store}: filled from {in_words(pin)}"
        elif former != pin:
            yield f"store {pin.store}: {in_words(former)} -> {in_words(pin)}{_lost(former, pin)}"
    for pin in old.values():
        yield f"store {pin.store}: no longer filled from {in_words(pin)}"


def in_words(pin: PinnedSeed) -> str:
    """Return a pin's snapshot and when it was taken."""
    return f"{pin.snapshot} of {pin.taken_at:%Y-%m-%d %H:%M:%S} UTC"


def _lost(former: PinnedSeed, pin: PinnedSeed) -> str:
    """What stage has written itself is lost with every reseed; a pin that moves back loses prod's data too."""
    back = former.taken_at - pin.taken_at
    return f" (back by {_span(back)}: what prod wrote in between is not in it)" if back > timedelta(0) else ""


def _span(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
