"""Where the data of a store lies on its machine, and how new data takes the place of old.

All data of an engine lies below one root. Each filling has a place of its own there, ``ROOT/ID``, with ``data`` in it;
the link ``ROOT/current`` says which one serves. A place is not in use before it was filled and checked, and the old one
is removed only when the new one serves. Whatever a killed run left is a place that is not current.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model.errors import UnderstudyError
from provisioners.commands import scripted
from provisioners.outcome import CommandFailed
from provisioners.shell import Shell

BORN_EMPTY = "init"
"""The kind of seed of a store that began empty here: its data is nobody's copy, and is never removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where an engine's data lies.

    Args:
        root: such as ``/srv/postgresql``.
        unit: the systemd unit that serves it; empty where there is none.
        account: the user and group that own the data.
    """

    root: str
    unit: str
    account: str

    @property
    def current(self) -> str:
        """Return the path under which the data that serves is found."""
        return f"{self.root}/current"

    def place(self, name: str) -> str:
        """Return the directory of a place."""
        return f"{self.root}/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One filling.

    Args:
        name: the directory's name.
        key: what it was to be filled with.
        seed: what it was filled with, and how that went; empty until it has been checked.
        has_data: whether its data is there.
    """

    name: str
    key: str
    seed: Mapping[str, Any] = field(default_factory=dict)
    has_data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie:
    """How things lie on the machine. ``free_bytes`` are those of the disk with the data."""

    current: Place | None
    others: tuple[Place, ...]
    free_bytes: int
    processors: int
    active: bool
    enabled: bool


def parse_lie(output: str) -> Lie:
    """Return what ``store_state`` printed.

    Raises:
        UnderstudyError: it printed something else.
    """
    places: list[dict[str, Any]] = []
    words: dict[str, str] = {}
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        if word == "place":
            places.append({"name": rest, "key": ""})
        elif word == "data":
            places[-1]["has_data"] = True
        elif word == "key":
            places[-1]["key"] = rest
        elif word == "seed":
            places[-1]["seed"] = _seed(rest)
        elif "=" in word:
            words[word.partition("=")[0]] = word.partition("=")[2]
        else:
            words[word] = rest
    found = [Place(**each) for each in places]
    current = next((place for place in found if place.name == words.get("current")), None)
    try:
        return Lie(
            current=current,
            others=tuple(place for place in found if place is not current),
            free_bytes=int(words["free"]),
            processors=int(words["processors"]),
            active=words.get("ActiveState") in ("active", "activating", "reloading"),
            enabled=words.get("UnitFileState") == "enabled",
        )
    except (KeyError, ValueError) as error:
        raise UnderstudyError(where="store", found=f"the machine's state cannot be read ({error!r})") from error


def _seed(text: str) -> Mapping[str, Any]:
    try:
        seed = json.loads(text)
    except ValueError:
        return {}
    return seed if isinstance(seed, dict) else {}


def survey(shell: Shell, ground: Ground) -> Lie:
    """Look at how things lie."""
    return parse_lie(shell.run(scripted("store_state", ground.root, ground.unit)).text)


def begin(shell: Shell, ground: Ground, lie: Lie, key: str) -> str:
    """Make the place for a filling, or find the one that was begun for it; remove what others left.

    Args:
        shell: the machine.
        ground: where the engine's data lies.
        lie: how things lie now.
        key: what it is to be filled with.

    Returns:
        The place's name.
    """
    begun = next((place for place in lie.others if _is_begun(place, key)), None)
    name = begun.name if begun else secrets.token_hex(6)
    left = [place.name for place in lie.others if place.name != name and not _is_kept(place)]
    shell.run(scripted("store_begin", ground.root, ground.account, name, key, *left), timeout_seconds=1800)
    return name


def left_over(lie: Lie, key: str) -> tuple[str, ...]:
    """Return the places that killed runs left, but for the one that was begun with this key."""
    return tuple(place.name for place in lie.others if not _is_kept(place) and not _is_begun(place, key))


def clear(shell: Shell, ground: Ground, *names: str) -> None:
    """Remove places, and end what runs in them."""
    if names:
        shell.run(scripted("store_begin", ground.root, ground.account, "", "", *names), timeout_seconds=1800)


def switch(shell: Shell, ground: Ground, lie: Lie, name: str, seed: Mapping[str, Any]) -> None:
    """Put a place in use and remove the one before it.

    Args:
        shell: the machine.
        ground: where the engine's data lies.
        lie: how things lay before.
        name: the place.
        seed: what it was filled with, and how that went; no secrets.

    Raises:
        UnderstudyError: the unit does not start with it; the old data serves again.
    """
    try:
        shell.run(
            scripted("store_switch", ground.root, name, ground.unit),
            stdin=json.dumps(dict(seed), sort_keys=True).encode(),
            timeout_seconds=900,
        )
    except CommandFailed as error:
        said = error.result.stderr.decode("utf-8", "replace").strip()
        raise UnderstudyError(
            where=f"{shell.connection.name}: {ground.unit}",
            found=f"it does not start with the new data: {said[-2000:]}",
        ) from error
    if lie.current is not None and lie.current.name != name and not _is_kept(lie.current):
        clear(shell, ground, lie.current.name)


def _is_begun(place: Place, key: str) -> bool:
    return place.key == key and not place.seed


def _is_kept(place: Place) -> bool:
    return place.seed.get("kind") == BORN_EMPTY
