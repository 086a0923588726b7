"""Libvirt's address of a host: this computer's, or another's that is reached over SSH, with all that it takes.

It is the one value that says where something of a stack is: the libvirt plugin dials it (``plugins/libvirt``), and what
is done on the host itself goes over the same way (``provisioners/hypervisor/door.py``).
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

from model.capacity import HERE
from model.connection import Connection
from model.placed_hosts import PlacedHost

LOCAL = "qemu:///system"
_OVER_SSH = "qemu+ssh"


def host_uri(host: PlacedHost | None) -> str:
    """Return the address of a host of a lock file; None is this computer.

    >>> from model.topology import Access
    >>> host_uri(PlacedHost(name="rack1", access=Access(host="10.0.0.2", port=2222, user="admin", sudo=True)))
    'qemu+ssh://admin@10.0.0.2:2222/system?as=rack1&sudo=yes'
    """
    if host is None:
        return LOCAL
    way = host.connection
    address = f"[{way.address}]" if ":" in way.address else way.address
    sudo = "yes" if way.sudo else ""
    more = {"as": way.name, "key": way.host_key, "jump": way.jump, "sudo": sudo}
    query = urlencode({key: text for key, text in more.items() if text})
    return f"{_OVER_SSH}://{way.user}@{address}:{way.port}/system?{query}"


def host_of(uri: str) -> Connection | None:
    """Return how a host is reached by its address; None where it is this computer.

    >>> way = host_of("qemu+ssh://admin@10.0.0.2:2222/system?as=rack1&sudo=yes")
    >>> way.name, way.user, way.address, way.port, way.sudo
    ('rack1', 'admin', '10.0.0.2', 2222, True)
    >>> host_of("qemu:///system")
    """
    parts = urlsplit(uri)
    if parts.scheme != _OVER_SSH or not parts.hostname:
        return None
    more = {key: values[0] for key, values in parse_qs(parts.query).items()}
    return Connection(
        name=more.get("as", parts.hostname),
        address=parts.hostname,
        port=parts.port or 22,
        user=parts.username or "root",
        sudo="sudo" in more,
        jump=more.get("jump", ""),
        host_key=more.get("key", ""),
    )


def host_name(uri: str) -> str:
    """Return what the lock file calls a host.

    >>> host_name("qemu:///system"), host_name("qemu+ssh://root@10.0.0.2:22/system?as=rack1")
    ('here', 'rack1')
    """
    way = host_of(uri)
    return way.name if way else HERE


def way_through(uri: str) -> tuple[str, str]:
    """Return the jump to a machine that only its host reaches, and that host's key; both empty on this computer.

    >>> way_through("qemu+ssh://root@10.0.0.2:22/system?as=rack1&jump=gate&key=ssh-ed25519+AAAA")
    ('gate,root@10.0.0.2:22', 'ssh-ed25519 AAAA')
    """
    way = host_of(uri)
    if way is None:
        return "", ""
    last = f"{way.user}@{way.address}:{way.port}"
    return f"{way.jump},{last}" if way.jump else last, way.host_key
