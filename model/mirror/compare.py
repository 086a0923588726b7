"""Lays what was read on two machines side by side, and says in one figure how alike they are.

The figure of an area is the share of its keys, over both machines, that are the same or differ with an excuse; it is
0 where the area could not be read whole on either. A machine's figure is the mean of its areas', the whole figure the
mean of the machines'; but it is 0 as soon as one machine could not be compared at all: a figure for the rest would be a
guess for the whole. So one difference without an excuse always makes it less than 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from model.mirror.excuse import Excuse
from model.mirror.reading import AREAS, Portrait, Reading

MISSING = "(not there)"
HIDDEN = "other content"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing in which two machines differ.

    Args:
        prod: what prod has, in words; never a secret.
        stage: what stage has.
        excuse: why that may be; None where nothing says so.
    """

    machine: str
    area: str
    key: str
    prod: str
    stage: str
    excuse: Excuse | None = None

    def __str__(self) -> str:
        return f"{self.machine}: {self.area}: {self.key}: prod {self.prod}, stage {self.stage}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaFigure:
    """How alike two machines are in one area: of ``keys``, so many differ without an excuse.

    Args:
        unread: why it could not be compared; empty where it was.
    """

    area: str
    keys: int
    unexcused: int
    excused: int
    unread: str = ""

    @property
    def figure(self) -> Fraction:
        """Return 0 for not alike at all, to 1."""
        return Fraction(0) if self.unread else 1 - Fraction(self.unexcused, max(self.keys, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFigure:
    """How alike one machine of prod and its copy on stage are.

    Args:
        failed: why they could not be compared at all; empty where they were.
    """

    machine: str
    areas: tuple[AreaFigure, ...] = ()
    differences: tuple[Difference, ...] = ()
    failed: str = ""

    @property
    def figure(self) -> Fraction:
        """Return 0 to 1; 0 where nothing could be compared."""
        if self.failed or not self.areas:
            return Fraction(0)
        return sum((area.figure for area in self.areas), Fraction(0)) / len(self.areas)

    @property
    def complete(self) -> bool:
        """Return whether everything could be compared."""
        return not self.failed and bool(self.areas) and not any(area.unread for area in self.areas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """How alike a whole prod and its stage are.

    Args:
        idle: excuses of the user's that excused nothing, or hold no more.
    """

    machines: tuple[MachineFigure, ...]
    idle: tuple[Excuse, ...] = ()

    @property
    def figure(self) -> Fraction:
        """Return 0 to 1."""
        if not self.machines or any(machine.failed for machine in self.machines):
            return Fraction(0)
        return sum((machine.figure for machine in self.machines), Fraction(0)) / len(self.machines)

    @property
    def complete(self) -> bool:
        """Return whether everything could be compared. Where not, the figure is no proof, whatever it is."""
        return bool(self.machines) and all(machine.complete for machine in self.machines)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Return all differences, excused or not."""
        return tuple(difference for machine in self.machines for difference in machine.differences)

    @property
    def unexcused(self) -> tuple[Difference, ...]:
        """Return the differences that nothing excuses."""
        return tuple(difference for difference in self.differences if difference.excuse is None)


def compare(prod: Portrait, stage: Portrait, excuses: Sequence[Excuse], today: date) -> MachineFigure:
    """Return how alike a machine of prod and its copy on stage are.

    Args:
        prod: what was read on prod's machine.
        stage: what was read on stage's, which has the same name.
        excuses: the first that covers a difference excuses it.
        today: the day of the comparison.
    """
    failed = "; ".join(
        f"{side} could not be asked: {portrait.failed}"
        for side, portrait in (("prod", prod), ("stage", stage))
        if portrait.failed
    )
    if failed:
        return MachineFigure(machine=prod.machine, failed=failed)
    figures, differences = [], []
    for area in AREAS:
        ours, theirs = _of(prod, area), _of(stage, area)
        unread = _unread(area, prod, stage)
        if not ours and not theirs and not unread:
            continue
        found = [] if unread else _differences(prod.machine, area, ours, theirs, excuses, today)
        excused = sum(1 for difference in found if difference.excuse)
        keys = len(ours.keys() | theirs.keys())
        figures.append(AreaFigure(area=area, keys=keys, unexcused=len(found) - excused, excused=excused, unread=unread))
        differences += found
    return MachineFigure(machine=prod.machine, areas=tuple(figures), differences=tuple(differences))


def compare_all(pairs: Iterable[tuple[Portrait, Portrait]], excuses: Sequence[Excuse], today: date) -> Mirror:
    """Return how alike a whole prod and its stage are.

    Args:
        pairs: prod's machine and stage's, for each machine.
        excuses: those of the user's file, and those that we know ourselves.
        today: the day of the comparison.
    """
    machines = tuple(compare(prod, stage, excuses, today) for prod, stage in pairs)
    used = {id(difference.excuse) for machine in machines for difference in machine.differences}
    idle = tuple(excuse for excuse in excuses if excuse.by_user and id(excuse) not in used)
    return Mirror(machines=machines, idle=idle)


def _of(portrait: Portrait, area: str) -> dict[str, Reading]:
    return {reading.key: reading for reading in portrait.readings if reading.area == area}


def _unread(area: str, prod: Portrait, stage: Portrait) -> str:
    return "; ".join(
        f"{side}: {each.reason}"
        for side, portrait in (("prod", prod), ("stage", stage))
        for each in portrait.unread
        if each.fact == area
    )


def _differences(
    machine: str,
    area: str,
    prod: Mapping[str, Reading],
    stage: Mapping[str, Reading],
    excuses: Sequence[Excuse],
    today: date,
) -> list[Difference]:
    found = []
    for key in sorted(prod.keys() | stage.keys()):
        ours, theirs = prod.get(key), stage.get(key)
        if ours and theirs and ours.same(theirs):
            continue
        only = _only(ours, theirs)
        excuse = next((each for each in excuses if each.covers(machine, area, key, only, today)), None)
        words = _in_words(ours, theirs)
        found.append(Difference(machine=machine, area=area, key=key, prod=words[0], stage=words[1], excuse=excuse))
    return found


def _only(prod: Reading | None, stage: Reading | None) -> str:
    if prod is None or stage is None:
        return "stage" if prod is None else "prod"
    return "content" if prod.value == stage.value else "both"


def _in_words(prod: Reading | None, stage: Reading | None) -> tuple[str, str]:
    """What differs only in what is never shown is said to differ, and not how."""
    ours, theirs = (MISSING if each is None else each.value or "empty" for each in (prod, stage))
    if prod and stage and ours == theirs:
        return ours, f"{theirs}, {HIDDEN}"
    return ours, theirs
