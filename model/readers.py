"""Readers of values that somebody typed: each takes a place and what stands there, and notes what is wrong with it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Concatenate, ParamSpec, TypeVar

from model import rules, units
from model.errors import Fault

T = TypeVar("T")
P = ParamSpec("P")

MISSING = object()
"""Stands for a key that is not there."""

SECRET = re.compile(
    r"passw|passphrase|secret|token|credential|(private|access|api)[-_]?key|\bsecure\b",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY|[a-z]://[^/@\s\"]*:[^/@\s\"]+@|AKIA[0-9A-Z]{16}")
_SHOWN = 60
HIDDEN = "a secret (not shown)"
NO_SECRETS = "no secrets: they never stand in this file"


def show(value: object) -> str:
    r"""Return a value in the notation of the file, short, with whatever could mislead the eye made visible.

    >>> show("d\u0430ta"), show(False), show(MISSING)
    ('"d\\u0430ta"', 'false', 'nothing')
    """
    if value is MISSING:
        return "nothing"
    try:
        text = json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    if _SECRET_TEXT.search(text) or (isinstance(value, Mapping | list | tuple) and SECRET.search(text)):
        return HIDDEN
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader stands: a file, a path of keys, and the list of faults that it shares with all other places."""

    file: str
    path: tuple[str, ...]
    faults: list[Fault]

    def __truediv__(self, key: object) -> Place:
        return Place(self.file, (*self.path, plain_key(key)), self.faults)

    def fault(self, value: object, allowed: str) -> None:
        """Note that ``value`` stands here, and what may."""
        self.note(show(value), allowed)

    def note(self, found: str, allowed: str) -> None:
        """Note a fault in words."""
        self.faults.append(
            Fault(
                file=self.file,
                key=".".join(self.path) or "the file",
                found=found,
                allowed=allowed,
            )
        )


def plain_key(key: object) -> str:
    """Return a key as a path shows it: quoted where a dot or a strange character would mislead."""
    return key if isinstance(key, str) and re.fullmatch(r"[\w/-]+", key, re.ASCII) else show(key)


def one_of(names: Collection[str]) -> str:
    """Return names as a sentence lists them.

    >>> one_of(["lb", "db1"])
    'one of db1, lb'
    """
    return f"one of {', '.join(sorted(names))}" if names else "nothing: there is none"


def meant(value: object, names: Collection[str]) -> str:
    """Return a hint at the name that was probably meant, or nothing.

    >>> meant("adress", ["address", "memory"])
    '; did you mean "address"?'
    """
    close = difflib.get_close_matches(value, sorted(names), n=1) if isinstance(value, str) and len(value) < 100 else []
    return f'; did you mean "{close[0]}"?' if close else ""


def read_mapping(place: Place, value: object) -> Mapping[object, object]:
    """Return a mapping whose keys are names that the user chose; empty where it is none."""
    if isinstance(value, Mapping):
        return value
    place.fault(value, "keys with their values (`name: ...`)")
    return {}


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping of known keys. What a missing key gives is None: the fault, if it is one, is noted already."""

    place: Place
    values: Mapping[object, object]

    def read(
        self,
        key: str,
        reader: Callable[Concatenate[Place, object, P], T | None],
        *arguments: P.args,
        **options: P.kwargs,
    ) -> T | None:
        """Return what the reader makes of the key's value."""
        return reader(self.place / key, self.values[key], *arguments, **options) if key in self.values else None


def read_keys(
    place: Place,
    value: object,
    *,
    required: Collection[str],
    optional: Collection[str] = (),
) -> Section:
    """Return the section of a mapping with these keys and no others."""
    if not isinstance(value, Mapping):
        place.fault(value, f"a mapping with the keys {', '.join([*required, *optional])}")
        return Section(place, {})
    refuse_unknown(place, value, [*required, *optional])
    for key in required:
        if key not in value:
            (place / key).fault(MISSING, "a value: this key is needed")
    return Section(place, value)


def has_key(values: object, name: str, key: str) -> bool:
    """Tell whether the entry of that name has that key, be its value right or wrong."""
    entry = values.get(name) if isinstance(values, Mapping) else None
    return isinstance(entry, Mapping) and key in entry


def refuse_unknown(place: Place, value: Mapping[object, object], names: Collection[str]) -> None:
    """Note every key that is not among the names."""
    for key in value:
        if key in names:
            continue
        if isinstance(key, str) and SECRET.search(key):
            (place / key).note(HIDDEN, NO_SECRETS)
        else:
            (place / key).note("an unknown key", f"{one_of(names)}{meant(key, names)}")


def is_secret_text(value: str) -> bool:
    """Tell whether a text looks like a private key, a login in an address, or an AWS key.

    >>> is_secret_text("postgresql://shop:hunter2@db1/shop")
    True
    """
    return _SECRET_TEXT.search(value) is not None


def read_text(
    place: Place,
    value: object,
    accept: Callable[[str], bool] | re.Pattern[str],
    allowed: str,
) -> str | None:
    """Return a text that is accepted. Where YAML made something else of a bare word, the fault says so."""
    if isinstance(value, bool):
        allowed += f"; YAML reads the bare words yes, no, on, off, true, false as {show(value)}: put it in quotes"
    elif isinstance(value, float):
        allowed += "; put it in quotes, YAML reads it as a number"
    elif isinstance(value, str):
        if is_secret_text(value):
            place.note(HIDDEN, NO_SECRETS)
            return None
        if accept.fullmatch(value) if isinstance(accept, re.Pattern) else accept(value):
            return value
    place.fault(value, allowed)
    return None


def read_name(place: Place, name: object, what: str) -> str | None:
    """Return the name of a machine, store or page, which is the key under which it is described."""
    known = read_text(place, name, rules.NAME, f"a {what}'s name as the key: {rules.NAME_ALLOWED}")
    if known in rules.RESERVED_NAMES:
        place.fault(
            name,
            f"another name than {', '.join(sorted(rules.RESERVED_NAMES))}, which mean something already",
        )
        return None
    return known


def read_choice(place: Place, value: object, names: Collection[str]) -> str | None:
    """Return one of the names."""
    if isinstance(value, str) and value in names:
        return value  # at once: what would be allowed otherwise takes time to say
    return read_text(place, value, lambda text: text in names, f"{one_of(names)}{meant(value, names)}")


def read_mib(place: Place, value: object, *, least: int) -> int | None:
    """Return a size in MiB that is at least ``least`` MiB."""
    try:
        size = units.mib(value) if isinstance(value, str) and len(value) < 20 else 0
    except ValueError:
        size = 0
    if least <= size <= 1024 * 1024 * 1024:
        return size
    place.fault(
        value,
        f"a whole number with its unit, such as 512MiB or 2GiB, at least {least}MiB",
    )
    return None


def read_count(place: Place, value: object, *, least: int, most: int) -> int | None:
    """Return a whole number within bounds, both included."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    place.fault(value, f"a whole number from {least} to {most}")
    return None


def read_flag(place: Place, value: object) -> bool | None:
    """Return a truth value. Pulumi writes it with quotes when it rewrites a file; both are the same."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    place.fault(value, "true or false")
    return None


def read_address(place: Place, value: object) -> IPv4Address | None:
    """Return an IPv4 address."""
    try:
        if isinstance(value, str):
            return IPv4Address(value)
    except ValueError:
        pass
    place.fault(value, "an IPv4 address, such as 10.20.0.10")
    return None


def read_network(place: Place, value: object) -> IPv4Network | None:
    """Return an IPv4 network written with its prefix length and no host bits."""
    try:
        if isinstance(value, str) and "/" in value:
            return IPv4Network(value)
    except ValueError:
        pass
    place.fault(value, f"an IPv4 network, such as 10.20.0.0/24{_network_meant(value)}")
    return None


def _network_meant(value: object) -> str:
    try:
        whole = IPv4Network(value, strict=False) if isinstance(value, str) and "/" in value else None
    except ValueError:
        return ""
    return f'; did you mean "{whole}"?' if whole else ""


def read_list(place: Place, value: object, read: Callable[[Place, object], str | None]) -> tuple[str, ...]:
    """Return what could be read of a list of texts, each of which may stand in it once."""
    if not isinstance(value, list | tuple):
        place.fault(value, "a list, such as [one, two]")
        return ()
    read_items: list[str] = []
    for index, item in enumerate(value):
        text = read(place / str(index), item)
        if text in read_items:
            (place / str(index)).fault(item, "each only once")
        elif text is not None:
            read_items.append(text)
    return tuple(read_items)
