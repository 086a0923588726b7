"""Differences that are meant to be: each excuse has a reason, and may have a day after which it holds no more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase

from model.errors import ConfigurationError
from model.mirror.reading import AREAS
from model.readers import Place, read_choice, read_keys, read_text, show

FILE = "mirror.yaml"
_WORD = re.compile(r"[A-Za-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Excuse:
    """Says why a difference may be.

    Args:
        key: a pattern (``*``, ``?``, ``[...]``) for the reading's key.
        reason: why it may differ, for people.
        area: one of ``AREAS``, or ``*`` for any.
        machine: a pattern for the machine's name.
        only: ``prod`` or ``stage`` where only what the other has not is excused; ``both`` where only what both have,
            and have differently; ``content`` where of that only what is never shown differs; empty for any difference.
        until: the last day on which it holds; None for always.
        by_user: whether it stands in the user's own file.
    """

    key: str
    reason: str
    area: str = "*"
    machine: str = "*"
    only: str = ""
    until: date | None = None
    by_user: bool = False

    def covers(self, machine: str, area: str, key: str, only: str, today: date) -> bool:
        """Return whether it excuses a difference.

        >>> Excuse(key="linux-*", reason="x").covers("db1", "packages", "linux-image-6", "prod", date(2026, 1, 1))
        True
        """
        return (
            self.area in ("*", area)
            and (self.only in ("", only) or (self.only, only) == ("both", "content"))
            and (self.until is None or today <= self.until)
            and fnmatchcase(key, self.key)
            and fnmatchcase(machine, self.machine)
        )


def read_excuses(values: object) -> tuple[Excuse, ...]:
    """Return the user's own excuses, out of ``mirror.yaml``.

    Args:
        values: what stands in the file, parsed.

    Raises:
        ConfigurationError: with everything that is wrong with it.
    """
    place = Place(FILE, (), [])
    section = read_keys(place, values, required=("excuses",))
    excuses = section.read("excuses", _read_all) or ()
    if place.faults:
        raise ConfigurationError(tuple(place.faults))
    return excuses


def _read_all(place: Place, value: object) -> tuple[Excuse, ...]:
    if not isinstance(value, list | tuple):
        place.fault(value, "a list of excuses, each with key and reason")
        return ()
    found = (_read_excuse(place / str(index), item) for index, item in enumerate(value))
    return tuple(excuse for excuse in found if excuse is not None)


def _read_excuse(place: Place, value: object) -> Excuse | None:
    section = read_keys(place, value, required=("key", "reason"), optional=("area", "machine", "until"))
    key = section.read("key", read_text, _names_something, "a pattern with at least one letter or digit in it")
    reason = section.read("reason", read_text, _is_line, "one line that says why this may differ")
    area = section.read("area", read_choice, ("*", *AREAS))
    machine = section.read("machine", read_text, _is_line, "a machine's name, or a pattern such as db*")
    until = section.read("until", _read_day)
    if key is None or reason is None or ("until" in _given(value) and until is None):
        return None
    return Excuse(key=key, reason=reason, area=area or "*", machine=machine or "*", until=until, by_user=True)


def _given(value: object) -> Mapping[object, object]:
    return value if isinstance(value, Mapping) else {}


def _names_something(text: str) -> bool:
    """A pattern that is only ``*`` would excuse everything there is."""
    return text.isprintable() and _WORD.search(text) is not None


def _is_line(text: str) -> bool:
    return text.isprintable() and bool(text.strip())


def _read_day(place: Place, value: object) -> date | None:
    try:
        if isinstance(value, str):
            return date.fromisoformat(value)
    except ValueError:
        pass
    place.note(show(value), "a day, such as 2027-01-31")
    return None
