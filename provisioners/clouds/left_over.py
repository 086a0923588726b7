"""What a killed run left in a cloud: found sort by sort, and taken away in that order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from provisioners.outcome import Say

_TODO = "If no other computer has it in a state either, remove it by hand."


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something in a cloud that the state does not know.

    Args:
        sort: what it is, in front of users.
        name: its own, or its identifier.
        ours: whether it is this state's: a run was killed while it made that, or it is in what the state has.
        remove: takes it away.
        todo: what is said of one that stays.
    """

    sort: str
    name: str
    ours: bool
    remove: Callable[[], None]
    todo: str = _TODO

    def __str__(self) -> str:
        return f"{self.sort} {self.name}"


def taken_away(where: str, sorts: Iterable[Callable[[], Iterator[Thing]]], say: Say, *, act: bool) -> list[str]:
    """Take away what is found, and return one line for each thing, such as ``machine stage-db1 in AWS eu-central-1``.

    What carries the stack's mark may be another computer's, whose state is in a place of the same name: it stays.

    Args:
        where: the cloud, and the part of it.
        sorts: what finds the things of each sort, in the order in which the cloud lets them go.
        say: is told what is removed.
        act: whether to take it away, or only to name it.

    Raises:
        UnderstudyError: the cloud does not answer, or refuses.
    """
    lines = []
    for sort in sorts:
        for thing in sort():
            if act and not thing.ours:
                say(f"{thing} in {where} has this stack's mark, but was not made by this state: it stays. {thing.todo}")
                continue
            if act:
                say(f"{where}: removing {thing}")
                thing.remove()
            lines.append(f"{thing} in {where}")
    return lines
