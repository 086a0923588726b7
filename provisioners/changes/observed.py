"""What is really on a machine of one service: found in one round trip, and read from what that printed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model.change.digest import NOTHING
from model.errors import UnderstudyError
from model.postgresql import programs
from provisioners.changes.acts import databases
from provisioners.changes.seen import SHOWN_BYTES, Seen, seen
from provisioners.commands import Argv, scripted
from provisioners.units import Status, status_of

BEFORE = "digest_before"
"""The input that says what the state has as the digest of a service that is changed; of use where a machine knows none.
"""
CONFIGS = "/root/configs"
"""On each machine, for root alone: what was there before each change, by service and date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is on a machine of one service.

    Args:
        files: what is at each path that was asked for; None where nothing is.
        units: the state of each unit that was asked for.
        packages: the version of each installed package that was asked for.
        open: the directory of a change that is neither kept nor backed out; empty for none.
        kept: the directory of the newest change that was kept; empty for none.
        digest: the service's, as Git had it at that change; `NOTHING` where every change was taken back, empty where
            nobody knows.
        puppet: paths that a Puppet which runs there manages, as its own newest notes say.
        left: what the service's own manifest or playbook left at each path that it may change; None where it never ran.
        first_files: paths whose first original is remembered, and what was there: ``file``, ``link`` or ``absent``.
        first_units: units whose first state is remembered, and that state: enabled and active, in systemd's words.
        first_packages: packages whose first version is remembered, and that version: ``-`` for none.
        by_hand: the digests of what a person has done.
        migrations: the digest of each migration that was made, by service and name.
    """

    files: Mapping[str, Seen | None]
    units: Mapping[str, Status]
    packages: Mapping[str, str]
    open: str = ""
    kept: str = ""
    digest: str = ""
    puppet: frozenset[str] = frozenset()
    left: Mapping[str, str] | None = None
    first_files: Mapping[str, str]
    first_units: Mapping[str, tuple[str, str]]
    first_packages: Mapping[str, str] = field(default_factory=dict)
    by_hand: frozenset[str] = frozenset()
    migrations: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def change(self) -> str:
        """Return the id of the newest change that was kept; empty for none.

        >>> nothing = {"files": {}, "units": {}, "packages": {}, "first_files": {}, "first_units": {}}
        >>> Observed(kept="/root/configs/web/20261125T131415Z-0123456789ab", **nothing).change
        '0123456789ab'
        """
        return self.kept.rpartition("-")[2]


def look(inputs: Mapping[str, Any]) -> Argv:
    """Return the command that shows what is there of a service.

    Args:
        inputs: of the kind ``understudy:index:Service``.
    """
    lists = _asked_files(inputs), units_of(inputs), _asked_packages(inputs)
    words = (item for names in lists for item in (*names, "--"))
    asked = (item for version, port, name in databases(inputs) for item in (f"{programs(version)}/psql", port, name))
    return scripted("service_show", str(inputs["service"]), str(SHOWN_BYTES + 1), *words, *asked)


def paths_of(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of a service's files, in order."""
    return tuple(sorted(inputs.get("files") or {}))


def digest_before(inputs: Mapping[str, Any], found: Observed) -> str:
    """Return the digest that a service has before it is changed; `NOTHING` where it is not there.

    What a machine knows counts. That all changes were taken back says nothing of a service that was there before us.
    """
    known = found.digest if found.digest != NOTHING or not inputs.get("adopt") else ""
    return known or str(inputs.get(BEFORE) or NOTHING)


def _asked_files(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted({*paths_of(inputs), *touched(inputs, "files")}))


def _asked_packages(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted({*packages_of(inputs), *touched(inputs, "packages")}))


def touched(inputs: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    """Return what a service's tool may change, in order.

    Args:
        inputs: of the kind ``understudy:index:Service``.
        kind: ``files``, ``packages`` or ``units``.

    >>> touched({"tool": {"files": ["/b", "/a"]}}, "files"), touched({}, "files")
    (('/a', '/b'), ())
    """
    return tuple(sorted((inputs.get("tool") or {}).get(kind) or ()))


def units_of(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the units that a service runs or reloads, in order."""
    return tuple(sorted({*(inputs.get("units") or {}), *filter(None, (inputs.get("reload") or {}).values())}))


def packages_of(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the packages of a service, in order."""
    return tuple(sorted(inputs.get("packages") or {}))


def observed(inputs: Mapping[str, Any], output: bytes) -> Observed:
    """Return what the command `look` printed.

    Raises:
        UnderstudyError: it was cut short.
    """
    reader = _Reader(output)
    reader.expect("files")
    files = {path: reader.file() for path in _asked_files(inputs)}
    reader.expect("units")
    units = {unit: status_of("\n".join(reader.until("end"))) for unit in units_of(inputs)}
    reader.expect("packages")
    installed = (line.split(" ") for line in reader.until("open"))
    packages = {name: version for state, name, version in installed if state == "installed"}
    opened = "".join(reader.until("kept"))
    kept = "".join(reader.until("digest"))
    digest = "".join(reader.until("first manifest"))
    first = _table(reader.until("first units"))
    first_units = _table(reader.until("first packages"))
    first_packages = _table(reader.until("puppet"))
    puppet = frozenset(reader.until("left"))
    notes = reader.until("by hand")
    by_hand = frozenset(reader.until("migrations"))
    made = (line.split("\t") for line in reader.until("complete"))
    return Observed(
        files=files,
        units=units,
        packages=packages,
        open=opened,
        kept=kept,
        digest=digest,
        first_files={path: kind for path, (kind, *_) in first.items() if kind != "nodir"},
        first_units={unit: (enabled, active) for unit, (enabled, active, *_) in first_units.items()},
        first_packages={name: version for name, (version, *_) in first_packages.items()},
        puppet=puppet,
        left={path: left for path, _, left in (line.partition("\t") for line in notes[1:])} if notes else None,
        by_hand=by_hand,
        migrations={(service, name): digest for service, name, digest in made},
    )


def _table(lines: Iterable[str]) -> dict[str, list[str]]:
    rows = (line.split("\t") for line in lines)
    return {key: rest for key, *rest in rows if rest}


class _Reader:
    """Goes through what was printed, line by line or by a number of bytes."""

    def __init__(self, output: bytes) -> None:
        self._output, self._at = output, 0

    def line(self) -> str:
        end = self._output.find(b"\n", self._at)
        if end < 0:
            raise UnderstudyError(where="looking at a service", found="what the machine printed was cut short")
        line = self._output[self._at : end]
        self._at = end + 1
        return line.decode("utf-8", "surrogateescape")

    def expect(self, wanted: str) -> None:
        if (found := self.line()) != wanted:
            raise UnderstudyError(where="looking at a service", found=repr(found), wanted=wanted)

    def until(self, end: str) -> list[str]:
        lines = []
        while (line := self.line()) != end:
            lines.append(line)
        return lines

    def file(self) -> Seen | None:
        head = self.line()
        kind, *words = head.split(" ")
        if kind not in ("file", "link"):
            return seen(f"{head.removeprefix('other ')}\n".encode())
        size = int(words[-1])
        content = self._output[self._at : self._at + size]
        self._at += size
        self.expect("")
        return seen(" ".join((kind, *words[:-1])).encode() + b"\n" + content)
