"""What comes of a command on a machine, the errors of the way there, and stopping when the user asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model.connection import Connection
from model.errors import UnderstudyError
from provisioners.commands import command_line

Say = Callable[[str], None]
"""Shows a line of progress."""

_STOP = threading.Event()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command printed and the code with which it ended; -1 where a signal ended it."""

    argv: tuple[str, ...]
    stdout: bytes
    stderr: bytes
    code: int

    @property
    def text(self) -> str:
        """Return standard output as text, without the last line's end."""
        return self.stdout.decode("utf-8", "replace").removesuffix("\n")


class Unreachable(UnderstudyError):
    """Nothing answers, or what answers does not let us in."""


class WrongHostKey(UnderstudyError):
    """The machine that answers cannot show the key that it should have."""


class ConnectionLost(UnderstudyError):
    """The connection ended while something ran. Whether that was done is unknown: do it again from its start."""


class NeverBegun(ConnectionLost):
    """The connection had ended before the command was sent: nothing was run."""


class Stopped(UnderstudyError):
    """The user asked to stop; the next run goes on."""


class CommandFailed(UnderstudyError):
    """A command ended with another code than 0, or took too long.

    Args:
        machine: the machine's name.
        result: what it printed; the last lines of it are in the text.
        found: what was wrong, where it was not the code.
    """

    def __init__(self, machine: str, result: Result, found: str = "") -> None:
        self.result = result
        said = last_lines(result.stderr or result.stdout)
        ended = found or ("was ended by a signal" if result.code < 0 else f"ended with {result.code}")
        super().__init__(where=machine, found=f"`{shown(result.argv)}` {ended}{': ' if said else ''}{said}")


def typed(way: Connection) -> tuple[str, ...]:
    """Return the beginning of a command for a host, as a person types it."""
    port = ("-p", str(way.port)) if way.port != 22 else ()
    return ("ssh", *port, *(("-J", way.jump) if way.jump else ()), f"{way.user}@{way.address}")


def gone_for_good(host: Connection) -> str:
    """Return what to do about a host that has vanished, for an error's text."""
    return f"Where it is gone for good: `./run understudy host lost {host.name} -s STACK`."


def see_why(host: Connection) -> str:
    """Return what to do about a host that does not answer, for an error's text."""
    line = command_line((*typed(host), "true"))
    return f"Switch it on, or see why: `{line}`. Then run it again. {gone_for_good(host)}"


def last_lines(output: bytes, count: int = 12) -> str:
    r"""Return the last lines of what a command printed, for an error's text.

    >>> last_lines(b"a\nb\nc\n", 2)
    'b\nc'
    """
    return "\n".join(output.decode("utf-8", "replace").strip().splitlines()[-count:])[-4000:]


def shown(argv: Sequence[str]) -> str:
    """Return a command as an error names it: one of our scripts by its name, and not longer than a line.

    >>> shown(("sudo", "-n", "--", "timeout", "--kill-after=10", "60", "bash", "-c", "set -eu", "understudy-put", "/a"))
    'understudy-put /a'
    """
    words = list(argv)
    for prefix, length in (("sudo", 3), ("timeout", 3)):
        if words[:1] == [prefix]:
            words = words[length:]
    if words[:2] == ["bash", "-c"]:
        words = words[3:] or ["bash", "-c", "…"]
    text = " ".join(words).replace("\n", "\\n")
    return text if len(text) <= 160 else f"{text[:157]}…"


def stop_everything() -> None:
    """Make every wait and every long command of this process raise `Stopped`; for a user who presses Ctrl-C."""
    _STOP.set()


def stopping() -> bool:
    """Return whether the user asked to stop."""
    return _STOP.is_set()


def pause(seconds: float, where: str) -> None:
    """Wait, unless the user asks to stop.

    Raises:
        Stopped: the user asked to stop.
    """
    if _STOP.wait(seconds):
        raise Stopped(where=where, found="stopped on request", todo="The next `up` goes on from here.")


class Deadline:
    """A moment after which waiting is over, and the time since the waiting began; both in seconds."""

    def __init__(self, seconds: float) -> None:
        self.began = time.monotonic()
        self.seconds = seconds

    @property
    def elapsed(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Return the seconds that are left; negative where it has passed."""
        return self.seconds - self.elapsed
