"""What the by-hand equivalents of all places have in common. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from model.change import Step
from model.change.document import Part
from model.change.foreseen import FILL_IN
from model.change.planned import UNKNOWN, Planned
from provisioners.commands import Variable, command_line, line_with, typed_with

DONE = "done"
_SECRET = "[secret]"  # what stands in a preview for any


def known(value: Any) -> bool:
    """Return whether a text of a preview is what it will be: known, and no secret.

    >>> known("a"), known(UNKNOWN), known("[secret]"), known(None)
    (True, False, False, False)
    """
    return isinstance(value, str) and value not in ("", UNKNOWN, _SECRET)


def where(option: str, value: Any) -> tuple[str, ...]:
    """Return the option that says where something is, such as ``--region``; none where that is not known.

    >>> where("--region", "eu-west-1"), where("--region", UNKNOWN)
    (('--region', 'eu-west-1'), ())
    """
    return (option, str(value)) if known(value) else ()


def variable_of(kind: str, name: str) -> str:
    """Return the variable that something of a resource is in, such as a new one's id.

    >>> variable_of("aws:ec2/vpc:Vpc", "vpc-rented")
    'vpc_vpc_rented'
    """
    return re.sub(r"[^a-z0-9_]", "_", f"{kind.rpartition(':')[2]}_{name}".lower())


def part(
    planned: Planned, effect: str, steps: Sequence[Step], undo: Sequence[Step], *notes: str, machine: str = ""
) -> Part:
    """Return what is typed instead of one planned step.

    Args:
        planned: the step.
        effect: what happens, in a sentence or two.
        steps: what is typed.
        undo: what is typed to take it back.
        notes: anything else to know.
        machine: where it is typed; empty for the operator's own computer.
    """
    name = f"{planned.kind.rpartition(':')[2]}:{planned.name}".replace(" ", "-")
    name = f"{name}:inside" if machine else name
    return Part(name=name, machine=machine, effect=effect, steps=tuple(steps), undo=tuple(undo), notes=notes)


def whole(
    planned: Planned, name: str, make: Sequence[Step], remove: Sequence[Step], *notes: str, again: str
) -> tuple[Part, ...]:
    """Return the part of what is made, or removed; nothing for a change within it.

    Args:
        planned: the step.
        name: what it is and its name, as a sentence begins.
        make: what is typed to make it.
        remove: what is typed to remove it.
        notes: anything else to know where it is made.
        again: how it comes back once it is removed.
    """
    if planned.operation == "create":
        return (part(planned, f"{name} is made.", make, remove, *notes),)
    if planned.operation == "delete":
        return (part(planned, f"{name} is removed.", remove, (), again),)
    return ()


def plugged(planned: Planned, plug: Step, unplug: Step, *notes: str) -> tuple[Part, ...]:
    """Return the part of a data disk's plug; a machine that is made anew comes without it."""
    if planned.operation == "replace":
        return (part(planned, f"{planned.name} is plugged in again: its machine is a new one.", (plug,), (), *notes),)
    again = "It is made anew by an update."
    return whole(planned, f"The plug of {planned.name}", (plug,), (unplug,), *notes, again=again)


def typed(name: str, *lines: str | Sequence[str | Variable]) -> Step:
    """Return a step of commands on the operator's own computer, each of which must go well; a text is a whole line."""
    texts = [line if isinstance(line, str) else line_with(line) for line in lines]
    command = " &&\n".join((*texts, command_line(("echo", DONE))))
    return Step(name=name, command=f"{command}\n", prints=DONE, place="controller")


def fed(name: str, content: str, *argv: str) -> Step:
    """Return a step whose command reads a document, which stands in the text as it is."""
    return Step(name=name, command=typed_with(argv, content, DONE), prints=DONE, place="controller")


def to_fill_in(name: str, text: str) -> Step:
    """Return a step for what only a person can fill in."""
    return Step(name=name, command=f"{FILL_IN}: {text}", place="person")


_GROW = "findmnt --raw --noheadings --types ext4 --output SOURCE | sort -u | xargs --no-run-if-empty -n 1 resize2fs"


def grown_inside(planned: Planned) -> tuple[Part, ...]:
    """Return what is typed on a machine whose disk has become bigger: its file system does not grow by itself."""
    if planned.operation != "update" or not 0 < number(planned.before, "disk_mib") < number(planned.after, "disk_mib"):
        return ()
    machine = planned.name.partition(":")[0]
    step = Step(name="let the file system fill the disk", command=f"({_GROW}) </dev/null && echo {DONE}\n", prints=DONE)
    effect = f"The file system on {machine}'s bigger disk takes all of it, while it is in use."
    stays = "A file system is not made smaller again, and need not be."
    return (part(planned, effect, (step,), (), stays, machine=machine),)


def number(values: Mapping[str, Any], key: str) -> int:
    """Return a size among inputs: 0 where there is none, or it is not known."""
    value = values.get(key)
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
