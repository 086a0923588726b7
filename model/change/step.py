"""A step: one command that is run, documented, rehearsed and taken back, always from the same value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Place = Literal["machine", "controller", "person"]
"""Who does it: root on the machine, root on the operator's own computer, or a person away from any shell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a change on one machine.

    Args:
        name: what it does, in a few words; unique among a change's steps.
        command: the whole text for a root shell (bash), exactly as it runs and as a person types it; for a ``person``
            what to do, in plain words. Holds no secret.
        prints: a line that it prints when it went well; empty where its exit code alone says so.
        inverse: the text for the same shell that takes it back; empty where nothing needs to be.
        place: who does it.
        secrets: names of the secrets that the command reads, one line each, from its standard input.
        seconds: how long it usually takes; 0 for a moment.
    """

    name: str
    command: str
    prints: str = ""
    inverse: str = ""
    place: Place = "machine"
    secrets: tuple[str, ...] = ()
    seconds: int = 0


def went_well(step: Step, code: int, output: str) -> bool:
    """Tell whether a step went well by what came of its command.

    >>> went_well(Step(name="open", command="echo opened", prints="opened"), 0, "some noise\\nopened\\n")
    True
    >>> went_well(Step(name="open", command="echo opened", prints="opened"), 0, "not opened")
    False
    """
    return code == 0 and (not step.prints or step.prints in output.splitlines())


def inverses(done: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps that take back those that were done, the last one first.

    >>> [step.command for step in inverses([Step(name="a", command="x", inverse="-x"), Step(name="b", command="y")])]
    ['-x']
    """
    return tuple(
        Step(name=f"take back: {step.name}", command=step.inverse, place=step.place)
        for step in reversed(done)
        if step.inverse
    )
