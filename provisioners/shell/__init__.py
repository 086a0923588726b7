"""SSH to machines; the only place that imports paramiko.

A connection is shared by all resources of a machine within a process. Only a host key that is known beforehand is
accepted. Everything runs as root on the machine, through sudo where the connection says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from model.connection import Connection
from provisioners.outcome import (
    CommandFailed,
    ConnectionLost,
    Result,
    Say,
    Stopped,
    Unreachable,
    WrongHostKey,
)
from provisioners.shell.keys import known_key
from provisioners.shell.pool import close_all, line
from provisioners.shell.run import Shell

__all__ = [
    "USUAL_PATIENCE_SECONDS",
    "CommandFailed",
    "ConnectionLost",
    "Result",
    "Shell",
    "Stopped",
    "Unreachable",
    "WrongHostKey",
    "close_all",
    "connect",
    "known_key",
]

USUAL_PATIENCE_SECONDS = 180.0
"""Long enough for a cold boot without hardware virtualisation."""


@contextmanager
def connect(
    connection: Connection, private_key: str, say: Say, patience_seconds: float = USUAL_PATIENCE_SECONDS
) -> Iterator[Shell]:
    """Give a shell on a machine, as soon as the machine answers.

    Args:
        connection: where it is, and which host key it has.
        private_key: an OpenSSH private key; empty for the user's agent, keys and ~/.ssh/config.
        say: is told about waiting.
        patience_seconds: how long the machine may take until it answers, because it may be booting.

    Raises:
        Unreachable: nothing answers, or it does not let us in.
        WrongHostKey: it has not the expected host key; nothing was sent to it.
        Stopped: the user asked to stop.
    """
    with line(connection, private_key) as way:
        way.connect(say, patience_seconds)
        yield Shell(way, say)
