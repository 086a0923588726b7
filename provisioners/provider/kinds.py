"""What a kind of resource is to the provider: a few functions over plain values. The server does the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from model.errors import UnderstudyError

Values = dict[str, Any]
"""Property values as JSON would have them: str, float, bool, None, list, dict."""

Say = Callable[[str], None]
"""Shows a line of progress on the resource while it works; at most one is visible at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An input that is refused before anything is touched."""

    property: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """What is really there. ``inputs`` differ from the program's where somebody changed something by hand."""

    inputs: Values
    outputs: Values = field(default_factory=dict)


class HalfMade(UnderstudyError):
    """Raised by ``create`` where something is there but not right: the state has it, and the next ``up`` updates it.

    Args:
        identifier: as ``create`` would return it.
        outputs: as ``create`` would return them, as far as they are known.
        cause: what went wrong.
    """

    def __init__(self, *, identifier: str, outputs: Values, cause: UnderstudyError) -> None:
        super().__init__(where=cause.where, found=cause.found, wanted=cause.wanted, todo=cause.todo)
        self.args = cause.args
        self.identifier, self.outputs = identifier, outputs


class Kind(Protocol):
    """One kind of resource. Blocking calls are welcome: the server runs each in a thread of its own.

    ``inputs`` are always whole and known, except in ``check`` (a preview may hold ``UNKNOWN``). Outputs never repeat
    inputs: the server stores both. All errors for users are ``model.errors.UnderstudyError``. On ``ConnectionLost``
    the server calls the same function again, a few times.
    """

    token: str
    """Such as ``understudy:index:Service``."""
    secret_outputs: frozenset[str]
    replace_on: frozenset[str]
    """Inputs whose change makes a new resource; a change of any other is an update in place."""
    ignored: frozenset[str]
    """Inputs whose change alone is no difference (credentials with which to reach the machine)."""

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs; touch nothing."""

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Make it and return its id and outputs. Must succeed again after a crash anywhere in an earlier call."""

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return what is really there, or None where it is gone."""

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Change it in place from the old inputs to the new and return the outputs."""

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Take it away; succeed where it is gone already."""


@runtime_checkable
class Foreseeing(Protocol):
    """A kind that can tell some outputs before it acts, so that a preview shows what really follows from a change."""

    def foresee(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Values:
        """Return the outputs that are already certain.

        Args:
            inputs: the new inputs; may hold ``UNKNOWN``.
            outputs: the present outputs; empty before it is created.
        """


@runtime_checkable
class Shouting(Protocol):
    """A kind with something to say that must not be overlooked, each time that it is looked at."""

    def shouts(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any], *, planned: bool) -> tuple[str, ...]:
        """Return lines that are shown as warnings; raise nothing.

        Args:
            inputs: the program's.
            outputs: the present outputs; empty before it is created.
            planned: whether an update with these inputs is being planned: then also what will come of it.
        """


@runtime_checkable
class Telling(Protocol):
    """A kind whose changes do more than their difference shows."""

    def consequence(self, old: Values, inputs: Mapping[str, Any]) -> str:
        """Return in one line what a change of the inputs will do; empty where the difference says it all.

        Args:
            old: the inputs in the state.
            inputs: the new ones; may hold ``UNKNOWN``.
        """


@runtime_checkable
class Planning(Protocol):
    """A kind that can tell how a change of it will be done."""

    def plan(self, old: Values, inputs: Mapping[str, Any]) -> str:
        """Return in lines how the inputs will become the new ones; empty where they are the same. As `Telling`."""


UNKNOWN: Any = object()
"""Stands in a preview for a value that only the update will know."""


def has_unknown(value: Any) -> bool:
    """Return whether a value, or anything in it, will only be known by the update.

    >>> has_unknown({"a": [1, UNKNOWN]})
    True
    """
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN
