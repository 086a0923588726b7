"""Many commands over one session, for who tells a machine step by step: a session costs more than most steps do.

A command is still sent only when the one before it has ended, and each has its own end on the machine and its own code.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from provisioners.commands import command_line, privileged, scripted
from provisioners.outcome import Result, Say
from provisioners.shell.link import Session
from provisioners.shell.pool import Line

_LONGEST_BYTES = 100_000
"""Of a word, or of what a command is given; longer ones get a session of their own."""
_ERRORS_KEPT = 65536


def can_be_told(argv: Sequence[str], stdin: object) -> bool:
    """Return whether a command can go over a session that it shares with others.

    >>> can_be_told(("cat",), b"text"), can_be_told(("cat",), bytes(1)), can_be_told(("cat",), iter([b"text"]))
    (True, False, False)
    """
    if stdin is not None and not isinstance(stdin, bytes):
        return False
    every = (stdin or b"", *(word.encode() for word in argv))
    return all(len(each) <= _LONGEST_BYTES and 0 not in each for each in every)


class Talk:
    """A session that takes one command after another; begun when it is needed, and anew after it ended."""

    def __init__(self, way: Line) -> None:
        self._way = way
        self._held = ExitStack()
        self._session: Session | None = None

    def end(self) -> None:
        """Leave the session; what runs in it goes on until it writes."""
        self._session = None
        self._held.close()

    def ask(self, argv: Sequence[str], stdin: bytes, seconds: float, tick: Callable[[], None], say: Say) -> Result:
        """Run a command and return what it printed.

        Args:
            argv: one that `can_be_told`.
            stdin: its standard input.
            seconds: the machine ends it after this long.
            tick: is called several times a second, and may raise to leave.
            say: is told about waiting.

        Raises:
            ConnectionLost: the connection ended first.
        """
        mark = secrets.token_hex(12)
        words = [word.encode() for word in argv]
        head = " ".join((f"{seconds:g}", mark, *(str(len(each)) for each in (stdin, *words))))
        try:
            session = self._session or self._begin(say)
            session.send(b"".join((head.encode(), b"\n", *words, stdin)))  # where it could not, no answer says it
            return self._answer(session, tuple(argv), mark.encode(), tick)
        except BaseException:
            self.end()
            raise

    def _begin(self, say: Say) -> Session:
        line = command_line(privileged(scripted("talk"), sudo=self._way.connection.sudo))
        self._session = self._held.enter_context(self._way.session(line, say))
        return self._session

    def _answer(self, session: Session, argv: tuple[str, ...], mark: bytes, tick: Callable[[], None]) -> Result:
        output, errors = _Until(b"\n%b " % mark), _Until(b"\n%b\n" % mark, _ERRORS_KEPT)
        while not (ended := output.after.endswith(b"\n")) or not errors.found:
            tick()
            # Where one has ended, only the other is waited for.
            more = session.hear_errors(errors.take) if ended else session.hear(output.take, errors.take)
            if not more:
                code = session.code(tick)
                self.end()
                return Result(argv=argv, stdout=output.before, stderr=errors.before, code=code or -1)
        return Result(argv=argv, stdout=output.before, stderr=errors.before, code=int(output.after))


class _Until:
    """What came until an end that is known beforehand, and after it; of more than is kept, the last."""

    def __init__(self, end: bytes, kept: int = 0) -> None:
        self._end, self._kept = end, kept
        self._data, self._at = bytearray(), -1

    def take(self, data: bytes) -> None:
        """Add what came."""
        seen = max(0, len(self._data) - len(self._end))
        self._data.extend(data)
        if self._at < 0:
            self._at = self._data.find(self._end, seen)
        # Until the end is found, the last bytes may be the beginning of it.
        surplus = (self._at if self.found else len(self._data) - len(self._end)) - self._kept
        if self._kept and surplus > 0:
            del self._data[:surplus]
            self._at -= surplus if self.found else 0

    @property
    def found(self) -> bool:
        """Return whether the end has come."""
        return self._at >= 0

    @property
    def before(self) -> bytes:
        """Return what came before the end, or so far."""
        return bytes(self._data[: self._at] if self.found else self._data[-self._kept :])

    @property
    def after(self) -> bytes:
        """Return what came after the end."""
        return bytes(self._data[self._at + len(self._end) :]) if self.found else b""
