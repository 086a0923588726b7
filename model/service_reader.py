"""Reads a ``service.yaml``: everything that is wrong with it is told at once, with file, key, found and allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from model import units
from model.errors import ConfigurationError
from model.readers import (
    MISSING,
    Place,
    read_choice,
    read_count,
    read_flag,
    read_keys,
    read_list,
    read_mapping,
    read_name,
    read_text,
)
from model.service import (
    CONFIRM_SECONDS,
    CommandCheck,
    EngineSettings,
    PageCheck,
    Rollout,
    Service,
    ServiceFile,
    ServiceUnit,
)
from model.service_acts import ByHand, read_by_hand, read_migration
from model.tool import KINDS, read_tool

_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PATH = re.compile(r"(/(?!\.\.?(/|$))[A-Za-z0-9@_+.,-]+)+")
_MODE = re.compile(r"0[0-7]{3}")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]*")
_UNIT = re.compile(r"[A-Za-z0-9@_.\\-]+\.(service|socket|timer|path|mount|target)")
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_VARIABLE = re.compile(r"[a-z][a-z0-9_]*")
_SETTING = re.compile(r"[a-z][a-z0-9_.]*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")  # Source: Debian Policy 5.6.1
_ENGINES = ("postgresql", "mariadb", "files")
_CONFIRM_SECONDS = (10, 3600)
_MOST_MACHINES = 1000
KEYS = (
    *("description", "mirrored", "variables", "packages", "files", "units", "checks", "confirm_within", "rollout"),
    *("store", "touches", "by_hand", "migrations", *KINDS),
)
"""All that may stand at the top of a service.yaml."""

T = TypeVar("T")


def read_service(file: str, name: str, values: object) -> Service:
    """Return the service that a ``service.yaml`` describes.

    Args:
        file: the file's name, for faults.
        name: the folder's name.
        values: what stands in the file, parsed.

    Raises:
        ConfigurationError: with everything that is wrong with it.
    """
    place = Place(file, (), [])
    keys = read_keys(place, values, required=(), optional=KEYS)
    files = keys.read("files", _read_items, _read_file) or ()
    tool = read_tool(place, name, keys.values)
    if tool is not None:  # what lies there is applied there; it may hold secrets
        files = (*files, ServiceFile(source=tool.source, path=tool.path, mode="0600"))
    paths = [item.path for item in files]
    checks = keys.read("checks", _read_items, _read_check) or ()
    service = Service(
        name=name,
        mirrored=keys.read("mirrored", read_flag) is not False,
        variables=keys.read("variables", _read_variables) or (),
        packages=keys.read("packages", read_list, _read_package) or (),
        files=files,
        units=keys.read("units", _read_items, lambda item, value: _read_unit(item, value, paths)) or (),
        pages=tuple(check for check in checks if isinstance(check, PageCheck)),
        checks=tuple(check for check in checks if isinstance(check, CommandCheck)),
        confirm_seconds=keys.read("confirm_within", _read_seconds, *_CONFIRM_SECONDS) or CONFIRM_SECONDS,
        rollout=keys.read("rollout", _read_rollout) or Rollout(),
        tool=tool,
        engine=keys.read("store", _read_engine),
        by_hand=keys.read("by_hand", _read_items, _read_by_hand) or (),
        migrations=keys.read("migrations", _read_items, read_migration) or (),
    )
    _refuse_twice(place / "files", paths)
    _refuse_twice(place / "units", [unit.unit for unit in service.units])
    _refuse_twice(place / "checks", [check.name for check in checks])
    _refuse_twice(place / "by_hand", [each.name for each in service.by_hand])
    _refuse_twice(place / "migrations", [each.name for each in service.migrations])
    if place.faults:
        raise ConfigurationError(tuple(place.faults))
    return service


def _refuse_twice(place: Place, names: list[str]) -> None:
    for name in sorted({name for name in names if name and names.count(name) > 1}):
        place.fault(name, "each only once")


def _read_items(place: Place, value: object, read: Callable[[Place, object], T]) -> tuple[T, ...]:
    if isinstance(value, list | tuple):
        return tuple(read(place / str(index), item) for index, item in enumerate(value))
    place.fault(value, "a list, each item after a dash")
    return ()


def _read_line(place: Place, value: object) -> str | None:
    return read_text(place, value, lambda text: text.isprintable() and text != "", "one line of text")


def _read_seconds(place: Place, value: object, least: int, most: int) -> int | None:
    try:
        seconds = units.seconds(value) if isinstance(value, str) and len(value) < 20 else 0
    except ValueError:
        seconds = 0
    if least <= seconds <= most:
        return seconds
    place.fault(value, f"a whole number with its unit, such as 120s or 5min, from {least}s to {most}s")
    return None


def _read_package(place: Place, value: object) -> str | None:
    return read_text(place, value, _PACKAGE, "the name of a Debian package, such as cron")


def _read_file(place: Place, value: object) -> ServiceFile:
    of_content = ("mode", "owner", "group", "validate")
    optional = ("source", "absent", "reload", *of_content)
    keys = read_keys(place, value, required=("path",), optional=optional)
    absent = keys.read("absent", read_flag) is True
    if absent:
        for key in ("source", *of_content):
            if key in keys.values:
                (place / key).fault(keys.values[key], "nothing beside `absent: true`: there is to be no file")
    elif keys.values and "source" not in keys.values:
        (place / "source").fault(MISSING, "the name of a file in the service's folder, or `absent: true`")
    return ServiceFile(
        source=keys.read("source", read_text, _SOURCE, "the name of a file in the service's folder") or "",
        absent=absent,
        path=keys.read("path", read_text, _PATH, "an absolute path") or "",
        mode=keys.read("mode", read_text, _MODE, 'four octal digits in quotes, such as "0644"') or "0644",
        owner=keys.read("owner", read_text, _ACCOUNT, "the name of a user") or "root",
        group=keys.read("group", read_text, _ACCOUNT, "the name of a group") or "root",
        validate=keys.read("validate", _read_validate) or (),
        reload=keys.read("reload", read_text, _UNIT, "a systemd unit, such as haproxy.service") or "",
    )


def _are_words(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(word, str) and word for word in value)


def _read_validate(place: Place, value: object) -> tuple[str, ...]:
    if isinstance(value, list) and "{}" in value and _are_words(value):
        return tuple(value)
    place.fault(value, 'a list of words, one of which is "{}" (the new file), such as [haproxy, -c, -f, "{}"]')
    return ()


def _read_command(place: Place, value: object) -> tuple[str, ...]:
    if isinstance(value, list) and _are_words(value) and all(word.isprintable() for word in value):
        return tuple(value)
    place.fault(value, "a list of words, such as [systemctl, is-active, cron.service]")
    return ()


def _read_by_hand(place: Place, value: object) -> ByHand:
    return read_by_hand(place, value, _read_line, _read_command)


def _read_unit(place: Place, value: object, paths: list[str]) -> ServiceUnit:
    keys = read_keys(place, value, required=("unit",), optional=("restart_on",))
    return ServiceUnit(
        unit=keys.read("unit", read_text, _UNIT, "a systemd unit, such as haproxy.service") or "",
        restart_on=keys.read("restart_on", read_list, lambda item, path: read_choice(item, path, paths)) or (),
    )


def _read_check(place: Place, value: object) -> PageCheck | CommandCheck:
    """A check has a command, which runs within a change, or the address of a page, which is asked for in the end."""
    name = "a name: lower case, digits, hyphens"
    if isinstance(value, Mapping) and "command" in value:
        keys = read_keys(place, value, required=("name", "command"), optional=("prints",))
        return CommandCheck(
            name=keys.read("name", read_text, _NAME, name) or "",
            command=keys.read("command", _read_command) or (),
            prints=keys.read("prints", _read_line) or "",
        )
    keys = read_keys(place, value, required=("name", "url", "text"), optional=("status",))
    return PageCheck(
        name=keys.read("name", read_text, _NAME, name) or "",
        url=keys.read("url", _read_line) or "",
        text=keys.read("text", _read_line) or "",
        status=keys.read("status", read_count, least=100, most=599) or 200,
    )


def _read_rollout(place: Place, value: object) -> Rollout:
    keys = read_keys(place, value, required=(), optional=("first", "at_once"))
    first = keys.read("first", _read_first) or Rollout()
    return replace(first, at_once=keys.read("at_once", read_count, least=1, most=_MOST_MACHINES) or 0)


def _read_first(place: Place, value: object) -> Rollout | None:
    if isinstance(value, list):
        return Rollout(first=read_list(place, value, lambda item, name: read_name(item, name, "machine")))
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_MACHINES:
        return Rollout(first=value)
    place.fault(value, f"how many machines, from 0 to {_MOST_MACHINES}, or a list of their names")
    return None


def _read_variables(place: Place, value: object) -> tuple[tuple[str, str | int | bool], ...]:
    variables: list[tuple[str, str | int | bool]] = []
    for name, item in read_mapping(place, value).items():
        known = read_text(place, name, _VARIABLE, "a name as the key: lower case, digits, underscores")
        if not isinstance(item, str | int):  # bool is an int
            (place / name).fault(item, "a text, a whole number, true or false")
        elif known is not None:
            variables.append((known, item))
    return tuple(variables)


def _read_engine(place: Place, value: object) -> EngineSettings:
    keys = read_keys(place, value, required=("engine",), optional=("settings", "live_settings", "hba", "init"))
    return EngineSettings(
        engine=keys.read("engine", read_choice, _ENGINES) or "",
        settings=keys.read("settings", _read_settings) or (),
        live_settings=keys.read("live_settings", _read_settings) or (),
        hba=keys.read("hba", read_list, _read_line) or (),
        init=keys.read("init", read_text, _SOURCE, "the name of a file in the service's folder") or "",
    )


def _read_settings(place: Place, value: object) -> tuple[tuple[str, str], ...]:
    settings: list[tuple[str, str]] = []
    for name, item in read_mapping(place, value).items():
        known = read_text(place, name, _SETTING, "a setting's name as the key")
        text = str(item) if type(item) is int else _read_line(place / name, item)
        if known is not None and text is not None:
            settings.append((known, text))
    return tuple(settings)
