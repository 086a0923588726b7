"""The state of a systemd unit on a machine."""

from __future__ import annotations

from dataclasses import dataclass

from provisioners.shell import Shell

PROPERTIES = (
    "ActiveState,UnitFileState,Result,Type,CanReload,InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic"
)
_ENABLED = ("enabled", "enabled-runtime", "alias", "static", "indirect", "generated", "linked", "linked-runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A unit's state, in systemd's words. Source: systemctl(1), org.freedesktop.systemd1(5).

    Args:
        reloads: whether it can take a new configuration while it runs; else a reload is a restart.
        start_seconds: how long its last start took; None where that is not known.
    """

    active: str
    file: str
    result: str
    type: str
    reloads: bool = False
    start_seconds: float | None = None

    @property
    def enabled(self) -> bool:
        """Return whether it is started at boot, as far as that is in its own hands."""
        return self.file in _ENABLED

    @property
    def runs(self) -> bool:
        """Return whether it runs, or has done its work and need not.

        >>> status_of("ActiveState=inactive\\nType=oneshot\\nResult=success").runs
        True
        >>> status_of("ActiveState=inactive\\nType=simple\\nResult=success").runs
        False
        """
        return self.active in ("active", "reloading") or self.done

    @property
    def done(self) -> bool:
        """Return whether it is one that does its work once, and has."""
        return self.type == "oneshot" and self.active == "inactive" and self.result == "success"


def status_of(text: str) -> Status:
    """Return what ``systemctl show`` printed.

    >>> status_of("ActiveState=active\\nType=notify").active
    'active'
    """
    pairs = dict(line.partition("=")[::2] for line in text.splitlines())
    active, file, result, kind, reloads, begun, there = (pairs.get(key, "") for key in PROPERTIES.split(","))
    return Status(
        active=active,
        file=file,
        result=result,
        type=kind,
        reloads=reloads == "yes",
        start_seconds=_seconds(begun, there),
    )


def _seconds(begun: str, there: str) -> float | None:
    """Return the time between two of systemd's clocks in microseconds, 0 standing for never.

    >>> _seconds("1000000", "1400000"), _seconds("2", "0"), _seconds("", "")
    (0.4, None, None)
    """
    if not (begun.isdigit() and there.isdigit()) or not 0 < int(begun) <= int(there):
        return None
    return (int(there) - int(begun)) / 1e6


def status(shell: Shell, unit: str) -> Status:
    """Return a unit's state."""
    return status_of(shell.run(("systemctl", "show", f"--property={PROPERTIES}", "--", unit)).text)
