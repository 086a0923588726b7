"""Addresses, the hosts that the machine knows by name, and the ports on which it listens."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_interface

from model.facts import Address, KnownHost, Listener, Socket
from provisioners.facts.fact import ROOT, Fact

_EVERYWHERE = frozenset({"", "*", "::", "0.0.0.0"})  # noqa: S104 - read, not bound
_PROCESS = re.compile(r'\("((?:[^"\\]|\\.)*)",')


def parse_addresses(output: str) -> tuple[Address, ...]:
    r"""Return the addresses that reach beyond the machine and its own link.

    Args:
        output: of ``ip -oneline address show``.

    >>> parse_addresses("2: eth0    inet 10.20.0.31/24 brd 10.20.0.255 scope global eth0\\       valid_lft forever")
    (Address(card='eth0', interface=IPv4Interface('10.20.0.31/24'), secondary=False),)
    """
    found = []
    for line in output.splitlines():
        words = line.replace("\\", " ").split()
        if len(words) < 4 or words[2] not in ("inet", "inet6"):
            continue
        if "scope" not in words or words[words.index("scope") + 1] not in ("global", "site"):
            continue
        if "temporary" in words or "deprecated" in words:
            continue
        # With `peer` (a tunnel) the own address has no prefix.
        card = words[1].partition("@")[0]
        found.append(Address(card=card, interface=ip_interface(words[3]), secondary="secondary" in words))
    return tuple(found)


def parse_hosts(output: str) -> tuple[KnownHost, ...]:
    """Return the lines of ``/etc/hosts`` that name an address.

    >>> parse_hosts("10.20.0.31 db1.shop.example db1 # primary")[0].names
    ('db1.shop.example', 'db1')
    """
    found = []
    for line in output.splitlines():
        words = line.partition("#")[0].split()
        try:
            if len(words) > 1:
                found.append(KnownHost(address=ip_address(words[0].partition("%")[0]), names=tuple(words[1:])))
        except ValueError:
            continue
    return tuple(found)


def parse_listeners(output: str) -> tuple[Listener, ...]:
    """Return the TCP ports that are listened on.

    Args:
        output: of ``ss -tlnp``; the header and the notation of addresses differ between versions.
    """
    return _bound(output, "LISTEN")


_EPHEMERAL = 32768
"""From here on ports are given out for the moment. Source: Linux, net.ipv4.ip_local_port_range."""


def parse_datagram_listeners(output: str) -> tuple[Listener, ...]:
    """Return the UDP ports that stay open.

    Args:
        output: of ``ss -ulnp``.
    """
    return tuple(each for each in _bound(output, "UNCONN") if each.port < _EPHEMERAL)


def _bound(output: str, state: str) -> tuple[Listener, ...]:
    found = []
    for line in output.splitlines():
        words = line.split()
        if len(words) < 5 or words[0] != state:
            continue
        address, _, port = words[3].rpartition(":")
        address = address.strip("[]").partition("%")[0].strip("[]")
        if not port.isdigit():
            continue
        processes = tuple(dict.fromkeys(_PROCESS.findall(" ".join(words[5:]))))
        everywhere = address in _EVERYWHERE
        found.append(Listener(address="*" if everywhere else address, port=int(port), processes=processes))
    return tuple(dict.fromkeys(found))


def parse_sockets(output: str) -> tuple[Socket, ...]:
    """Return the local sockets that are listened on and have a path.

    Args:
        output: of ``ss -xlnp``.
    """
    found = []
    for line in output.splitlines():
        words = line.split()
        if len(words) > 4 and words[1] == "LISTEN" and words[4].startswith("/"):
            processes = tuple(dict.fromkeys(_PROCESS.findall(line)))
            found.append(Socket(path=words[4], processes=processes))
    return tuple(dict.fromkeys(found))


ADDRESSES = Fact(name="addresses", argv=("ip", "-oneline", "address", "show"), parse=parse_addresses)
HOSTS = Fact(name="known hosts", argv=("cat", "/etc/hosts"), parse=parse_hosts)
LISTENERS = Fact(name="listening ports", argv=("ss", "-tlnp"), parse=parse_listeners, user=ROOT)
DATAGRAM_LISTENERS = Fact(name="listening ports", argv=("ss", "-ulnp"), parse=parse_datagram_listeners, user=ROOT)
SOCKETS = Fact(name="local sockets", argv=("ss", "-xlnp"), parse=parse_sockets, user=ROOT)
