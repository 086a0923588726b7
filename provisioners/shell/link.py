"""An SSH connection and the commands that run over it, in paramiko's terms."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import paramiko

from model.connection import Connection
from model.host_uri import host_of
from provisioners.outcome import ConnectionLost, Deadline, NeverBegun, Unreachable, gone_for_good, pause

logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)  # its own lines would stand among the user's

HANDSHAKE_SECONDS = 60.0
"""How long a server may take over each step of the handshake; a machine without hardware virtualisation is slow."""
_TICK_SECONDS = 0.25
_ROOM_SECONDS = 30.0
_PIECE = 1 << 18


def host_under(connection: Connection) -> Connection | None:
    """Return how the computer is reached on which this virtual machine is; None for any other machine, or here."""
    return host_of(connection.domain) if connection.jump and connection.domain else None


class Link:
    """An authenticated connection to a machine."""

    def __init__(self, connection: Connection, client: paramiko.SSHClient, under: Link | None) -> None:
        self.connection, self._client, self._under = connection, client, under

    @property
    def alive(self) -> bool:
        """Return whether the connection still stands."""
        transport = self._client.get_transport()
        return transport is not None and transport.is_active()

    def close(self) -> None:
        """End the connection, and the one that it went through."""
        with suppress(EOFError, OSError):  # paramiko tells the jump host, which may be gone
            self._client.close()
        if self._under is not None:
            self._under.close()

    def lost(self, doing: str, kind: type[ConnectionLost] = ConnectionLost) -> ConnectionLost:
        """Return the error for a connection that ended."""
        found, todo, host = f"the SSH connection was lost during {doing}", "Run it again.", host_under(self.connection)
        if host and self._under and not self._under.alive:
            found, todo = f"{found}, with that to its host {host.name}", f"{todo} {gone_for_good(host)}"
        return kind(where=self.connection.name, found=found, todo=todo)

    def through(self, address: str, port: int) -> paramiko.Channel:
        """Return a way from this machine to another."""
        transport = self._client.get_transport()
        if transport is None:
            raise self.lost("a jump")
        return transport.open_channel("direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=HANDSHAKE_SECONDS)

    def open(self, line: str) -> Session:
        """Start a command and return its session.

        Raises:
            NeverBegun: the connection had ended before.
            ConnectionLost: the connection ended while the command was sent.
            Unreachable: the server refuses sessions.
        """
        transport = self._client.get_transport()
        if transport is None:
            raise self.lost("the start of a command", NeverBegun)
        patience = Deadline(_ROOM_SECONDS)
        while True:
            kind: type[ConnectionLost] = NeverBegun
            try:
                channel = transport.open_session(timeout=HANDSHAKE_SECONDS)
                kind = ConnectionLost
                channel.exec_command(line)
                return Session(self, channel)
            except (EOFError, OSError, paramiko.SSHException) as error:
                # A server that is slow to forget ended sessions may have no room for a moment. Which exception says so
                # is chance: paramiko keeps one for all threads. No answer to the request means that nothing was run.
                if not self.alive:
                    self.close()
                    raise self.lost("the start of a command", kind) from error
                if patience.left <= 0:
                    refused = f"its SSH server opens no session: {error}"
                    raise Unreachable(where=self.connection.name, found=refused) from error
            pause(0.1, self.connection.name)


class Session:
    """One running command: what goes in, what comes out, how it ended."""

    def __init__(self, link: Link, channel: paramiko.Channel) -> None:
        self._link, self._channel = link, channel
        channel.settimeout(_TICK_SECONDS)

    def close(self) -> None:
        """Leave the command; the machine ends what has no session when it writes."""
        with suppress(EOFError, OSError):  # there is nobody to tell where the connection has ended
            self._channel.close()

    def send(self, data: bytes) -> bool:
        """Write to its standard input and return whether it could be written."""
        if self._channel.closed:
            return False
        sent = 0
        try:
            while sent < len(data):
                try:
                    sent += self._channel.send(data[sent : sent + _PIECE])
                except TimeoutError:
                    continue  # a closed channel raises OSError at the next try
        except (EOFError, OSError):
            return False
        return True

    def end_input(self) -> None:
        """Close its standard input."""
        with suppress(EOFError, OSError):
            self._channel.shutdown_write()

    def pump(self, take: Callable[[bytes], None], tick: Callable[[], None], *, errors: bool) -> None:
        """Hand on what comes from standard output, or from standard error, until it is closed.

        Args:
            take: is given each piece.
            errors: whether standard error is meant.
            tick: is called several times a second, and may raise to leave.
        """
        receive = self._channel.recv_stderr if errors else self._channel.recv
        while (data := self._next(receive)) != b"":
            tick()
            if data:
                take(data)

    def hear(self, take: Callable[[bytes], None], take_errors: Callable[[bytes], None]) -> bool:
        """Hand on what has come from both outputs, after a moment at most; return whether more may come."""
        data = self._next(self._channel.recv)
        while self._channel.recv_stderr_ready():
            take_errors(self._next(self._channel.recv_stderr) or b"")
        take(data or b"")
        return data != b""

    def hear_errors(self, take: Callable[[bytes], None]) -> bool:
        """Hand on what has come from standard error, after a moment at most; return whether more may come."""
        data = self._next(self._channel.recv_stderr)
        take(data or b"")
        return data != b""

    @staticmethod
    def _next(receive: Callable[[int], bytes]) -> bytes | None:
        """Return a piece; nothing where the output has ended, None where it has not."""
        try:
            return receive(65536)
        except TimeoutError:
            return None
        except EOFError:  # the connection ended, and paramiko found it out as it wanted to say that there is room again
            return b""

    def code(self, tick: Callable[[], None]) -> int:
        """Return the code with which it ended; -1 for a signal.

        Raises:
            ConnectionLost: the connection ended before the command did.
        """
        while not self._channel.status_event.wait(_TICK_SECONDS):
            tick()
        code = self._channel.exit_status
        patience = Deadline(0.5)
        # No code: a signal ended the command, or the connection ended; the connection's thread may be about to say so.
        while code == -1 and self._link.alive and patience.left > 0:
            pause(0.05, self._link.connection.name)
        # A code may come before the last of the output, which then is missing.
        if not self._link.alive and (code == -1 or not self._channel.eof_received):
            raise self._link.lost("a command")
        self.close()
        return code
