"""What differs between two sets of inputs, as a tree of paths. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from provisioners.provider.kinds import UNKNOWN, Kind

_PLAIN_KEY = re.compile(r"^[A-Za-z_$][A-Za-z0-9_$]*$")
_NOTHING: Any = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference.

    Args:
        path: in the engine's notation, such as ``settings["shared_buffers"]`` or ``hba[2]``.
        change: what happens to it.
        replaces: whether it makes a new resource.
    """

    path: str
    change: Literal["add", "delete", "update"]
    replaces: bool


def differences(kind: Kind, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return what differs, leaving out what the kind ignores; a value not yet known differs from every other.

    A machine of another name is another machine: what is on it is made anew. What was imported has no
    generation yet, and knows the machine by its address.
    """
    found: list[Difference] = []
    imported = old.get("generation", "") == ""
    for key in sorted({*old, *new}):
        before, after = old.get(key, _NOTHING), new.get(key, _NOTHING)
        if key == "connection" and not imported and isinstance(before, Mapping) and isinstance(after, Mapping):
            found += _compare("connection.name", before.get("name"), after.get("name"), replaces=True)
        if key not in kind.ignored and not (key == "generation" and imported):
            found += _compare(key, before, after, replaces=key in kind.replace_on)
    return tuple({difference.path: difference for difference in found}.values())


def _compare(path: str, old: Any, new: Any, *, replaces: bool) -> list[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = sorted({*old, *new})
        pairs = [(_below(path, key), old.get(key, _NOTHING), new.get(key, _NOTHING)) for key in keys]
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        length = max(len(old), len(new))
        pairs = [
            (f"{path}[{at}]", old[at] if at < len(old) else _NOTHING, new[at] if at < len(new) else _NOTHING)
            for at in range(length)
        ]
    elif old is not UNKNOWN and new is not UNKNOWN and _same(old, new):
        return []
    else:
        return [Difference(path=path, change=_change(old, new), replaces=replaces)]
    return [found for below, before, after in pairs for found in _compare(below, before, after, replaces=replaces)]


def _same(old: Any, new: Any) -> bool:
    absent = (None, _NOTHING)
    if any(old is nothing for nothing in absent) and any(new is nothing for nothing in absent):
        return True
    return isinstance(old, bool) == isinstance(new, bool) and bool(old == new)


def _change(old: Any, new: Any) -> Literal["add", "delete", "update"]:
    if old is _NOTHING or old is None:
        return "add"
    return "delete" if new is _NOTHING or new is None else "update"


def _below(path: str, key: str) -> str:
    if _PLAIN_KEY.match(key):
        return f"{path}.{key}"
    quoted = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'{path}["{quoted}"]'
