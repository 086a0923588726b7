"""What a rehearsal record says: the changes that were tried, how each step went, and how good the stage was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model.errors import UnderstudyError
from model.evidence.chain import Log, moment
from model.evidence.values import from_values, to_values

AUTOMATIC, NO_CHECK = "automatic", "none"
BACK_OUT = "back out"
"""The step of a rehearsal in which everything is taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedChange:
    """One change that was rehearsed.

    Args:
        digest: the change's own (`model.change.digest.change_digest`).
        machines: on which it was tried.
        check: ``automatic`` where checks of the service itself ran and passed; ``none`` where it has none: then it
            counts only with somebody's word.
        word: the number of the record with that word, in the same log; 0 where nobody has given it yet.
    """

    digest: str
    service: str
    machines: tuple[str, ...]
    check: str = NO_CHECK
    word: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedStep:
    """One step of the rehearsal itself: to apply, to check, to back out, to compare, ..."""

    name: str
    seconds: float
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedSeed:
    """With what a store of the stage was filled.

    Args:
        snapshot: the snapshot's label.
        taken_at: when it was taken, such as ``2026-11-23T01:00:00Z``; empty where nobody knows.
    """

    store: str
    snapshot: str
    taken_at: str

    def age_seconds(self, at: datetime) -> float | None:
        """Return how old its data was at a time; None where nobody knows."""
        try:
            return (at - moment(self.taken_at)).total_seconds()
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """A whole rehearsal.

    Args:
        green: whether it went well: applied, checked, backed out to what was there before, applied again, checked.
        faithful: how faithful the stage was to what it mirrors, from 0 to 1 (`model.mirror`).
        differences: what the back-out left different, in words; those of the mirror stand in ``mirror``.
        mirror: more about the mirror, as JSON has it.
    """

    changes: tuple[RehearsedChange, ...]
    green: bool
    steps: tuple[RehearsedStep, ...]
    seeds: tuple[RehearsedSeed, ...]
    faithful: float
    differences: tuple[str, ...] = ()
    mirror: Mapping[str, Any] | None = None

    def change(self, digest: str) -> RehearsedChange | None:
        """Return the change of that digest, if it was among those rehearsed."""
        return next((change for change in self.changes if change.digest == digest), None)


def rehearsal_body(rehearsal: Rehearsal) -> dict[str, Any]:
    """Return a rehearsal as a record's body has it."""
    return {
        "changes": {each.pop("digest"): each for each in map(to_values, rehearsal.changes)},
        "green": rehearsal.green,
        "steps": to_values(rehearsal.steps),
        "snapshot": {each.pop("store"): each for each in map(to_values, rehearsal.seeds)},
        "mirror": {**(rehearsal.mirror or {}), "faithful": rehearsal.faithful},
        "differences": list(rehearsal.differences),
    }


def rehearsal_from(body: Mapping[str, Any], where: str = "rehearsal") -> Rehearsal:
    """Return the rehearsal that a record's body describes.

    Raises:
        UnderstudyError: it describes none.
    """
    changes, seeds, mirror = body.get("changes"), body.get("snapshot"), body.get("mirror")
    green, faithful = body.get("green"), mirror.get("faithful") if isinstance(mirror, Mapping) else None
    fits = isinstance(changes, Mapping) and isinstance(seeds, Mapping) and isinstance(green, bool)
    if not fits or isinstance(faithful, bool) or not isinstance(faithful, int | float):
        raise UnderstudyError(where=where, found="another body", wanted="changes, green, snapshot, mirror.faithful")
    assert isinstance(changes, Mapping)
    assert isinstance(seeds, Mapping)
    assert isinstance(mirror, Mapping)
    return Rehearsal(
        changes=tuple(_part(RehearsedChange, "digest", *item, where) for item in changes.items()),
        green=bool(green),
        steps=tuple(from_values(RehearsedStep, step, where) for step in body.get("steps") or ()),
        seeds=tuple(_part(RehearsedSeed, "store", *item, where) for item in seeds.items()),
        faithful=float(faithful),
        differences=tuple(str(each) for each in body.get("differences") or ()),
        mirror={key: value for key, value in mirror.items() if key != "faithful"},
    )


def back_out_seconds(log: Log, digest: str) -> float | None:
    """Return how long the newest green rehearsal of a change took to take it back, with all that went with it.

    Args:
        log: of the stack on which it was rehearsed.
        digest: the change's own.
    """
    for record in reversed(log.records):
        if record.kind == "rehearsal":
            rehearsal = rehearsal_from(record.body)
            if rehearsal.green and rehearsal.change(digest):
                return next((step.seconds for step in rehearsal.steps if step.name == BACK_OUT), None)
    return None


def _part(kind: Any, key: str, name: str, values: object, where: str) -> Any:
    known = values if isinstance(values, Mapping) else {}
    return from_values(kind, {**known, key: name}, f"{where}.{name}")
