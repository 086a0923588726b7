"""Rules for inputs: what a value must be. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from model.connection import connection_of
from model.errors import UnderstudyError
from provisioners.provider.kinds import Failure, has_unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What an input must be.

    Args:
        good: whether a value is.
        allowed: what is allowed, for the error's text.
        optional: whether it may be missing.
    """

    good: Callable[[Any], bool]
    allowed: str
    optional: bool = False


_UNIT = re.compile(r"^[A-Za-z0-9:_.\\@-]+\.(service|socket|timer|target|mount|path)$")
_ACCOUNT = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$")
_MODE = re.compile(r"^0[0-7]{3}$")


def text(value: Any) -> bool:
    """Return whether it is text."""
    return isinstance(value, str)


def _word_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and "\0" not in item for item in value)


def _path(value: Any) -> bool:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        return False
    return str(PurePosixPath(value)) == value and ".." not in value.split("/") and value != "/"


def _connection(value: Any) -> bool:
    try:
        connection_of(value)
    except (UnderstudyError, AttributeError, TypeError):
        return False
    return True


TEXT = Rule(good=text, allowed="text")
PATH = Rule(good=_path, allowed="an absolute path without `..`, `//` or a final `/`")
UNIT = Rule(
    good=lambda value: text(value) and bool(_UNIT.match(value)), allowed="a unit's whole name, such as haproxy.service"
)
ACCOUNT = Rule(
    good=lambda value: text(value) and bool(_ACCOUNT.match(value)), allowed="a user's or group's name or number"
)
MODE = Rule(good=lambda value: text(value) and bool(_MODE.match(value)), allowed="four octal digits, such as 0644")
FLAG = Rule(good=lambda value: isinstance(value, bool), allowed="true or false")
WORDS = Rule(good=_word_list, allowed="a list of texts")


def number(low: int, high: int) -> Rule:
    """Return the rule for a whole number between two others."""
    return Rule(
        good=lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
        allowed=f"a whole number from {low} to {high}",
    )


def optional(rule: Rule) -> Rule:
    """Return the same rule for an input that may be missing.

    >>> optional(TEXT).optional
    True
    """
    return Rule(good=rule.good, allowed=rule.allowed, optional=True)


COMMON: Mapping[str, Rule] = {
    "connection": Rule(good=_connection, allowed="name and address, and port, user, sudo, jump, host_key, domain"),
    "private_key": TEXT,
    "generation": TEXT,
}
"""Inputs of every kind that acts on a machine."""

REACH = frozenset({"connection", "private_key"})
"""Inputs that only say how a machine is reached; their change alone is no difference."""


def failures(inputs: Mapping[str, Any], rules: Mapping[str, Rule]) -> tuple[Failure, ...]:
    """Return all that is wrong with inputs: missing, unknown to us, or not allowed; what is not known yet passes.

    >>> failures({"mode": "644", "modus": ""}, {"mode": MODE})[0].reason
    "found '644'; allowed: four octal digits, such as 0644"
    """
    found = [
        Failure(property=key, reason="there is no such input") for key in inputs if key not in rules and key[:2] != "__"
    ]
    for key, rule in rules.items():
        value = inputs.get(key)
        if value is None:
            if not rule.optional:
                found.append(Failure(property=key, reason=f"is missing; allowed: {rule.allowed}"))
        elif not has_unknown(value) and not rule.good(value):
            shown = "" if key in ("private_key", "content") else f"found {value!r:.80}; "
            found.append(Failure(property=key, reason=f"{shown}allowed: {rule.allowed}"))
    return tuple(sorted(found, key=lambda failure: failure.property))
