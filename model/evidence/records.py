"""One check, one restore, one drill."""

from __future__ import annotations

import json
from dataclasses import dataclass

from model.errors import UnderstudyError
from model.evidence.values import from_values, to_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check and how it went.

    Args:
        ok: whether it passed. One that could not run has not.
        detail: what was seen, in one line.
        seconds: how long it took; None where nobody measured.
        ran: whether it could run at all.
    """

    name: str
    ok: bool
    detail: str = ""
    seconds: float | None = None
    ran: bool = True

    @property
    def green(self) -> bool:
        """Return whether it counts."""
        return self.ok and self.ran


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """One store that was filled from a snapshot. What is not given is not known: Pulumi drops keys without a value.

    Args:
        snapshot: the snapshot's label.
        taken_at: when it was taken, such as ``2026-11-23T01:00:00Z``.
        data_age_seconds: how old the newest data was when it had been restored; None where that could not be told.
        restore_seconds: how long the restore took; None where it did not end.
        snapshot_digest: of what identifies the snapshot in its repository; empty where it was not noted.
    """

    store: str
    engine: str
    version: str
    machine: str
    snapshot: str
    taken_at: str
    data_age_seconds: float | None = None
    restore_seconds: float | None = None
    checks: tuple[Check, ...] = ()
    system_identifier: str = ""
    snapshot_digest: str = ""

    @property
    def green(self) -> bool:
        """Return whether it counts: it ended, its data's age is known, and it was checked and found good."""
        known = self.data_age_seconds is not None and self.restore_seconds is not None
        return known and bool(self.checks) and all(check.green for check in self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """One proof that the backups can be restored.

    Args:
        at: when it began, such as ``2026-11-23T02:00:00Z``.
        recovery_seconds: from its beginning until everything worked again; None where that was not reached.
        checks: those of the whole environment; the restores have their own.
        fault: why it was cut short; empty where it was not.
    """

    at: str
    stack: str
    recovery_seconds: float | None = None
    restores: tuple[Restore, ...] = ()
    checks: tuple[Check, ...] = ()
    fault: str = ""

    @property
    def all_checks(self) -> tuple[Check, ...]:
        """Return the checks of its restores and its own."""
        return (*(check for restore in self.restores for check in restore.checks), *self.checks)

    @property
    def ok(self) -> bool:
        """Return whether it is green: nothing failed, nothing is unknown, and something was restored."""
        whole = not self.fault and self.recovery_seconds is not None and bool(self.restores)
        restored = all(restore.green for restore in self.restores)
        return whole and restored and all(check.green for check in self.checks)

    @property
    def data_age_seconds(self) -> float | None:
        """Return the age of the oldest data; None where that of any store is unknown."""
        ages = [restore.data_age_seconds for restore in self.restores]
        return max((age for age in ages if age is not None), default=None) if None not in ages else None


def drill_line(drill: Drill) -> str:
    """Return a drill as one line of JSON, without the line's end. ``ok`` stands first, for whoever searches the file.

    >>> drill_line(Drill(at="2026-11-23T02:00:00Z", stack="stage", recovery_seconds=None, fault="no backup"))[:42]
    '{"ok":false,"at":"2026-11-23T02:00:00Z","s'
    """
    return json.dumps({"ok": drill.ok, **to_values(drill)}, separators=(",", ":"), allow_nan=False)


def drill_from_values(values: object) -> Drill:
    """Return the drill that plain values describe.

    Raises:
        UnderstudyError: they describe none.
    """
    return from_values(Drill, values, "drill")


def drill_from_line(text: str) -> Drill:
    """Return the drill that a line describes.

    Raises:
        UnderstudyError: it is no such line, or its ``ok`` is not what its parts say.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnderstudyError(where="drill", found=f"no JSON ({error})", wanted="one line a drill") from error
    if not isinstance(values, dict):
        raise UnderstudyError(where="drill", found="no mapping", wanted="one line a drill")
    said = values.pop("ok", None)
    drill = drill_from_values(values)
    if said is not drill.ok:
        raise UnderstudyError(where=f"drill of {drill.at}", found=f"ok: {said}", wanted=f"{drill.ok}, as its parts say")
    return drill
