"""A systemd unit: enabled or not, running or not, restarted when what it depends on changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.connection import connection_of_url
from model.errors import UnderstudyError
from provisioners.commands import scripted
from provisioners.outcome import Deadline, Say, pause
from provisioners.provider.inputs import COMMON, FLAG, REACH, UNIT, WORDS, Rule, failures, optional
from provisioners.provider.kinds import Failure, HalfMade, Real, Values
from provisioners.provider.machines import changing, reach_of, reading
from provisioners.shell import Shell

_RULES: Mapping[str, Rule] = {
    **COMMON,
    "unit": UNIT,
    "running": optional(FLAG),
    "enabled": optional(FLAG),
    "restart_on": optional(WORDS),
}
_SETTLE_SECONDS = 90.0
_STEADY_SECONDS = 1.0
"""A service that falls over at once is not running: this long it must stay up, if it does not say when it is ready."""
_ENABLED = ("enabled", "enabled-runtime", "alias", "static", "indirect", "generated", "linked", "linked-runtime")
_PROPERTIES = "LoadState,ActiveState,SubState,UnitFileState,Result,Type"


class Unit:
    """Kind ``understudy:index:Unit``."""

    token = "understudy:index:Unit"
    secret_outputs: frozenset[str] = frozenset()
    replace_on = frozenset({"unit"})
    ignored = REACH

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        return failures(inputs, _RULES)

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Enable and (re)start it, or stop and disable it; it must then be so.

        Raises:
            HalfMade: systemd was told, and it is not so.
        """
        identifier = f"{inputs['connection']['name']}:{inputs['unit']}"
        # Restart, not start: what its configuration became since it was started by somebody else must count.
        verb = "restart" if _running(inputs) else "stop"
        with changing(inputs, f"setting {inputs['unit']}", say) as shell:
            try:
                return identifier, {"active_state": settle(shell, inputs, verb)}
            except NotRightError as error:
                raise HalfMade(identifier=identifier, outputs={"active_state": error.state}, cause=error) from error

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return whether it runs and is enabled; imports ``ssh://user@host/unit``."""
        unit = inputs["unit"] if inputs else connection_of_url(identifier)[1].lstrip("/")
        with reading(inputs, identifier, say) as shell:
            found, reach = status(shell, unit), reach_of(shell)
        if found.load == "not-found":
            return None
        real = dict(inputs or {**reach, "unit": unit})
        if found.runs != _running(inputs):
            real["running"] = found.runs
        if found.enabled != _enabled(inputs):
            real["enabled"] = found.enabled
        return Real(inputs=real, outputs={"active_state": found.active})

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Restart it where something that it depends on changed; start or stop it where that changed."""
        touched = any(old.get(key) != inputs.get(key) for key in ("restart_on", "generation"))
        restarts = touched or _running(old) != _running(inputs) or outputs.get("active_state") != "active"
        verb = ("restart" if restarts else "start") if _running(inputs) else "stop"
        with changing(inputs, f"setting {inputs['unit']}", say) as shell:
            return {"active_state": settle(shell, inputs, verb)}

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Stop and disable it, if it is still there."""
        with changing(inputs, f"stopping {inputs['unit']}", say, identifier) as shell:
            if status(shell, inputs["unit"]).load not in ("not-found", "masked"):
                settle(shell, {**inputs, "running": False, "enabled": False}, "stop")


def _running(inputs: Mapping[str, Any]) -> bool:
    return inputs.get("running") is not False


def _enabled(inputs: Mapping[str, Any]) -> bool:
    return inputs.get("enabled") is not False


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A unit's state, in systemd's words. Source: systemctl(1), org.freedesktop.systemd1(5)."""

    load: str
    active: str
    sub: str
    file: str
    result: str
    type: str

    @property
    def enabled(self) -> bool:
        """Return whether it is started at boot, as far as that is in its own hands."""
        return self.file in _ENABLED

    @property
    def runs(self) -> bool:
        """Return whether it runs, or has done its work and need not."""
        return self.active in ("active", "reloading") or self.done

    @property
    def done(self) -> bool:
        """Return whether it is one that does its work once, and has."""
        return self.type == "oneshot" and self.active == "inactive" and self.result == "success"

    @property
    def moves(self) -> bool:
        """Return whether it will be in another state by itself soon."""
        return self.active in ("activating", "deactivating", "reloading") or self.sub == "auto-restart"

    @property
    def says_when_ready(self) -> bool:
        """Return whether being active already means that it works."""
        return self.type not in ("simple", "exec", "idle") or self.sub == "exited"


def status_of(text: str) -> Status:
    """Return what ``systemctl show`` printed.

    >>> status_of("LoadState=loaded\\nActiveState=active").active
    'active'
    """
    pairs = dict(line.partition("=")[::2] for line in text.splitlines())
    load, active, sub, file, result, kind = (pairs.get(key, "") for key in _PROPERTIES.split(","))
    return Status(load=load, active=active, sub=sub, file=file, result=result, type=kind)


def status(shell: Shell, unit: str) -> Status:
    """Return a unit's state."""
    return status_of(shell.run(("systemctl", "show", f"--property={_PROPERTIES}", "--", unit)).text)


class NotRightError(UnderstudyError):
    """A unit is not as it should be. Its text has the last lines of the unit's log."""

    state = "failed"


def settle(shell: Shell, inputs: Mapping[str, Any], verb: str) -> str:
    """Start, restart or stop a unit, wait until it has settled, and return its ActiveState.

    Raises:
        NotRightError: it is not as it should be.
    """
    unit, wanted = inputs["unit"], _running(inputs)
    able = "enable" if _enabled(inputs) else "disable"
    done = shell.run(scripted("unit", unit, able, verb, _PROPERTIES), check=False)
    found = status_of(done.text)
    patience, steady = Deadline(_SETTLE_SECONDS), Deadline(_STEADY_SECONDS)
    while True:
        right = found.runs if wanted else not found.runs or found.done
        if done.code == 0 and right and (not wanted or found.says_when_ready or steady.left <= 0):
            return found.active
        if done.code != 0 or patience.left <= 0 or not (found.moves or right):
            raise not_right(shell, unit, found, done.stderr, wanted=wanted)
        if not right:
            shell.say(f"{unit} on {shell.connection.name} is {found.active} ({patience.elapsed:.0f} s)")
        pause(0.4, shell.connection.name)
        found = status(shell, unit)


def not_right(shell: Shell, unit: str, found: Status, stderr: bytes, *, wanted: bool) -> NotRightError:
    """Return the error for a unit that is not as it should be, with the last lines of its log."""
    log = shell.run(("journalctl", "--no-pager", "--output=cat", "--lines=15", f"--unit={unit}"), check=False).text
    lines = "\n".join(f"    {line}" for line in (log or stderr.decode("utf-8", "replace")).strip().splitlines())
    return NotRightError(
        where=f"{shell.connection.name}: {unit}",
        found=", ".join(filter(None, (found.load, found.active, found.sub, found.result))) or "systemd refused",
        wanted="active" if wanted else "inactive",
        todo=f"Its log ends with:\n{lines}\n  More: journalctl -u {unit}",
    )
