"""The drawing of a topology as inline SVG, with the same in words for whoever does not see it."""

from __future__ import annotations

from model.evidence import Document
from model.evidence.document import BALANCER, PRIMARY, REPLICA
from provisioners.report.layout import HEIGHT, WIDTH, Box, Line, drawing
from provisioners.report.markup import Markup, element, joined
from provisioners.report.words import count

_KINDS = {"requests": "requests", "queries": "queries", "replication": "replication"}
_LONGEST_NAME, _LONGEST_ROLE = 11, 19

# Each drawn in a square of 24.
_ICONS = {
    "balancer": "M12 3v6M12 9L5 15M12 9l7 6M12 9v6M3 18h4v3H3zM10 18h4v3h-4zM17 18h4v3h-4zM5 15v3M12 15v3M19 15v3",
    "store": "M4 6c0-4 16-4 16 0v12c0 4-16 4-16 0zM4 6c0 4 16 4 16 0M4 12c0 4 16 4 16 0",
    "work": "M3 4h18v13H3zM3 8h18M9 21h6M12 17v4",
}


def topology_figure(document: Document) -> Markup:
    """Return the drawing with its legend."""
    drawn = drawing(document)
    kinds = [kind for kind in _KINDS if any(line.kind == kind for line in drawn.lines)]
    mixed = len({machine.existing for machine in document.machines}) > 1
    bad = {restore.machine for restore in document.restores if not restore.green}
    svg = element(
        "svg",
        element("title", "Topology", id="drawing-title"),
        element("desc", description(document), id="drawing-words"),
        element("defs", *(_arrow_head(kind) for kind in kinds)),
        *(_drawn_line(line) for line in drawn.lines),
        *(_drawn_box(box, bad, mixed=mixed) for box in drawn.boxes),
        viewBox=f"0 0 {drawn.width:g} {drawn.height:g}",
        width=f"{drawn.width:g}",
        height=f"{drawn.height:g}",
        role="img",
        aria_labelledby="drawing-title drawing-words",
        class_="drawing",
    )
    legend = [_legend(kind, _KINDS[kind]) for kind in kinds]
    if any(machine.spare for machine in document.machines):
        legend.append(_legend("spare", "stands by"))
    return element("figure", svg, element("figcaption", *legend, class_="legend") if legend else "")


def description(document: Document) -> str:
    """Return the drawing in words."""
    sentences = [count(len(document.machines), "machine") + "."]
    for kind, verb in (("requests", "hands requests to"), ("queries", "queries"), ("replication", "is copied to")):
        pairs: dict[str, list[str]] = {}
        for arrow in document.arrows:
            if arrow.kind == kind:
                pairs.setdefault(arrow.source, []).append(f"{arrow.target}{' (spare)' if arrow.spare else ''}")
        sentences += [f"{source} {verb} {', '.join(targets)}." for source, targets in pairs.items()]
    spare = [machine.name for machine in document.machines if machine.spare]
    sentences += [f"Standing by: {', '.join(spare)}."] if spare else []
    return " ".join(sentences)


def _arrow_head(kind: str) -> Markup:
    return element(
        "marker",
        element("path", d="M0 0L8 4L0 8z", class_=f"head {kind}"),
        id=f"head-{kind}",
        viewBox="0 0 8 8",
        refX="7.5",
        refY="4",
        markerWidth="8",
        markerHeight="8",
        markerUnits="userSpaceOnUse",
        orient="auto",
    )


def _drawn_line(line: Line) -> Markup:
    (x1, y1), (x2, y2) = line.start, line.end
    middle = (y1 + y2) / 2
    curve = f"L{x2:g} {y2:g}" if line.sideways else f"C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2:g}"
    known = line.kind in _KINDS
    return element(
        "path",
        d=f"M{x1:g} {y1:g}{curve}",
        class_=f"line {line.kind if known else ''}{' spare' if line.spare else ''}",
        marker_end=f"url(#head-{line.kind})" if known else None,
    )


def _drawn_box(box: Box, bad: set[str], *, mixed: bool) -> Markup:
    machine = box.first
    several = len(box.machines) > 1
    is_bad = any(item.name in bad for item in box.machines)
    state = f"{' spare' if machine.spare else ''}{' bad' if is_bad else ''}"
    roles = [
        *machine.roles,
        *(["spare"] if machine.spare else []),
        *(["existing"] if machine.existing and mixed else []),
    ]
    text_x = box.x + 46
    return element(
        "g",
        element("title", ", ".join(item.name for item in box.machines)),
        _shadow(box) if several else "",
        element("rect", x=box.x, y=box.y, width=WIDTH, height=HEIGHT, rx=12, class_="box"),
        element("path", d=_ICONS[_icon(box)], transform=f"translate({box.x + 13:g} {box.y + 13:g})", class_="icon"),
        element("text", _short(box.title, _LONGEST_NAME), x=text_x, y=box.y + 28, class_="name"),
        element("text", _short(", ".join(roles), _LONGEST_ROLE), x=text_x, y=box.y + 46, class_="role"),
        element(
            "text",
            count(len(box.machines), "machine") if several else _short(machine.address, 18),
            x=text_x,
            y=box.y + 63,
            class_="address",
        ),
        _cross(box) if is_bad else "",
        class_=f"machine {_icon(box)}{state}",
    )


def _shadow(box: Box) -> Markup:
    return element("rect", x=box.x + 5, y=box.y + 5, width=WIDTH, height=HEIGHT, rx=12, class_="box behind")


def _cross(box: Box) -> Markup:
    x, y = box.x + WIDTH - 20, box.y + 8
    return element("path", d=f"M{x:g} {y:g}l11 11M{x + 11:g} {y:g}l-11 11", class_="cross")


def _icon(box: Box) -> str:
    roles = box.first.roles
    if PRIMARY in roles or REPLICA in roles:
        return "store"
    return "balancer" if BALANCER in roles else "work"


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _legend(kind: str, words: str) -> Markup:
    if kind == "spare":
        sample = element("rect", x=2.0, y=2.0, width=30.0, height=12.0, rx=4.0, class_="box sample-spare")
    else:
        sample = joined(
            element("path", d="M1 8H30", class_=f"line {kind}"),
            element("path", d="M26 4L34 8L26 12z", class_=f"head {kind}"),
        )
    picture = element("svg", sample, viewBox="0 0 36 16", width="36", height="16", aria_hidden="true")
    return element("span", picture, words)
