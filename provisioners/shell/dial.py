"""Connect to a machine, once or with patience."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import paramiko

from model.connection import Connection
from provisioners.outcome import Deadline, Say, Unreachable, pause, see_why
from provisioners.shell.keys import KnownKeysOnly, private_key_of, public_key, wrong_key
from provisioners.shell.link import HANDSHAKE_SECONDS, Link, host_under

_DEAD_PEER_MILLISECONDS = 30_000
_SOON_SECONDS, _LATER_SECONDS, _BOOT_SECONDS = 0.05, 0.2, 10.0
"""Between two attempts, where nothing listens yet on a machine that boots; and otherwise, where each is work for it."""


class _NoWay(OSError):
    """What a machine is reached through does not answer; of the machine itself nothing is known."""


def _of_the_user(connection: Connection) -> tuple[Connection, tuple[str, ...]]:
    """Return the connection as the user's ~/.ssh/config completes it, and the key files named there."""
    path = Path.home() / ".ssh" / "config"
    if not path.is_file():
        return connection, ()
    found = paramiko.SSHConfig.from_path(str(path)).lookup(connection.address)
    port = int(found.get("port", 22)) if connection.port == 22 else connection.port
    jump = connection.jump or found.get("proxyjump", "")
    jump = "" if jump == "none" else jump
    files = tuple(file for file in found.get("identityfile", []) if Path(file).is_file())
    return replace(connection, address=found["hostname"], port=port, jump=jump), files


def _jump(connection: Connection) -> Connection:
    *before, last = connection.jump.split(",")
    user, _, host = last.strip().rpartition("@")
    host, _, port = host.partition(":")
    user = user or os.environ.get("USER", "root")
    way = Connection(name=host, address=host, port=int(port or 22), user=user, jump=",".join(before))
    return replace(way, host_key=connection.jump_key)


def _socket(connection: Connection, timeout_seconds: float) -> socket.socket:
    plain = socket.create_connection((connection.address, connection.port), timeout=timeout_seconds)
    plain.settimeout(None)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each command waits 40 ms for an acknowledgement
    # paramiko's keepalive sends but does not wait for an answer; this ends a connection whose peer has vanished.
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MILLISECONDS)
    return plain


def dial(connection: Connection, private_key: str, timeout_seconds: float = 10.0) -> Link:
    """Connect once.

    Args:
        connection: where to.
        private_key: an OpenSSH private key; empty for the user's agent, keys and ~/.ssh/config.
        timeout_seconds: how long the machine may take to accept the TCP connection.

    Raises:
        WrongHostKey: what answers has not the expected key.
        Unreachable: it does not let us in.
        OSError, paramiko.SSHException: nothing usable answers yet.
    """
    key = private_key_of(connection, private_key) if private_key else None
    target, files = (connection, ()) if private_key else _of_the_user(connection)
    under = _under(target, timeout_seconds) if target.jump else None
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(KnownKeysOnly(target))
    if target.host_key:
        public = public_key(target)
        name = target.address if target.port == 22 else f"[{target.address}]:{target.port}"
        client.get_host_keys().add(name, public.get_name(), public)
    else:
        for known in (Path.home() / ".ssh" / "known_hosts", Path("/etc/ssh/ssh_known_hosts")):
            if known.is_file():
                client.load_system_host_keys(str(known))
    try:
        way = under.through(target.address, target.port) if under else _socket(target, timeout_seconds)
        _log_in(client, target, way, key, files)
    except BaseException:
        client.close()
        if under is not None:
            under.close()
        raise
    return Link(connection, client, under)


def _under(target: Connection, timeout_seconds: float) -> Link:
    try:
        return dial(_jump(target), "", timeout_seconds)
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise _NoWay(str(error) or type(error).__name__) from error


def _log_in(
    client: paramiko.SSHClient,
    target: Connection,
    way: socket.socket | paramiko.Channel,
    key: paramiko.PKey | None,
    files: tuple[str, ...],
) -> None:
    try:
        client.connect(
            target.address,
            port=target.port,
            username=target.user,
            pkey=key,
            key_filename=list(files) or None,  # type: ignore[arg-type]  # paramiko takes a list; its stubs do not know
            allow_agent=key is None,
            look_for_keys=key is None,
            sock=way,
            timeout=HANDSHAKE_SECONDS,
            banner_timeout=HANDSHAKE_SECONDS,
            auth_timeout=HANDSHAKE_SECONDS,
        )
    except paramiko.BadHostKeyException as error:
        raise wrong_key(target, error.key) from error
    except paramiko.AuthenticationException as error:
        transport = client.get_transport()
        if transport is None or not transport.is_active():
            raise  # the connection ended in the middle, and nobody refused anything
        raise Unreachable(
            where=target.name,
            found=f"its SSH server refuses {target.user} ({error})",
            wanted="the key of this stack" if key else "a key from your agent, ~/.ssh or ~/.ssh/config",
            todo=f"Try `ssh -p {target.port} {target.user}@{target.address}`.",
        ) from error
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(15)


def dial_patiently(connection: Connection, private_key: str, say: Say, patience: Deadline) -> Link:
    """Connect as soon as the machine answers.

    Raises:
        Unreachable: it did not answer in time.
        WrongHostKey: it has not the expected key.
        Stopped: the user asked to stop.
    """
    while True:
        try:
            return dial(connection, private_key, 2.0 if patience.left > 10 else 10.0)
        except (OSError, EOFError, paramiko.SSHException) as error:
            if patience.left <= 0:
                raise _unreachable(connection, error, patience.elapsed) from error
            say(f"waiting for {connection.name}'s SSH ({patience.elapsed:.0f} s)")
            boots = isinstance(error, ConnectionRefusedError) and patience.elapsed < _BOOT_SECONDS
            pause(_SOON_SECONDS if boots else _LATER_SECONDS, connection.name)


def _unreachable(connection: Connection, error: Exception, seconds: float) -> Unreachable:
    host = host_under(connection) if isinstance(error, _NoWay) else None
    at, reason = host or connection, str(error) or type(error).__name__
    found = f"no SSH at {at.address} port {at.port} after {seconds:.0f} s ({reason})"
    if host:
        found = f"its host {host.name} does not answer: {found}"
        return Unreachable(where=connection.name, found=found, todo=see_why(host))
    todo = "Is the machine running, and its address right? Start it, or take it out of the topology."
    return Unreachable(where=connection.name, found=found, todo=todo)
