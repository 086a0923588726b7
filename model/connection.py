"""How a machine is reached over SSH, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from model.errors import UnderstudyError
from model.topology import Access, Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How a machine is reached over SSH.

    Args:
        name: the machine's name in the topology; errors name it.
        address: IP address or host name.
        port: TCP port of its SSH server.
        user: who logs in.
        sudo: whether commands run through ``sudo -n`` because ``user`` is not root.
        jump: ``[user@]host[:port]`` of a machine to go through; empty for none.
        host_key: the machine's public host key, such as ``ssh-ed25519 AAAA…``; empty where the user's own
            ``known_hosts`` has it. A key that is not this one, or not in that file, is refused.
        domain: a virtual machine's libvirt address, ``#`` and its domain's name, such as ``qemu:///system#stage-db1``:
            whether a machine that does not answer exists at all can then be told. Empty for any other machine.
        jump_key: the public host key of the last machine of ``jump``; empty where the user's ``known_hosts`` has it.
    """

    name: str
    address: str
    port: int = 22
    user: str = "root"
    sudo: bool = False
    jump: str = ""
    host_key: str = ""
    domain: str = ""
    jump_key: str = ""

    def values(self) -> dict[str, Any]:
        """Return the connection as a resource's input has it.

        >>> Connection(name="db1", address="198.18.0.10").values()["port"]
        22
        """
        return {key: value for key, value in asdict(self).items() if value or key != "jump_key"}


def existing_way(machine: Machine) -> Connection:
    """Return how a machine that was there before us is reached to change it; commands run as root there."""
    assert machine.existing is not None, "it is built"
    return way_by(machine.name, machine.existing)


def way_by(name: str, access: Access, host_key: str = "") -> Connection:
    """Return how something of that name is reached by what a file says of it."""
    return Connection(
        name=name,
        address=access.host,
        port=access.port,
        user=access.user,
        sudo=access.sudo,
        jump=access.jump,
        host_key=host_key,
    )


def connection_of(values: Mapping[str, Any]) -> Connection:
    """Return the connection that a resource's input describes.

    Raises:
        UnderstudyError: a key is missing or unknown, or a value has the wrong type.

    >>> connection_of({"name": "db1", "address": "198.18.0.10", "port": 22.0}).port
    22
    """
    kinds: dict[str, type] = {
        "name": str,
        "address": str,
        "user": str,
        "jump": str,
        "host_key": str,
        "domain": str,
        "jump_key": str,
        "sudo": bool,
    }
    known = {*kinds, "port"}
    wrong = [key for key in values if key not in known]
    wrong += [key for key in ("name", "address") if not values.get(key)]
    wrong += [key for key, kind in kinds.items() if key in values and not isinstance(values[key], kind)]
    port = values.get("port", 22)
    if isinstance(port, bool) or not isinstance(port, (int, float)) or not 0 < port < 65536:
        wrong.append("port")
    if wrong:
        raise UnderstudyError(
            where=str(values.get("name") or "connection"),
            found=f"unusable: {', '.join(dict.fromkeys(wrong))}",
            wanted="name and address, and port, user, sudo, jump, host_key where they differ from the usual",
        )
    return Connection(**{**values, "port": int(port)})


def connection_of_url(url: str) -> tuple[Connection, str]:
    """Return the connection and the path of ``ssh://[user@]host[:port]/path``, which names something to import.

    Raises:
        UnderstudyError: it is not such an address.

    >>> connection, path = connection_of_url("ssh://admin@db1.example:2222/etc/hosts")
    >>> connection.user, connection.sudo, connection.port, path
    ('admin', True, 2222, '/etc/hosts')
    """
    parts = urlsplit(url)
    if parts.scheme != "ssh" or not parts.hostname:
        raise UnderstudyError(
            where=url, found="not an address", wanted="ssh://user@host/path of what is to be imported"
        )
    user = parts.username or "root"
    machine = Connection(
        name=parts.hostname, address=parts.hostname, port=parts.port or 22, user=user, sudo=user != "root"
    )
    return machine, parts.path
