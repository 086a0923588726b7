"""Host keys and private keys: only what is known beforehand is accepted."""

from __future__ import annotations

import io

import paramiko

from model.connection import Connection
from model.errors import UnderstudyError
from provisioners.outcome import WrongHostKey


class KnownKeysOnly(paramiko.MissingHostKeyPolicy):
    """Refuses every key that was not known beforehand."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Refuse the key."""
        raise wrong_key(self._connection, key)


def wrong_key(connection: Connection, found: paramiko.PKey) -> WrongHostKey:
    """Return the error for a machine that showed this key."""
    show = f"host key {found.fingerprint} ({found.get_name()}) at {connection.address} port {connection.port}"
    if not connection.host_key:
        return WrongHostKey(
            where=connection.name,
            found=f"{show} is not the one in your known_hosts",
            wanted="a key that you have compared",
            todo=f"Log in once with `ssh -p {connection.port} {connection.user}@{connection.address}`, compare the "
            "fingerprint with the one on the machine's console, and run this again.",
        )
    wanted = public_key(connection)
    return WrongHostKey(
        where=connection.name,
        found=show,
        wanted=f"{wanted.fingerprint} ({wanted.get_name()})",
        todo="Another machine answers at this address, or this one was made anew by somebody: find out which before "
        "you go on. Nothing was sent to it.",
    )


def public_key(connection: Connection) -> paramiko.PKey:
    """Return the host key that the machine must show.

    Raises:
        UnderstudyError: the connection's text is no public key.
    """
    entry = paramiko.hostkeys.HostKeyEntry.from_line(f"machine {connection.host_key}")
    if entry is None or entry.key is None:
        raise UnderstudyError(
            where=connection.name, found=f"host_key {connection.host_key[:40]!r}", wanted="ssh-ed25519 AAAA…"
        )
    return entry.key


def private_key_of(connection: Connection, text: str) -> paramiko.PKey:
    """Return the key that an OpenSSH private key's text holds.

    Raises:
        UnderstudyError: it holds none, or one with a passphrase.
    """
    kinds: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
    for kind in kinds:
        try:
            return kind.from_private_key(io.StringIO(text))
        except (paramiko.SSHException, ValueError):
            continue
    raise UnderstudyError(
        where=connection.name, found="a private key that cannot be read", wanted="an OpenSSH key without a passphrase"
    )
