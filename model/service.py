"""A service as its folder in ``services/`` describes it: files, units, checks, and how its engine is set up."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from model.errors import ConfigurationError
from model.readers import Place, read_choice, read_count, read_flag, read_keys, read_list, read_mapping, read_text

_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PATH = re.compile(r"(/[A-Za-z0-9@_+.,-]+)+")
_MODE = re.compile(r"0[0-7]{3}")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]*")
_UNIT = re.compile(r"[A-Za-z0-9@_.\\-]+\.(service|socket|timer|path|mount|target)")
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_VARIABLE = re.compile(r"[a-z][a-z0-9_]*")
_SETTING = re.compile(r"[a-z][a-z0-9_.]*")
_ENGINES = ("postgresql", "mariadb", "files")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFile:
    """A file on each machine of the service.

    Args:
        source: its name in the service's folder; one that ends in ``.j2`` is a template.
        path: where it goes on the machine.
        validate: the command that tells whether a new content is good, ``{}`` standing for the new file; may be empty.
        reload: the unit to reload once it is there; empty for none.
    """

    source: str
    path: str
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"
    validate: tuple[str, ...] = ()
    reload: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceUnit:
    """A systemd unit that runs, and runs again after a reboot.

    Args:
        restart_on: paths of the service's own files that it must be restarted for.
    """

    unit: str
    restart_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCheck:
    """A page that each machine of the service must answer, asked for on that machine itself."""

    name: str
    url: str
    text: str
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How an engine is set up wherever a store of it lives. All texts are templates.

    Args:
        settings: the engine's own settings, by name.
        live_settings: those only for data that is nobody's copy.
        hba: PostgreSQL's lines on who may connect from where.
        init: the source of the SQL that a new, empty store begins with; empty for none.
    """

    engine: str
    settings: tuple[tuple[str, str], ...] = ()
    live_settings: tuple[tuple[str, str], ...] = ()
    hba: tuple[str, ...] = ()
    init: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One folder of ``services/``.

    Args:
        mirrored: whether a stack that mirrors another runs it too.
        variables: values for its templates, and for those of other services, by name.
    """

    name: str
    mirrored: bool = True
    variables: tuple[tuple[str, str | int | bool], ...] = ()
    files: tuple[ServiceFile, ...] = ()
    units: tuple[ServiceUnit, ...] = ()
    checks: tuple[ServiceCheck, ...] = ()
    engine: EngineSettings | None = None

    def sources(self) -> tuple[str, ...]:
        """Return the names of the files in the service's folder that are needed.

        >>> Service(name="web", files=(ServiceFile(source="a.j2", path="/a"),)).sources()
        ('a.j2',)
        """
        init = (self.engine.init,) if self.engine and self.engine.init else ()
        return tuple(dict.fromkeys((*(file.source for file in self.files), *init)))


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
    optional = ("description", "mirrored", "variables", "files", "units", "checks", "store")
    keys = read_keys(place, values, required=(), optional=optional)
    files = keys.read("files", _read_items, _read_file) or ()
    paths = [item.path for item in files]
    service = Service(
        name=name,
        mirrored=keys.read("mirrored", read_flag) is not False,
        variables=keys.read("variables", _read_variables) or (),
        files=files,
        units=keys.read("units", _read_items, lambda item, value: _read_unit(item, value, paths)) or (),
        checks=keys.read("checks", _read_items, _read_check) or (),
        engine=keys.read("store", _read_engine),
    )
    for path in sorted({path for path in paths if paths.count(path) > 1}):
        (place / "files").fault(path, "each path once")
    if place.faults:
        raise ConfigurationError(tuple(place.faults))
    return service


def _read_items(place: Place, value: object, read: Callable[[Place, object], T]) -> tuple[T, ...]:
    if isinstance(value, list | tuple):
        return tuple(read(place / str(index), item) for index, item in enumerate(value))
    place.fault(value, "a list, each item after a dash")
    return ()


def _read_line(place: Place, value: object) -> str | None:
    return read_text(place, value, lambda text: text.isprintable() and text != "", "one line of text")


def _read_file(place: Place, value: object) -> ServiceFile:
    optional = ("mode", "owner", "group", "validate", "reload")
    keys = read_keys(place, value, required=("source", "path"), optional=optional)
    return ServiceFile(
        source=keys.read("source", read_text, _SOURCE, "the name of a file in the service's folder") or "",
        path=keys.read("path", read_text, _PATH, "an absolute path") or "",
        mode=keys.read("mode", read_text, _MODE, 'four octal digits in quotes, such as "0644"') or "0644",
        owner=keys.read("owner", read_text, _ACCOUNT, "the name of a user") or "root",
        group=keys.read("group", read_text, _ACCOUNT, "the name of a group") or "root",
        validate=keys.read("validate", _read_command) or (),
        reload=keys.read("reload", read_text, _UNIT, "a systemd unit, such as haproxy.service") or "",
    )


def _read_command(place: Place, value: object) -> tuple[str, ...]:
    if isinstance(value, list) and "{}" in value and all(isinstance(word, str) and word for word in value):
        return tuple(value)
    place.fault(value, 'a list of words, one of which is "{}" (the new file), such as [haproxy, -c, -f, "{}"]')
    return ()


def _read_unit(place: Place, value: object, paths: list[str]) -> ServiceUnit:
    keys = read_keys(place, value, required=("unit",), optional=("restart_on",))
    return ServiceUnit(
        unit=keys.read("unit", read_text, _UNIT, "a systemd unit, such as haproxy.service") or "",
        restart_on=keys.read("restart_on", read_list, lambda item, path: read_choice(item, path, paths)) or (),
    )


def _read_check(place: Place, value: object) -> ServiceCheck:
    keys = read_keys(place, value, required=("name", "url", "text"), optional=("status",))
    return ServiceCheck(
        name=keys.read("name", read_text, _NAME, "a name: lower case, digits, hyphens") or "",
        url=keys.read("url", _read_line) or "",
        text=keys.read("text", _read_line) or "",
        status=keys.read("status", read_count, least=100, most=599) or 200,
    )


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
