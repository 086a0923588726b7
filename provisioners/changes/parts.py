"""Which parts of a service are not as they should be on a machine. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from model.change.digest import change_digest, identifier
from model.errors import UnderstudyError
from provisioners.changes.acts import pending_by_hand, pending_migrations
from provisioners.changes.marks import filled
from provisioners.changes.observed import (
    BEFORE,
    Observed,
    digest_before,
    packages_of,
    paths_of,
    touched,
    units_of,
)
from provisioners.changes.seen import Seen, left_as
from provisioners.provider.inputs import UNIT

_UNITS = ("/etc/systemd/", "/lib/systemd/", "/usr/lib/systemd/", "/usr/local/lib/systemd/", "/run/systemd/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is to be changed on one machine; all in order.

    Args:
        write: paths whose content, mode or owner is another.
        remove: paths where nothing may be, and something is.
        give_back: paths that the service no longer has: the file or link that was there before us comes back.
        install: packages that are not there in the wanted version.
        earlier: those of them that are there in another one.
        enable: units that are to start at boot, and do not.
        restart: units that do not run, or depend on what changes.
        reload: units that take what changes while they run.
        leave: units that the service no longer has, and that did not run before us.
        tool: whether the service's manifest or playbook is applied.
        settle: whether the newest change there was of another text of the service in Git: its checks are run anew.
        by_hand: names of what a person has yet to do.
        migrate: names of the migrations of databases that are yet to be made.
    """

    write: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    give_back: tuple[str, ...] = ()
    install: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()
    enable: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    tool: bool = False
    settle: bool = False
    by_hand: tuple[str, ...] = ()
    migrate: tuple[str, ...] = ()

    @property
    def touched(self) -> tuple[str, ...]:
        """Return every path that changes.

        >>> Parts(write=("/b",), remove=("/a",)).touched
        ('/a', '/b')
        """
        return tuple(sorted((*self.write, *self.remove, *self.give_back)))

    @property
    def units(self) -> tuple[str, ...]:
        """Return every unit that is told something."""
        return tuple(sorted({*self.enable, *self.restart, *self.reload, *self.leave}))

    @property
    def described(self) -> tuple[str, ...]:
        """Return the units whose files change.

        >>> Parts(write=("/etc/systemd/system/a.service", "/etc/systemd/system/b.timer.d/c.conf", "/etc/d")).described
        ('a.service', 'b.timer')
        """
        return tuple(sorted({unit for path in self.touched if (unit := _unit_of(path))}))

    @property
    def of_systemd(self) -> bool:
        """Return whether systemd has to read everything anew: it cannot tell by a unit's file that it changed.

        >>> Parts(write=("/etc/systemd/system/a.service",)).of_systemd
        False
        >>> Parts(give_back=("/etc/systemd/system/a.service",)).of_systemd
        True
        """
        old = any(path.startswith(_UNITS) for path in self.give_back)  # its time of change is the old one
        return old or any(path.startswith(_UNITS) and not _unit_of(path) for path in self.touched)

    def __bool__(self) -> bool:
        """Return whether there is anything to do."""
        return any(getattr(self, name) for name in self.__slots__)


def _unit_of(path: str) -> str:
    """Return the unit that a file or a drop-in of systemd's is of; empty for another, and for a template.

    >>> _unit_of("/etc/systemd/system/a@.service"), _unit_of("/etc/systemd/system/x.target.wants/a.service")
    ('', '')
    """
    folder, _, name = path.rpartition("/")
    if not path.startswith(_UNITS) or folder.endswith((".wants", ".requires")):
        return ""
    unit = folder.rpartition("/")[2].removesuffix(".d") if folder.endswith(".d") else name
    return unit if UNIT.good(unit) and "@." not in unit else ""


def parts(inputs: Mapping[str, Any], found: Observed) -> Parts:
    """Return what is to be changed.

    Args:
        inputs: of the kind ``understudy:index:Service``.
        found: what is on the machine.

    Raises:
        UnderstudyError: where a file is wanted there is something that no file may replace; or a migration was made
            with another text.
    """
    files, secrets = inputs.get("files") or {}, inputs.get("secrets") or {}
    install = tuple(
        name for name in packages_of(inputs) if found.packages.get(name) != inputs["packages"][name]["version"]
    )
    known = {*files, *touched(inputs, "files"), *found.puppet}
    given_up = [path for path in sorted(found.first_files) if path not in known]
    ours = [path for path in paths_of(inputs) if path not in found.puppet]
    # A package may bring another content for any of the files, so with one all of them are put in place again.
    absent = [path for path in ours if files[path].get("absent")]
    removed = [path for path in absent if install or found.files[path]]
    changed = Parts(
        write=tuple(
            path
            for path in ours
            if path not in absent and (install or not _is_so(files[path], found.files[path], secrets))
        ),
        remove=tuple(sorted((*removed, *(path for path in given_up if found.first_files[path] == "absent")))),
        give_back=tuple(path for path in given_up if found.first_files[path] != "absent"),
        install=install,
        earlier=tuple(name for name in install if name in found.packages),
        leave=tuple(unit for unit in sorted(found.first_units) if _left(unit, inputs, found)),
        settle=bool(inputs.get("digest")) and inputs["digest"] != found.digest,
        by_hand=pending_by_hand(inputs, found.by_hand),
        migrate=pending_migrations(inputs, found.migrations),
    )
    _refuse_other_than_files(inputs, found, changed)
    return _with_tool(inputs, found, _with_units(inputs, found, changed))


def _is_so(wanted: Mapping[str, Any], found: Seen | None, secrets: Mapping[str, str]) -> bool:
    if found is None:
        return False
    usual = {"mode": "0644", "owner": "root", "group": "root"}
    who = {key: wanted.get(key) or usual[key] for key in usual}
    content = filled(wanted["content"], secrets).encode("utf-8", "surrogatepass")
    return found.content == content and found.beside(who) == who


def _left(unit: str, inputs: Mapping[str, Any], found: Observed) -> bool:
    enabled, active = found.first_units[unit]
    ours = unit in units_of(inputs) or unit in touched(inputs, "units")
    return not ours and enabled in ("none", "disabled") and active != "active"


def _refuse_other_than_files(inputs: Mapping[str, Any], found: Observed, changed: Parts) -> None:
    for path in changed.touched:
        is_there = found.files.get(path)
        if is_there is not None and not is_there.replaceable:
            raise UnderstudyError(
                where=f"{inputs['connection']['name']}: {path}",
                found=f"there is something else: {is_there.mode.strip('()')}",
                wanted="a file, a symbolic link, or nothing",
                todo="Move it away, or give the file another path.",
            )


def _with_units(inputs: Mapping[str, Any], found: Observed, changed: Parts) -> Parts:
    units: Mapping[str, Mapping[str, Any]] = inputs.get("units") or {}
    touched = set(changed.touched)
    restart = tuple(
        unit
        for unit in sorted(units)
        if changed.install or touched & set(units[unit].get("restart_on") or ()) or not found.units[unit].runs
    )
    told = {unit for path, unit in (inputs.get("reload") or {}).items() if unit and path in touched}
    return replace(
        changed,
        enable=tuple(unit for unit in sorted(units) if not found.units[unit].enabled),
        restart=restart,
        reload=tuple(sorted(told - set(restart))),
    )


def _with_tool(inputs: Mapping[str, Any], found: Observed, changed: Parts) -> Parts:
    """The manifest is applied where anything changes, or what it left is no longer there."""
    if not inputs.get("tool"):
        return changed
    is_there = {path: left_as(found.files[path]) for path in touched(inputs, "files")}
    return replace(changed, tool=bool(changed) or found.left != is_there)


def left_to_puppet(inputs: Mapping[str, Any], found: Observed) -> tuple[str, ...]:
    """Return the service's files that a Puppet manages, and that are other than the service wants them, in order."""
    files, secrets = inputs.get("files") or {}, inputs.get("secrets") or {}
    return tuple(
        path
        for path in paths_of(inputs)
        if path in found.puppet
        and (
            bool(found.files[path])
            if files[path].get("absent")
            else not _is_so(files[path], found.files[path], secrets)
        )
    )


def change_id(inputs: Mapping[str, Any], found: Observed) -> str:
    """Return the name of a change on a machine: that of the change of the service, the same wherever it is made.

    What changes without a change in Git, such as what somebody did by hand, is named by what it consists of: the same
    inputs and the same parts have the same. Secrets' values do not count, and neither do the time and the way there.
    """
    before, after = digest_before(inputs, found), inputs.get("digest") or ""
    if after and before != after:
        return identifier(change_digest(before, after))
    aside = {"connection", "private_key", "generation", "secrets", "adopt", "evidence", "forecasts", BEFORE}
    value = {"parts": asdict(parts(inputs, found)), **{key: inputs[key] for key in inputs if key not in aside}}
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return identifier(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())
