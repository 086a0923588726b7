"""Host keys and private keys: only what is known beforehand is accepted."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

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


def known_key(file: Path, connection: Connection) -> str:
    """Return the host key that a file in the notation of ``known_hosts`` has for a machine.

    Raises:
        UnderstudyError: the file cannot be read, or has none.
    """
    name = connection.address if connection.port == 22 else f"[{connection.address}]:{connection.port}"
    try:
        keys: Mapping[str, paramiko.PKey] = paramiko.HostKeys(str(file)).lookup(name) or {}
    except OSError as error:
        raise UnderstudyError(
            where=connection.name, found=f"{file}: {error.strerror}", wanted="a readable file of host keys"
        ) from error
    known = sorted(keys, key=lambda kind: kind != "ssh-ed25519")
    if not known:
        todo = f"On its console, compare the fingerprint of `ssh-keyscan -p {connection.port} {connection.address}`."
        raise UnderstudyError(
            where=connection.name, found=f"{file} has no key of {name}", wanted="its host key", todo=todo
        )
    return f"{known[0]} {keys[known[0]].get_base64()}"


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
