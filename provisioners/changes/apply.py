"""Runs the steps of a change on a machine; what fails is taken back at once, and so is what somebody left open."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.change import Step
from model.change.kept import KeptChange, kept_changes
from model.change.step import went_well
from model.errors import UnderstudyError
from provisioners.changes.acts import EXCEPT, STILL
from provisioners.changes.marks import mark
from provisioners.changes.observed import CONFIGS, Observed, look, observed
from provisioners.changes.package_texts import SECONDS, package_path
from provisioners.changes.steps import steps_of
from provisioners.commands import scripted
from provisioners.outcome import CommandFailed, ConnectionLost, Result, Stopped, last_lines
from provisioners.shell import Shell

_STEP_SECONDS = 300.0
_COPIED = "what is there now is copied to "


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A change that was made and kept.

    Args:
        backup: the directory on the machine with what was there before.
        steps_done: how many steps it took.
    """

    backup: str
    steps_done: int


def observe(shell: Shell, inputs: Mapping[str, Any]) -> Observed:
    """Return what is on a machine of a service, in one round trip."""
    return observed(inputs, shell.run(look(inputs)).stdout)


def apply(
    shell: Shell, inputs: Mapping[str, Any], found: Observed, *, before: Callable[[Step], None] = lambda _: None
) -> Applied | None:
    """Make a service as it should be, and return what was done; None where nothing was to be done.

    The machine must be locked. A change that somebody left open is taken back first: whoever made it is gone.

    Args:
        shell: the machine.
        inputs: of the kind ``understudy:index:Service``.
        found: what is on the machine.
        before: is told about each step that is about to be done, and may raise to stop there.

    Raises:
        UnderstudyError: a step failed; what was there before is back, or the text says that it is not.
        ConnectionLost: the connection ended; the machine takes the change back by itself.
    """
    with shell.steady() as through:
        if found.open:
            _end_left_over(through, inputs["service"])
            found = observe(through, inputs)
        steps = steps_of(inputs, found)
        if not steps:
            return None
        backup = _Run(through, inputs, before).all(steps)
    return Applied(backup=backup, steps_done=len(steps))


def end_open(shell: Shell, service: str) -> None:
    """Take a change back that somebody left open, if there is one. The machine must be locked.

    Raises:
        UnderstudyError: it was not taken back.
    """
    if shell.run(("test", "-L", f"{CONFIGS}/.open/{service}"), check=False).code == 0:
        _end_left_over(shell, service)


def _end_left_over(shell: Shell, service: str) -> None:
    shell.say(f"{service} on {shell.connection.name}: taking back a change that was left open")
    done = shell.run(scripted("service_left_over", service), check=False, timeout_seconds=SECONDS)
    _require_back(shell, service, done, "a change that was left open")


def _require_back(shell: Shell, service: str, done: Result, what: str) -> str:
    """Return the last line of a script that takes a change back.

    Raises:
        UnderstudyError: it was not taken back.
    """
    said = done.text.rpartition("\n")[2]
    if done.code != 0 or said not in ("backed out", EXCEPT, "kept"):
        raise UnderstudyError(
            where=f"{shell.connection.name}: {service}",
            found=f"{what} was NOT taken back: {last_lines(done.stderr) or last_lines(done.stdout)}",
            todo="The machine tries it again by itself. What was there is in the newest directory of "
            f"{CONFIGS}/{service}; its back-out.sh puts it back and may be run again.",
        )
    return said


class _Run:
    """One run through the steps of a change."""

    def __init__(self, shell: Shell, inputs: Mapping[str, Any], before: Callable[[Step], None]) -> None:
        self._shell, self._inputs, self._before = shell, inputs, before
        self._secrets: Mapping[str, str] = inputs.get("secrets") or {}
        self._backup = ""

    def all(self, steps: Sequence[Step]) -> str:
        """Do them all and return the directory of the copies."""
        service, name = self._inputs["service"], self._shell.connection.name
        for at, step in enumerate(steps, start=1):
            if step.place == "person":  # what shows that it is done comes after it, or was asked for before
                continue
            self._shell.say(f"{service} on {name}: {step.name} ({at} of {len(steps)})")
            self._before(step)
            try:
                failure = self._one(step)
            except (ConnectionLost, Stopped) as error:
                raise self._left(step, error) from error
            if failure is not None:
                self._take_back(step, failure)
        return self._backup

    def _one(self, step: Step) -> str | None:
        """Do one step and return what it said where it failed."""
        if step.place == "controller":
            return self._bring(step)
        given = "".join(f"{self._secrets[name]}\n" for name in step.secrets)
        limit = SECONDS if step.name.startswith(("install ", "migrate ")) else _STEP_SECONDS
        try:
            argv = ("bash", "-c", step.command)
            done = self._shell.run(argv, stdin=given.encode(), check=False, timeout_seconds=limit)
        except CommandFailed as error:
            return error.found
        for line in done.text.splitlines():
            if line.startswith(_COPIED):
                self._backup = line.removeprefix(_COPIED)
        if went_well(step, done.code, done.text):
            return None
        return self._without_secrets(last_lines(done.stderr or done.stdout) or f"ended with {done.code}")

    def _bring(self, step: Step) -> str | None:
        name, version = step.name.split(" ")[1:3]
        package = self._inputs["packages"][name]
        source = Path(package["source"])
        try:
            digest = hashlib.sha256(source.read_bytes()).hexdigest()
        except OSError as error:
            return f"{source}: {error.strerror}"
        if digest != package["sha256"]:
            return f"{source} has the SHA-256 {digest}; wanted {package['sha256']}"
        self._shell.put_stream(_pieces(source), package_path(name, version))
        return None

    def _take_back(self, step: Step, failure: str) -> None:
        service, name = self._inputs["service"], self._shell.connection.name
        failed = f"the step `{step.name}` failed: {failure}"
        try:
            done = self._shell.run(scripted("service_left_over", service), check=False, timeout_seconds=SECONDS)
        except (ConnectionLost, Stopped) as error:
            raise self._left(step, error, failed) from error
        if _require_back(self._shell, service, done, f"{failed}\nThe change") == "kept":
            return
        saved = [line for line in done.text.splitlines() if line.startswith(("what somebody else wrote", STILL))]
        raise UnderstudyError(
            where=f"{name}: {service}",
            found=failed,
            todo="\n".join(("The old configuration is back.", *saved)),
        )

    def _left(self, step: Step, error: UnderstudyError, failed: str = "") -> UnderstudyError:
        seconds = int(self._inputs.get("confirm_seconds") or 120)
        return type(error)(
            where=error.where,
            found=failed or f"{error.found}, at the step `{step.name}` of {self._inputs['service']}",
            todo=f"Unless it goes on, the machine takes its old configuration back by itself within {seconds + 20} s.",
        )

    def _without_secrets(self, text: str) -> str:
        for name in sorted(self._secrets, key=lambda name: -len(self._secrets[name])):
            text = text.replace(self._secrets[name], mark(name))
        return text


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(1 << 18):
            yield piece


def changes_on(shell: Shell) -> tuple[KeptChange, ...]:
    """Return the changes that a machine has copies of, the newest first."""
    return kept_changes(shell.run(scripted("changes_list")).text)


def back_out(shell: Shell, change: KeptChange) -> str:
    """Take a change back, whenever it was made, and return what its script said. The machine must be locked.

    Raises:
        UnderstudyError: something could not be put back.
    """
    done = shell.run(("bash", f"{change.directory}/back-out.sh"), check=False, timeout_seconds=SECONDS)
    _require_back(shell, change.service, done, f"the change {change.identifier}")
    return done.text
