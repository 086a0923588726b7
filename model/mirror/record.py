"""The comparison as a record for machines, and as lines for people. Figures are rounded down: only 1 means 1."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

from model.mirror.compare import AreaFigure, Difference, MachineFigure, Mirror
from model.mirror.excuse import FILE

_PLACES = 10_000


def rounded(figure: Fraction) -> float:
    """Return a figure with four decimal places, rounded down: what is less than 1 is shown as less than 1.

    >>> rounded(Fraction(99_999, 100_000)), rounded(Fraction(1))
    (0.9999, 1.0)
    """
    return floor(figure * _PLACES) / _PLACES


def in_record(mirror: Mirror) -> dict[str, Any]:
    """Return the comparison as plain values: what `understudy mirror --json` prints, and a rehearsal's record keeps."""
    return {
        "faithful": rounded(mirror.figure),
        "complete": mirror.complete,
        "differences": len(mirror.differences),
        "unexcused": [_values(each) for each in mirror.unexcused],
        "excused": [
            {**_values(each), "reason": each.excuse.reason} for each in mirror.differences if each.excuse is not None
        ],
        "machines": {machine.machine: _machine(machine) for machine in mirror.machines},
        "idle_excuses": [{"key": each.key, "area": each.area, "machine": each.machine} for each in mirror.idle],
    }


def _values(difference: Difference) -> dict[str, str]:
    names = ("machine", "area", "key", "prod", "stage")
    return {name: str(getattr(difference, name)) for name in names}


def _machine(machine: MachineFigure) -> dict[str, Any]:
    values: dict[str, Any] = {"faithful": rounded(machine.figure)}
    if machine.failed:
        values["failed"] = machine.failed
    values["areas"] = {
        area.area: {
            "faithful": rounded(area.figure),
            "keys": area.keys,
            "unexcused": area.unexcused,
            "excused": area.excused,
            **({"unread": area.unread} if area.unread else {}),
        }
        for area in machine.areas
    }
    return values


def in_lines(mirror: Mirror, *, excused: bool = False) -> list[str]:
    """Return the comparison as lines for people.

    Args:
        mirror: the comparison.
        excused: whether each excused difference is named too, with its reason.
    """
    lines = []
    for machine in mirror.machines:
        lines.append(f"{machine.machine}: {rounded(machine.figure):.4f}")
        if machine.failed:
            lines.append(f"  RED: {machine.failed}")
        lines += [f"  {line}" for area in machine.areas for line in _area(area)]
        shown = [each for each in machine.differences if excused or each.excuse is None]
        lines += [f"    {_line(each)}" for each in shown]
    lines += [_idle_line(mirror)] if mirror.idle else []
    wrong, fine = len(mirror.unexcused), len(mirror.differences) - len(mirror.unexcused)
    lines.append(f"faithful: {rounded(mirror.figure):.4f}; {wrong} differences unexcused, {fine} excused")
    if not mirror.complete:
        lines.append("RED: not everything could be compared, so the figure proves nothing")
    return lines


def _area(area: AreaFigure) -> list[str]:
    if area.unread:
        return [f"{area.area}: RED: could not be read: {area.unread}"]
    told = [f"{area.unexcused} differ" if area.unexcused else "", f"{area.excused} excused" if area.excused else ""]
    rest = ", ".join(each for each in told if each)
    return [f"{area.area}: {rounded(area.figure):.4f} of {area.keys}{f' ({rest})' if rest else ''}"]


def _line(difference: Difference) -> str:
    text = f"{difference.area}: {difference.key}: prod {difference.prod}, stage {difference.stage}"
    return f"{text}; excused: {difference.excuse.reason}" if difference.excuse else text


def _idle_line(mirror: Mirror) -> str:
    keys = ", ".join(f"{each.key} (only until {each.until})" if each.until else each.key for each in mirror.idle)
    return f"{FILE}: these excuse nothing now: {keys}"
