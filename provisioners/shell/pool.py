"""Connections that are shared between the threads of this process, one for each machine and key."""

from __future__ import annotations

import atexit
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from model.connection import Connection
from model.errors import UnderstudyError
from provisioners.outcome import Deadline, NeverBegun, Say, pause
from provisioners.shell.dial import dial_patiently
from provisioners.shell.link import Link, Session

_SESSIONS = 8
"""Commands at a time over one connection. Source: sshd_config(5), MaxSessions, whose default is 10."""
_IDLE_SECONDS = 60.0
_MEMORY_SECONDS = 5.0
_AGAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """What came of the last try to connect, so that the many resources of a dead machine do not each wait in turn."""

    error: UnderstudyError
    at: float
    waited_seconds: float

    def counts_for(self, patience: Deadline) -> bool:
        """Return whether somebody with this patience need not try again."""
        meanwhile = patience.left <= 0 and self.at > patience.began
        just_now = time.monotonic() - self.at < _MEMORY_SECONDS
        return meanwhile or (just_now and 1 <= patience.seconds <= self.waited_seconds)


class Line:
    """The way to one machine: its connection, made when it is needed, and made again after it was lost."""

    def __init__(self, connection: Connection, private_key: str) -> None:
        self.connection, self._private_key = connection, private_key
        self._link: Link | None = None
        self._dialling = threading.Lock()
        self._sessions = threading.BoundedSemaphore(_SESSIONS)
        self._failure: _Failure | None = None
        self.users, self.idle_since = 0, time.monotonic()
        self.proven = True
        """Whether the connection was used since it was lent; one that lay idle may be another boot's."""

    @property
    def alive(self) -> bool:
        """Return whether the connection stands."""
        return self._link is not None and self._link.alive

    def connect(self, say: Say, patience_seconds: float) -> None:
        """Connect, unless the connection stands; several threads may ask at once, and one of them dials.

        Raises:
            Unreachable, WrongHostKey, Stopped: as `dial_patiently`.
        """
        patience, name = Deadline(patience_seconds), self.connection.name
        while not self._dialling.acquire(timeout=0.5):
            say(f"waiting for {name}'s SSH ({patience.elapsed:.0f} s)")
            pause(0, name)
        try:
            if self.alive:
                return
            if self._failure is not None and self._failure.counts_for(patience):
                raise self._failure.error  # whoever dialled waited long enough for both
            try:
                self._link = dial_patiently(self.connection, self._private_key, say, patience)
                self.proven = True
            except UnderstudyError as error:
                self._failure = _Failure(error=error, at=time.monotonic(), waited_seconds=patience.elapsed)
                raise
        finally:
            self._dialling.release()

    @contextmanager
    def session(self, command: str, say: Say) -> Iterator[Session]:
        """Run a command; waits where too many run already.

        Args:
            command: for the machine's shell.
            say: is told about waiting, where the connection had ended while nobody used it and is made again.

        Raises:
            ConnectionLost: the connection has ended.
        """
        while not self._sessions.acquire(timeout=0.5):
            pause(0, self.connection.name)
        try:
            session = self._open(command, say)
            try:
                yield session
            finally:
                session.close()
        finally:
            self._sessions.release()

    def _open(self, command: str, say: Say) -> Session:
        if self._link is None:
            raise UnderstudyError(where=self.connection.name, found="not connected")
        try:
            session = self._link.open(command)
        except NeverBegun:
            if self.proven:  # it was lost in use: whoever uses it may rely on more than the connection, such as a lock
                raise
            self.connect(say, _AGAIN_SECONDS)
            session = self._link.open(command)
        self.proven = True
        return session

    def close(self) -> None:
        """End the connection; whatever runs over it raises `ConnectionLost`."""
        if self._link is not None:
            self._link.close()


_lines: dict[tuple[Connection, str], Line] = {}
_guard = threading.Lock()
_reaping = threading.Event()


@contextmanager
def line(connection: Connection, private_key: str) -> Iterator[Line]:
    """Lend this process's line to a machine."""
    key = connection, hashlib.sha256(private_key.encode()).hexdigest()
    with _guard:
        lent = _lines.setdefault(key, Line(connection, private_key))
        lent.proven &= lent.users > 0
        lent.users += 1
        _start_reaper()
    try:
        yield lent
    finally:
        with _guard:
            lent.users -= 1
            lent.idle_since = time.monotonic()


def _start_reaper() -> None:
    if not _reaping.is_set():
        _reaping.set()
        threading.Thread(target=_reap, name="idle-connections", daemon=True).start()


def _reap() -> None:
    while True:
        time.sleep(5)
        close_idle(_IDLE_SECONDS)


def close_idle(seconds: float) -> None:
    """End the connections that nobody has used for so long."""
    with _guard:
        idle = [key for key, lent in _lines.items() if not lent.users and time.monotonic() - lent.idle_since >= seconds]
        gone = [_lines.pop(key) for key in idle]
    for lent in gone:
        lent.close()


@atexit.register
def close_all() -> None:
    """End all connections of this process."""
    with _guard:
        gone = list(_lines.values())
        _lines.clear()
    for lent in gone:
        lent.close()
