"""What a fact is: a command that changes nothing, who runs it, and a pure function over its output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

LOGIN = ""
"""Runs as the user who logged in."""
ROOT = "root"
"""Runs as root where that can be had, and as the user who logged in where not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question to a machine.

    Args:
        name: how the fact is called in front of users.
        argv: the command; changes nothing.
        user: who runs it: ``LOGIN``, ``ROOT``, or the name of another user such as ``postgres``.
        codes: exit codes that are good answers.
    """

    name: str
    argv: tuple[str, ...]
    user: str = LOGIN
    codes: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact(Question, Generic[T]):
    """A question, and how its answer is read.

    Args:
        parse: makes values of the command's standard output; raises ValueError where it cannot.
    """

    parse: Callable[[str], T]


class NoAnswerError(Exception):
    """The machine gave no answer to a question; the text says why, in its own words."""
