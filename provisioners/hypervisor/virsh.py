"""The one door to libvirt: ``virsh`` with argument lists. A daemon that restarts is waited for."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from model.errors import UnderstudyError
from provisioners.commands import command_line
from provisioners.outcome import Deadline, Say, last_lines, pause

LOCAL = "qemu:///system"
_ABSENT = (
    "domain not found",
    "failed to get domain",
    "no domain with matching",
    "network not found",
    "failed to get network",
    "no network with matching",
    "storage pool not found",
    "failed to get pool",
    "no storage pool with matching",
)
_AWAY = (
    "failed to connect to the hypervisor",
    "failed to connect socket",
    "end of file while reading data",
    "cannot recv data",
    "cannot write data",
    "client socket is closed",
    "connection reset by peer",
    "disconnected from",
)
_INTERRUPTED = "failed to load cgroup bpf prog: resource temporarily unavailable"
"""A signal came while the kernel looked through the filter of a new machine's devices, as happens once in some hundred
starts, where many machines start at a time. Whoever loads such a program asks again; libvirt 9.0 does not.

Source: Linux, kernel/bpf/verifier.c, do_check; libvirt, src/util/vircgroupv2devices.c.
"""
_PATIENCE_SECONDS = 60.0
_VERSIONS: dict[str, str] = {}
_BETWEEN = "/"
"""Stands between what two commands print: libvirt has no machine, network or pool with it in its name."""


class VirshFailed(UnderstudyError):
    """Libvirt refused something; its own words are in the text."""


class Absent(VirshFailed):
    """What was asked about is not there."""


def is_away(said: str) -> bool:
    """Return whether these words mean that the daemon is not there at the moment, and nothing about what was asked.

    >>> is_away("error: failed to connect to the hypervisor"), is_away("error: Domain not found")
    (True, False)
    """
    return any(sign in said.lower() for sign in _AWAY)


def is_interrupted(said: str) -> bool:
    """Return whether these words mean that a machine's start was cut off by chance, and nothing is left of it.

    >>> is_interrupted("error: failed to load cgroup BPF prog: Resource temporarily unavailable")
    True
    """
    return _INTERRUPTED in said.lower()


def is_absent(said: str) -> bool:
    """Return whether these words mean that what was asked about does not exist.

    >>> is_absent("error: failed to get domain 'a'"), is_absent("error: internal error")
    (True, False)
    """
    return any(sign in said.lower() for sign in _ABSENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Virsh:
    """Libvirt on one host.

    Args:
        uri: where it is, such as ``qemu:///system``.
        say: is told when the daemon has to be waited for.
    """

    uri: str = LOCAL
    say: Say = lambda _: None

    def run(self, *argv: str, timeout_seconds: float = 120, stdin: str = "", several: bool = False) -> str:
        """Run one command of virsh and return what it printed.

        Args:
            argv: the command and its arguments.
            timeout_seconds: how long it may take.
            stdin: what it reads.
            several: whether it is several commands, of which virsh tells alone how the last one ended.

        Raises:
            Absent: what it is about does not exist.
            VirshFailed: it refused, or took too long.
            Stopped: the user asked to stop.
        """
        deadline = Deadline(_PATIENCE_SECONDS)
        while True:
            code, printed, said = self._once(argv, timeout_seconds, stdin)
            if code == 0 and not (several and said.strip()):
                return printed
            if deadline.left <= 0 or not (is_away(said) or is_interrupted(said)):
                raise self._failure(argv, said)
            if is_away(said):
                self.say("libvirt's daemon is away; waiting for it")
            pause(1.0, self.uri)

    def run_all(self, *commands: Sequence[str]) -> None:
        """Run several commands in one process, which saves time; that one fails does not keep the next from being run.

        Raises:
            VirshFailed, Absent, Stopped: as `run`.
        """
        self.run("; ".join(command_line(command) for command in commands), several=True)

    def version(self) -> str:
        """Return what `virsh version` prints: libvirt's and qemu's. It is asked once a process, for all machines."""
        if self.uri not in _VERSIONS:
            _VERSIONS[self.uri] = self.run("version")
        return _VERSIONS[self.uri]

    def exists(self, *argv: str) -> bool:
        """Return whether what this command is about exists."""
        try:
            self.run(*argv)
        except Absent:
            return False
        return True

    def state(self, domain: str) -> str:
        """Return a domain's state, such as ``running`` or ``shut off``; empty where there is no such domain."""
        try:
            return self.run("domstate", domain).strip()
        except Absent:
            return ""

    def names(self, *argv: str) -> tuple[str, ...]:
        """Return the names that a listing command prints, one a line."""
        return _names(self.run(*argv, "--name"))

    def all_names(self, *commands: Sequence[str]) -> list[tuple[str, ...]]:
        """Return what `names` gives of several listing commands, from one process."""
        listing = [each for command in commands for each in ((*command, "--name"), ("echo", _BETWEEN))]
        parts = self.run("; ".join(command_line(command) for command in listing), several=True).split(_BETWEEN)
        return [_names(part) for part in parts[: len(commands)]]

    def _once(self, argv: Sequence[str], timeout_seconds: float, stdin: str) -> tuple[int, str, str]:
        command = ["virsh", "--quiet", "--connect", self.uri, *argv]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                input=stdin.encode(),
                timeout=timeout_seconds,
                env=environment,
                check=False,
            )
        except FileNotFoundError:
            raise VirshFailed(
                where=self.uri, found="the command virsh is missing", todo="Run `./run`: it says what to install."
            ) from None
        except subprocess.TimeoutExpired:
            raise VirshFailed(
                where=self.uri,
                found=f"`virsh {argv[0]}` gave no answer in {timeout_seconds:g} s",
                todo="See whether libvirtd hangs: `virsh list`. Then run it again.",
            ) from None
        return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")

    def _failure(self, argv: Sequence[str], said: str) -> VirshFailed:
        lines = last_lines(said.encode(), 4).splitlines()
        words = "; ".join(line.removeprefix("error: ") for line in lines) or "no reason given"
        if is_absent(said):
            return Absent(where=self.uri, found=f"`virsh {' '.join(argv[:2])}`: {words}")
        todo = "Start libvirtd, then run it again." if is_away(said) else ""
        return VirshFailed(where=self.uri, found=f"`virsh {' '.join(argv[:2])}`: {words}", todo=todo)


def _names(printed: str) -> tuple[str, ...]:
    return tuple(name for line in printed.splitlines() if (name := line.strip()))


def wait_for_state(virsh: Virsh, domain: str, wanted: Sequence[str], seconds: float) -> bool:
    """Wait until a domain is in one of these states (empty: it is gone), and return whether it came to that."""
    deadline = time.monotonic() + seconds
    while virsh.state(domain) not in wanted:
        if time.monotonic() > deadline:
            return False
        pause(0.5, domain)
    return True
