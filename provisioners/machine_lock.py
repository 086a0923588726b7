"""No two controllers change one machine: a lock on the machine itself, held by the SSH session.

It is free again as soon as the session ends or the controller is silent, and never survives a reboot. The threads of
one process share it. Where it is lost while something runs, the connection is dropped, so that nobody goes on without.
"""

from __future__ import annotations

import getpass
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from model.connection import Connection
from model.errors import UnderstudyError
from provisioners.commands import scripted
from provisioners.outcome import Deadline, pause
from provisioners.shell import ConnectionLost, Shell

LOCK_FILE = "/run/understudy.lock"
_BEAT_SECONDS = 10.0
_SILENCE_SECONDS = 60
_ANSWER_SECONDS = 60.0
_LINGER_SECONDS = 3.0
"""The lock outlives its last user a little, because resources follow one another and each taking costs a second."""


class _Lock:
    """This process's hold on one machine."""

    def __init__(self) -> None:
        self.users = 0
        self.busy_with = ""
        self.state = "free"  # free → asking → held → free
        self.changed = threading.Condition()
        self._idle = Deadline(_LINGER_SECONDS)

    def ask(self, shell: Shell, what: str) -> None:
        """Start the session that holds the lock; `changed` tells when the state is no longer ``asking``."""
        self.state = "asking"
        threading.Thread(target=self._hold, args=(shell, what), daemon=True).start()

    def idle(self) -> None:
        """Begin to linger."""
        self._idle = Deadline(_LINGER_SECONDS)

    def _hold(self, shell: Shell, what: str) -> None:
        try:
            argv = scripted("lock", LOCK_FILE, holder(what), str(_SILENCE_SECONDS))
            shell.stream_lines(argv, self._heard, stdin=self._beats(), check=False)
        except UnderstudyError:
            pass  # the state says it; whoever uses the machine meets the error itself
        finally:
            with self.changed:
                lost = self.state == "held" and self.users > 0
                self.state = "free"
                self.changed.notify_all()
            if lost:
                shell.drop()

    def _heard(self, line: str) -> None:
        with self.changed:
            if line == "held":
                self.state, self.busy_with = "held", ""
            else:
                self.busy_with = line.removeprefix("busy ").strip() or "somebody"
            self.changed.notify_all()

    def _beats(self) -> Iterator[bytes]:
        last = time.monotonic()
        while True:
            with self.changed:
                if self.state == "held" and not self.users and self._idle.left <= 0:
                    self.state = "ending"
                    return
            if time.monotonic() - last > _BEAT_SECONDS:
                last = time.monotonic()
                yield b"\n"
            yield b""
            time.sleep(0.25)


_locks: dict[Connection, _Lock] = {}
_guard = threading.Lock()


def holder(what: str) -> str:
    """Return how this controller is named to others who wait for the machine."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    return f"{getpass.getuser()}@{socket.gethostname()} process {os.getpid()} since {now}, for {what}"


@contextmanager
def machine_lock(shell: Shell, what: str, patience_seconds: float = 600.0) -> Iterator[None]:
    """Keep other controllers from changing the machine.

    Args:
        shell: the machine.
        what: what for, in a few words; whoever waits is shown it.
        patience_seconds: how long another controller may take.

    Raises:
        UnderstudyError: another controller still holds the machine; the text names it.
        ConnectionLost: the connection ended; inside the block it can also mean that the lock was lost.
    """
    with _guard:
        lock = _locks.setdefault(shell.connection, _Lock())
    _take(lock, shell, what, Deadline(patience_seconds))
    try:
        yield
    finally:
        with lock.changed:
            lock.users -= 1
            lock.idle()


def _take(lock: _Lock, shell: Shell, what: str, patience: Deadline) -> None:
    name = shell.connection.name
    lost = Deadline(_ANSWER_SECONDS)
    while True:
        with lock.changed:
            if lock.state == "held":
                lock.users += 1
                return
            if lock.state == "free":
                lock.ask(shell, what)
            lock.changed.wait_for(lambda: lock.state in ("held", "free"), timeout=1.0)
            if lock.state == "held":
                continue
            busy_with = lock.busy_with
        if not busy_with and (lost.left <= 0 or not shell.alive):
            raise ConnectionLost(where=name, found="the machine's lock could not be asked for", todo="Run it again.")
        if busy_with and patience.left <= 0:
            raise UnderstudyError(
                where=name,
                found=f"another controller is changing it: {busy_with}",
                todo="Wait until it is done. If its process is gone, the lock is free within a minute.",
            )
        if busy_with:
            shell.say(f"{name} is being changed by {busy_with}: waiting ({patience.elapsed:.0f} s)")
        pause(1.5 if busy_with else 0.2, name)
