"""Where each machine stands in the drawing of a topology, and which arrows go between. Pure geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from model.evidence import Arrow, Document, DrawnMachine
from model.evidence.document import BALANCER, PRIMARY, REPLICA

WIDTH, HEIGHT = 160.0, 76.0
GAP_X, GAP_Y = 36.0, 58.0
MARGIN = 12.0
MOST_IN_A_ROW = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One machine, or several that are alike. ``x`` and ``y`` are its upper left corner."""

    machines: tuple[DrawnMachine, ...]
    layer: int
    x: float = 0.0
    y: float = 0.0

    @property
    def first(self) -> DrawnMachine:
        """Return the machine that stands for all."""
        return self.machines[0]

    @property
    def title(self) -> str:
        """Return what is written on it."""
        return self.first.name if len(self.machines) == 1 else f"{self.first.name} …"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An arrow between two boxes, from one point to another; ``sideways`` where they stand in one row."""

    kind: str
    spare: bool
    start: tuple[float, float]
    end: tuple[float, float]
    sideways: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """The whole drawing."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def layer(machine: DrawnMachine) -> int:
    """Return the machine's row: load balancers above what works, that above the stores."""
    if PRIMARY in machine.roles or REPLICA in machine.roles:
        return 2
    if BALANCER in machine.roles:
        return 0
    return 1 if machine.roles else 3


def drawing(document: Document) -> Drawing:
    """Return the drawing of a document's machines."""
    rows = [row for row in _rows(document.machines) if row]
    columns = max((len(row) for row in rows), default=1)
    width = 2 * MARGIN + columns * WIDTH + (columns - 1) * GAP_X
    boxes = [box for number, row in enumerate(rows) for box in _placed(row, number, width)]
    height = 2 * MARGIN + len(rows) * HEIGHT + max(len(rows) - 1, 0) * GAP_Y
    return Drawing(width=width, height=height, boxes=tuple(boxes), lines=tuple(_lines(boxes, document.arrows)))


def _rows(machines: Sequence[DrawnMachine]) -> list[list[Box]]:
    rows: list[list[Box]] = []
    for number in range(4):
        own = [machine for machine in machines if layer(machine) == number]
        if number == 2:
            rows += _store_rows(own)
        else:
            rows.append(_boxes(own, number))
    return rows


def _store_rows(machines: Sequence[DrawnMachine]) -> list[list[Box]]:
    """Return one row where primaries and replicas fit into it, and else two."""
    primaries = [machine for machine in machines if PRIMARY in machine.roles]
    replicas = [machine for machine in machines if PRIMARY not in machine.roles]
    if len(machines) <= MOST_IN_A_ROW:
        return [_boxes([*primaries, *replicas], 2)]
    return [_boxes(primaries, 2), _boxes(replicas, 2)]


def _boxes(machines: Sequence[DrawnMachine], number: int) -> list[Box]:
    """Return a box each, or, where they are too many, one for all that are alike; the rest goes into the last."""
    if len(machines) <= MOST_IN_A_ROW:
        return [Box(machines=(machine,), layer=number) for machine in machines]
    alike: dict[tuple[object, ...], list[DrawnMachine]] = {}
    for machine in machines:
        alike.setdefault((machine.roles, machine.spare, machine.existing), []).append(machine)
    groups = list(alike.values())
    kept, rest = groups[: MOST_IN_A_ROW - 1], groups[MOST_IN_A_ROW - 1 :]
    joined = [[machine for group in rest for machine in group]] if rest else []
    return [Box(machines=tuple(group), layer=number) for group in [*kept, *joined]]


def _placed(row: Sequence[Box], number: int, width: float) -> list[Box]:
    used = len(row) * WIDTH + (len(row) - 1) * GAP_X
    left = (width - used) / 2
    top = MARGIN + number * (HEIGHT + GAP_Y)
    return [replace(box, x=left + index * (WIDTH + GAP_X), y=top) for index, box in enumerate(row)]


def _lines(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> list[Line]:
    box_of = {machine.name: box for box in boxes for machine in box.machines}
    found: dict[tuple[str, str, str], tuple[Box, Box, bool]] = {}
    for arrow in arrows:
        source, target = box_of.get(arrow.source), box_of.get(arrow.target)
        if source is None or target is None or source is target:
            continue
        key = (source.first.name, target.first.name, arrow.kind)
        spare = arrow.spare and (key not in found or found[key][2])
        found[key] = (source, target, spare)
    return [_line(kind, *ends) for (_, _, kind), ends in found.items()]


def _line(kind: str, source: Box, target: Box, spare: bool) -> Line:
    if source.y == target.y:
        rightwards = source.x < target.x
        height = source.y + HEIGHT / 2 - (0 if kind == "replication" else 16)
        start = (source.x + (WIDTH if rightwards else 0), height)
        end = (target.x + (0 if rightwards else WIDTH), height)
        return Line(kind=kind, spare=spare, start=start, end=end, sideways=True)
    downwards = source.y < target.y
    start = (source.x + WIDTH / 2, source.y + (HEIGHT if downwards else 0))
    end = (target.x + WIDTH / 2, target.y + (0 if downwards else HEIGHT))
    return Line(kind=kind, spare=spare, start=start, end=end, sideways=False)
