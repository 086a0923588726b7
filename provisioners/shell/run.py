"""What a machine can be told: run this, put that, get it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from model.connection import Connection
from provisioners import commands
from provisioners.commands import command_line, limited, privileged, scripted
from provisioners.outcome import CommandFailed, Deadline, Result, Say, Stopped, stopping
from provisioners.shell.link import Session
from provisioners.shell.pool import Line
from provisioners.shell.talk import Talk, can_be_told

Stdin = bytes | Iterable[bytes] | None

_GRACE_SECONDS = 10.0
"""After a request to stop, a short command may still end, so that nothing is left half done."""
_ERRORS_KEPT = 65536


class Shell:
    """A machine over SSH, as root. Made by `provisioners.shell.connect`; may be used by several threads."""

    def __init__(self, way: Line, say: Say, talk: Talk | None = None) -> None:
        self._way, self.say, self._talk = way, say, talk

    @property
    def connection(self) -> Connection:
        """Return how the machine is reached."""
        return self._way.connection

    @property
    def alive(self) -> bool:
        """Return whether the connection stands."""
        return self._way.alive

    def reconnect(self, patience_seconds: float) -> None:
        """Connect again after `ConnectionLost`. A machine lock has been lost as well."""
        self._way.connect(self.say, patience_seconds)

    def drop(self) -> None:
        """End the connection for everybody who shares it; their commands raise `ConnectionLost`."""
        self._way.close()

    @contextmanager
    def steady(self) -> Iterator[Shell]:
        """Give a shell for one thread, with one session for all that it runs, and none while it does anything else."""
        talk = self._talk or Talk(self._way)
        try:
            yield Shell(self._way, self.say, talk)
        finally:
            talk.end()

    def run(
        self, argv: Sequence[str], *, stdin: Stdin = None, check: bool = True, timeout_seconds: float = 300.0
    ) -> Result:
        """Run a command and return what it printed.

        Args:
            argv: the command and its arguments; no secrets, since everybody on the machine can read them.
            stdin: its standard input, whole or in pieces; nothing where None.
            check: whether another code than 0 is an error.
            timeout_seconds: the machine ends the command after this long.

        Raises:
            CommandFailed: it ended with another code than 0 (with ``check``), or took too long.
            ConnectionLost: the connection ended first.
            Stopped: the user asked to stop, and it did not end within seconds.
        """
        limit = Deadline(timeout_seconds)
        if self._talk is not None and can_be_told(argv, stdin):
            leave = _Leave(self.connection.name, argv, limit, _GRACE_SECONDS)
            given = stdin if isinstance(stdin, bytes) else b""
            told = self._talk.ask(argv, given, timeout_seconds, leave.tick, self.say)
            return self._checked(told, check, limit)
        output = bytearray()
        ended = self._run(limited(argv, seconds=timeout_seconds), output.extend, stdin, limit, _GRACE_SECONDS)
        result = Result(argv=tuple(argv), stdout=bytes(output), stderr=ended.stderr, code=ended.code)
        return self._checked(result, check, limit)

    def greet(self) -> None:
        """See that it runs commands: the least of all, which a shell has within itself.

        Raises:
            CommandFailed, ConnectionLost, Stopped: as `run`.
        """
        ended = self._run(("true",), lambda _: None, None, Deadline(300.0), _GRACE_SECONDS)
        self._checked(ended, check=True, limit=None)

    def stream(
        self,
        argv: Sequence[str],
        on_output: Callable[[bytes], None],
        *,
        stdin: Stdin = None,
        check: bool = True,
        timeout_seconds: float | None = None,
    ) -> Result:
        """Run a command and hand on its standard output as it comes; the result has only its standard error.

        Raises:
            CommandFailed, ConnectionLost, Stopped: as `run`; a request to stop ends it at once.
        """
        line = limited(argv, seconds=timeout_seconds) if timeout_seconds else tuple(argv)
        limit = Deadline(timeout_seconds) if timeout_seconds else None
        return self._checked(self._run(line, on_output, stdin, limit, 0.0), check, limit)

    def stream_lines(
        self,
        argv: Sequence[str],
        on_line: Callable[[str], None],
        *,
        stdin: Stdin = None,
        check: bool = True,
        timeout_seconds: float | None = None,
    ) -> Result:
        """Run a command and hand on its standard output line by line; otherwise as `stream`."""
        rest = bytearray()

        def split(data: bytes) -> None:
            rest.extend(data)
            *whole, last = bytes(rest).split(b"\n")
            rest[:] = last
            for line in whole:
                on_line(line.decode("utf-8", "replace"))

        result = self.stream(argv, split, stdin=stdin, check=check, timeout_seconds=timeout_seconds)
        if rest:
            on_line(rest.decode("utf-8", "replace"))
        return result

    def get(self, path: str) -> bytes:
        """Return a file's content.

        Raises:
            CommandFailed: it cannot be read.
        """
        return self.run(("cat", "--", path)).stdout

    def put(
        self,
        content: bytes,
        path: str,
        *,
        mode: str = "0600",
        owner: str = "root",
        group: str = "root",
    ) -> None:
        """Write a file so that readers see the old content or the new, and a crash leaves one of them.

        Args:
            content: may be secret; it travels on standard input.
            path: where; its directory is made where it is missing.
            mode: permissions in octal.
            owner: user who owns it.
            group: group that owns it.

        Raises:
            CommandFailed: it could not be written; the old file is still there.
        """
        digest = hashlib.sha256(content).hexdigest()
        argv = commands.put(path, mode=mode, owner=owner, group=group, digest=digest)
        self.run(argv, stdin=content)

    def put_stream(
        self,
        chunks: Iterable[bytes],
        path: str,
        *,
        mode: str = "0600",
        owner: str = "root",
        group: str = "root",
        timeout_seconds: float = 7200.0,
    ) -> None:
        """Write a large file from pieces; otherwise as `put`."""
        digest = hashlib.sha256()

        def framed() -> Iterator[bytes]:
            for chunk in chunks:
                digest.update(chunk)
                yield chunk

        part = f"{path}.understudy-part"
        self.run(scripted("receive", part), stdin=framed(), timeout_seconds=timeout_seconds)
        argv = scripted("accept", part, path, mode, owner, group, digest.hexdigest())
        self.run(argv, timeout_seconds=timeout_seconds)

    def _checked(self, result: Result, check: bool, limit: Deadline | None) -> Result:
        if limit is not None and limit.left <= 0 and result.code in (124, 137):
            raise CommandFailed(self.connection.name, result, f"was ended after {limit.seconds:g} s")
        if check and result.code != 0:
            raise CommandFailed(self.connection.name, result)
        return result

    def _run(
        self,
        argv: Sequence[str],
        on_output: Callable[[bytes], None],
        stdin: Stdin,
        limit: Deadline | None,
        grace_seconds: float,
    ) -> Result:
        if self._talk is not None:
            self._talk.end()  # else all who work on the machine could wait for a second session
        line = privileged(argv, sudo=self.connection.sudo)
        errors = bytearray()
        leave = _Leave(self.connection.name, line, limit, grace_seconds)
        with self._way.session(command_line(line), self.say) as session:
            feeder = _Aside(lambda: _feed(session, stdin))  # its failure ends the session, and so the pumps below
            collector = _Aside(lambda: session.pump(lambda data: _keep(errors, data), leave.tick, errors=True))
            session.pump(on_output, leave.tick, errors=False)
            code = session.code(leave.tick)
            collector.join()
        feeder.join()
        return Result(argv=tuple(argv), stdout=b"", stderr=bytes(errors), code=code)


class _Aside:
    """A function in a thread of its own, whose error is raised by `join`."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self._thread.start()

    def _guarded(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001  # raised again by `join`
            self._error = error

    def join(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error


class _Leave:
    """Decides when to leave a running command: it took too long, or the user asked to stop."""

    def __init__(self, machine: str, argv: Sequence[str], limit: Deadline | None, grace_seconds: float) -> None:
        self._machine, self._argv, self._limit, self._grace = machine, argv, limit, grace_seconds
        self._since: Deadline | None = None

    def tick(self) -> None:
        if self._limit is not None and self._limit.left < -30:
            result = Result(argv=tuple(self._argv), stdout=b"", stderr=b"", code=-1)
            raise CommandFailed(self._machine, result, f"did not end within {self._limit.seconds:g} s")
        if stopping():
            self._since = self._since or Deadline(self._grace)
            if self._since.left <= 0:
                raise Stopped(where=self._machine, found="stopped on request", todo="The next `up` goes on from here.")


def _keep(errors: bytearray, data: bytes) -> None:
    errors.extend(data)
    del errors[: max(0, len(errors) - _ERRORS_KEPT)]


def _feed(session: Session, stdin: Stdin) -> None:
    pieces = (stdin,) if isinstance(stdin, bytes) else (stdin or ())
    try:
        for piece in pieces:
            if not session.send(piece):
                return
        session.end_input()
    except BaseException:
        session.close()
        raise
