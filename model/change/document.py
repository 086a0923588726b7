"""The change document, as a value and as Markdown: everything that a person needs who types the change by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from model.change.step import Step

_HERE = "on your own computer, in the project's directory"
_INFO = re.compile(r"^(?P<fence>`{3,})sh (?P<part>\S+) (?P<kind>before|do|undo) (?P<number>\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is done on one machine, or for one resource, as a whole.

    Args:
        name: such as ``lb:haproxy``; unique in the document, without spaces.
        machine: where its commands are typed; empty for the operator's own computer.
        effect: what happens, in a sentence or two, such as the interruption to expect.
        differences: the lines of the differences of its files, as ``diff -u`` has them.
        steps: what is typed, in order.
        undo: what is typed to take it back, in order.
        undo_seconds: how long taking it back usually takes; None where nobody has measured it.
        notes: anything else to know, such as why there is no way back.
        before: what must be true there before the first step, each with the command that shows it.
        change: the id of the change that it makes; empty for what nobody rehearses.
    """

    name: str
    machine: str
    effect: str
    steps: tuple[Step, ...]
    undo: tuple[Step, ...]
    differences: tuple[str, ...] = ()
    undo_seconds: float | None = None
    notes: tuple[str, ...] = ()
    before: tuple[Step, ...] = ()
    change: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A change, written down.

    Args:
        identifier: of the change, or of several together.
        why: the operator's own words.
        risk: what may go wrong, and how much hangs on it, one line each.
        when: when it may be done.
        notice: what users will notice, one line each.
        needs: whom it needs, one line each.
        secrets: for each secret that has to be filled in, its name and where to get it.
        parts: what is done, in order.
        own: what Understudy itself does in the same update, where a person would type nothing, one line each.
        gate: what the gate says of it now, in its own words.
    """

    identifier: str
    title: str
    stack: str
    why: str
    risk: tuple[str, ...]
    when: str
    written: str
    notice: tuple[str, ...]
    needs: tuple[str, ...]
    secrets: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    own: tuple[str, ...] = ()
    gate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of commands in a document's text, as whoever types it finds it.

    Args:
        part: the part's name.
        kind: ``before``, ``do`` or ``undo``.
        number: its place within the part, from 1.
        text: the commands, word for word.
    """

    part: str
    kind: str
    number: int
    text: str


def blocks(markdown: str) -> Iterator[Block]:
    r"""Yield the blocks of commands of a document, in order, exactly as they stand there.

    >>> [block.text for block in blocks("text\n```sh lb:haproxy do 1\necho opened\n```\n```text\nno\n```\n")]
    ['echo opened\n']
    """
    lines = iter(markdown.splitlines(keepends=True))
    for line in lines:
        found = _INFO.match(line.rstrip("\n"))
        if found is None:
            continue
        kept = []
        for inner in lines:
            if inner.rstrip("\n") == found["fence"]:
                break
            kept.append(inner)
        yield Block(part=found["part"], kind=found["kind"], number=int(found["number"]), text="".join(kept))


def fenced(text: str, info: str) -> list[str]:
    r"""Return a block of a text whose fence does not occur in it.

    >>> fenced("a\n```\n", "text")
    ['````text', 'a', '```', '````']
    """
    longest = max((len(run) for run in re.findall(r"^`{3,}", text, re.MULTILINE)), default=2)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{info}", *text.removesuffix("\n").split("\n"), fence]


def coded(text: str) -> str:
    """Return a text within a line as code, word for word.

    Source: CommonMark 0.31, "Code spans".

    >>> coded("a"), coded("a`b"), coded("`a")
    ('`a`', '``a`b``', '`` `a ``')
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1 if longest else 1)
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{room}{text}{room}{fence}"


def markdown(document: Document) -> str:
    """Return the whole document."""
    lines = [
        f"# {document.title}",
        "",
        f"Change `{document.identifier}` of `{document.stack}`, written {document.written}.",
        "",
        *_changes(document),
        *_chapter("Why", [document.why]),
        *_chapter("Risk", document.risk, listed=True),
        *_chapter("When", [document.when]),
        *_chapter("What users will notice", document.notice or ("Nothing.",), listed=True),
        *_chapter("Whom it needs", document.needs, listed=True),
        *_gate(document),
        *_secrets(document),
        *_before(document),
        "## The change",
        "",
        how(document),
        "",
    ]
    for number, part in enumerate(document.parts, start=1):
        lines += _part(number, part)
    if document.own:
        lines += _chapter("What Understudy itself does in the same update; nobody types it", document.own, listed=True)
    lines += ["## The way back", "", HOW_BACK, ""]
    for part in reversed(document.parts):
        lines += _way_back(part)
    return "\n".join(lines).rstrip("\n") + "\n"


def where(part: Part) -> str:
    """Return where a part's commands are typed, in words."""
    return f"on {coded(part.machine)}, as root" if part.machine else _HERE


def elsewhere(part: Part, step: Step) -> str:
    """Return where a step is typed if that is not where its part is, in words; else nothing."""
    return f"Typed {_HERE}." if part.machine and step.place == "controller" else ""


def duration(seconds: float | None) -> str:
    """Return a duration in words.

    >>> duration(None), duration(0.4), duration(90)
    ('not measured yet: a rehearsal measures it', 'about a second', 'about 2 minutes')
    """
    if seconds is None:
        return "not measured yet: a rehearsal measures it"
    if seconds < 1.5:
        return "about a second"
    return f"about {seconds:.0f} seconds" if seconds < 90 else f"about {seconds / 60:.0f} minutes"


def _chapter(title: str, lines: tuple[str, ...] | list[str], *, listed: bool = False) -> list[str]:
    return [f"## {title}", "", *(f"- {line}" if listed else line for line in lines), ""]


def changes_of(document: Document) -> dict[str, list[str]]:
    """Return what a document consists of: for each change, by its id, the names of the parts that make it."""
    found: dict[str, list[str]] = {}
    for part in document.parts:
        if part.change:
            found.setdefault(part.change, []).append(part.name)
    return found


def consists(document: Document) -> tuple[str, ...]:
    """Return what a document with several changes consists of, a line each."""
    changes = changes_of(document)
    lines = (f"`{change}`: {', '.join(names)}" for change, names in changes.items())
    return () if [*changes] in ([], [document.identifier]) else tuple(lines)


def _changes(document: Document) -> list[str]:
    lines = consists(document)
    return (
        [
            "It consists of these changes, each known by its id on the machines and in the evidence:",
            "",
            *(f"- {line}" for line in lines),
            "",
        ]
        if lines
        else []
    )


def _gate(document: Document) -> list[str]:
    return _chapter("What the gate says", [document.gate]) if document.gate else []


def _secrets(document: Document) -> list[str]:
    if not document.secrets:
        return []
    lines = [f"`{name}`: {place}" for name, place in document.secrets]
    return _chapter("Secrets to fill in, each when a command waits for it", lines, listed=True)


def _before(document: Document) -> list[str]:
    lines = ["## Before you begin", "", BEFORE, ""]
    for part in document.parts:
        if part.before:
            lines += [f"### Before: {part.name}", "", f"Typed {where(part)}.", ""]
        for index, step in enumerate(part.before, start=1):
            lines += [
                f"**{step.name}**",
                "",
                *fenced(step.command, f"sh {part.name} before {index}"),
                "",
                prints(step),
                "",
            ]
    return lines


def how(document: Document) -> str:
    """Return what whoever types it must know."""
    count = len(document.parts)
    parts = "1 part" if count == 1 else f"{count} parts, in this order"
    return (
        f"{parts}. Type or paste one block at a time. Go on only when it printed what stands below it; otherwise stop, "
        "and go to *The way back*. A machine takes its old configuration back by itself if the last block of a part is "
        "not typed in time."
    )


BEFORE = (
    "The machines must be as they were when this was planned. What a block prints above its last line differs: `<` is "
    "there now, `>` was there then. Then do not begin: write the change down anew."
)
HOW_BACK = (
    "The parts that were begun, the last one first. Each may be typed again if it is not certain that it was done."
)


def _part(number: int, part: Part) -> list[str]:
    lines = [f"### {number}. {part.name}", "", f"{part.effect} Typed {where(part)}.", ""]
    if part.differences:
        lines += [*fenced("\n".join(part.differences), "diff"), ""]
    for index, step in enumerate(part.steps, start=1):
        lines += [f"**{number}.{index} {step.name}** {elsewhere(part, step)}".rstrip(), ""]
        if step.place == "person":
            lines += [step.command, ""]
            continue
        lines += [*fenced(step.command, f"sh {part.name} do {index}"), "", prints(step), ""]
    return [*lines, *(line for note in part.notes for line in (note, ""))]


def prints(step: Step) -> str:
    """Return what is to be expected of a step, in words."""
    asked = [f"It waits for {coded(name)}: type it, then Enter." for name in step.secrets]
    took = [f"It takes {duration(step.seconds)}."] if step.seconds else []
    printed = [f"Last, it prints {coded(step.prints)}."] if step.prints else ["It prints nothing of importance."]
    return " ".join([*asked, *took, *printed])


def _way_back(part: Part) -> list[str]:
    lines = [f"### Back: {part.name}", "", f"Takes {duration(part.undo_seconds)}. Typed {where(part)}.", ""]
    for index, step in enumerate(part.undo, start=1):
        if step.place == "person":
            lines += [step.command, ""]
        else:
            lines += [*fenced(step.command, f"sh {part.name} undo {index}"), "", prints(step), ""]
    return lines if part.undo else [*lines, "There is nothing to take back.", ""]
