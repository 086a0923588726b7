"""A systemd unit: enabled or not, running or not, restarted when what it depends on changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.connection import connection_of_url
from model.errors import UnderstudyError
from provisioners.outcome import Deadline, Say, pause
from provisioners.provider.inputs import COMMON, FLAG, REACH, UNIT, WORDS, Rule, failures, optional
from provisioners.provider.kinds import Failure, HalfMade, Real, Values
from provisioners.provider.machines import changing, reading
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
_SAYS_NOTHING = ("simple", "exec", "idle")
_ENABLED = ("enabled", "enabled-runtime", "alias", "static", "indirect", "generated", "linked", "linked-runtime")
_SHOW = ("LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "Type")


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
        """Enable and (re)start it, or stop and disable it; it must then be so."""
        identifier = f"{inputs['connection']['name']}:{inputs['unit']}"
        with changing(inputs, f"starting {inputs['unit']}", say) as shell:
            shell.run(("systemctl", "daemon-reload"))
            self._able(shell, inputs)
            # Restart, not start: what its configuration became since it was started by somebody else must count.
            verb = "restart" if _running(inputs) else "stop"
            try:
                return identifier, {"active_state": _act(shell, inputs, verb, say)}
            except UnderstudyError as error:
                if not shell.alive:
                    raise
                raise HalfMade(identifier=identifier, outputs={"active_state": "failed"}, cause=error) from error

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return whether it runs and is enabled; imports ``ssh://user@host/unit``."""
        unit = inputs["unit"] if inputs else connection_of_url(identifier)[1].lstrip("/")
        with reading(inputs, identifier, say) as shell:
            found = status(shell, unit)
            connection = shell.connection.values()
        if found["LoadState"] == "not-found":
            return None
        wanted = inputs or {"connection": connection, "private_key": "", "generation": "", "unit": unit}
        running = found["ActiveState"] in ("active", "reloading", "activating")
        enabled = found["UnitFileState"] in _ENABLED
        real = {**wanted}
        if running != _running(wanted) or not inputs:
            real["running"] = running
        if enabled != _enabled(wanted) or not inputs:
            real["enabled"] = enabled
        return Real(inputs=real, outputs={"active_state": found["ActiveState"]})

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Restart it where something that it depends on changed; start or stop it where that changed."""
        if _running(inputs) and (_running(old) != _running(inputs) or self._touched(old, inputs)):
            return self._whole(inputs, say)
        with changing(inputs, f"setting {inputs['unit']}", say) as shell:
            self._able(shell, inputs)
            return {"active_state": _act(shell, inputs, "start" if _running(inputs) else "stop", say)}

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Stop and disable it, if it is still there."""
        with changing(inputs, f"stopping {inputs['unit']}", say) as shell:
            if status(shell, inputs["unit"])["LoadState"] not in ("not-found", "masked"):
                shell.run(("systemctl", "disable", "--now", "--", inputs["unit"]), check=False)
                _act(shell, {**inputs, "running": False}, "stop", say)

    def _whole(self, inputs: Values, say: Say) -> Values:
        try:
            return self.create(inputs, say)[1]
        except HalfMade as error:
            raise UnderstudyError(where=error.where, found=error.found, wanted=error.wanted, todo=error.todo) from error

    @staticmethod
    def _touched(old: Values, inputs: Values) -> bool:
        return any(old.get(key) != inputs.get(key) for key in ("restart_on", "generation"))

    @staticmethod
    def _able(shell: Shell, inputs: Values) -> None:
        verb = "enable" if _enabled(inputs) else "disable"
        shell.run(("systemctl", verb, "--", inputs["unit"]))


def _running(inputs: Mapping[str, Any]) -> bool:
    return inputs.get("running") is not False


def _enabled(inputs: Mapping[str, Any]) -> bool:
    return inputs.get("enabled") is not False


def status(shell: Shell, unit: str) -> dict[str, str]:
    """Return a unit's state as systemd shows it: LoadState, ActiveState, SubState, UnitFileState, Result, Type."""
    shown = shell.run(("systemctl", "show", f"--property={','.join(_SHOW)}", "--", unit))
    pairs = dict(line.partition("=")[::2] for line in shown.text.splitlines())
    return {key: pairs.get(key, "") for key in _SHOW}


def _act(shell: Shell, inputs: Mapping[str, Any], verb: str, say: Say) -> str:
    """Start, restart or stop a unit, wait until it has settled, and return its ActiveState.

    Raises:
        UnderstudyError: it is not as it should be; the text has the last lines of its log.
    """
    unit, wanted = inputs["unit"], _running(inputs)
    done = shell.run(("systemctl", verb, "--", unit), check=False)
    patience, steady = Deadline(_SETTLE_SECONDS), Deadline(_STEADY_SECONDS)
    while True:
        found = status(shell, unit)
        state = found["ActiveState"]
        settled = state in ("active", "inactive", "failed") and found["SubState"] != "auto-restart"
        right = state == "active" if wanted else state in ("inactive", "failed")
        # A oneshot service that did its work is inactive, and was right.
        right = right or (
            wanted and done.code == 0 and state == "inactive" and found["Result"] == "success" and verb != "stop"
        )
        stays = found["Type"] not in _SAYS_NOTHING or found["SubState"] in ("exited", "dead") or steady.left <= 0
        if done.code == 0 and right and (stays or not wanted):
            return state
        if done.code != 0 or patience.left <= 0 or (settled and not right):
            raise _not_right(shell, unit, found, wanted, done.stderr)
        if not right:
            say(f"{unit} on {shell.connection.name} is {state} ({patience.elapsed:.0f} s)")
        pause(0.3, shell.connection.name)


def _not_right(shell: Shell, unit: str, found: Mapping[str, str], wanted: bool, stderr: bytes) -> UnderstudyError:
    log = shell.run(("journalctl", "--no-pager", "--output=cat", "--lines=15", f"--unit={unit}"), check=False).text
    lines = "\n".join(f"    {line}" for line in (log or stderr.decode("utf-8", "replace")).strip().splitlines())
    return UnderstudyError(
        where=f"{shell.connection.name}: {unit}",
        found=f"{found['LoadState']}, {found['ActiveState']} ({found['SubState']}, {found['Result']})",
        wanted="active" if wanted else "inactive",
        todo=f"Its log ends with:\n{lines}\n  More: journalctl -u {unit}",
    )
