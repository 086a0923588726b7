"""The fence around a stack, as text for ``nft``: what may pass on its two bridges. Pure.

Rules hold for each frame on a bridge, whatever its protocol, so ARP and IPv6 are within. Cards and bridges are known by
the beginning of their names (``names.tap``), which exist before the machines do: the fence stands before the first of
them starts. Packets are judged one by one, without connection tracking: a connection begins with a packet that has SYN
without ACK, and no such packet comes from a guest. Where a stack's machines are in several places, WireGuard's
packets pass between them and nothing else (``model/tunnels.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from model.libvirt_xml import parsed
from model.tunnels import INNER_PORT, Ways

_TAP = re.compile(r"(us[0-9a-f]{6})[mc][0-9a-f]{6}")
_CARD = re.compile(r"[A-Za-z0-9_.:@-]{1,15}")
_BRIDGE = re.compile(r"[a-z0-9]{1,14}[mc]")


def is_bridge(name: str) -> bool:
    """Return whether it is the name of one of our bridges.

    >>> is_bridge("us1a2b3cm"), is_bridge("virbr0"), is_bridge('us" drop')
    (True, False, False)
    """
    return bool(_BRIDGE.fullmatch(name))


def table_name(mirror_bridge: str) -> str:
    """Return the name that both tables of a stack's fence have.

    >>> table_name("us1a2b3cm")
    'us1a2b3c'
    """
    return mirror_bridge[:-1]


def fences_of(domain_xml: str) -> frozenset[str]:
    """Return the fences behind which a machine belongs, by the names of its cards on the host.

    >>> sorted(fences_of("<domain><devices><interface><target dev='us1a2b3cc0a1b2c'/></interface></devices></domain>"))
    ['us1a2b3c']
    """
    taps = (target.get("dev", "") for target in parsed(domain_xml).iterfind("devices/interface/target"))
    return frozenset(found[1] for tap in taps if (found := _TAP.fullmatch(tap)))


def ruleset(mirror_bridge: str, control_bridge: str, control_network: IPv4Network, ways: Ways | None = None) -> str:
    """Return the whole fence; loading it replaces an earlier one in one step.

    Args:
        mirror_bridge: the bridge of the machines' own network.
        control_bridge: the bridge over which the controller comes.
        control_network: the network on that one; the host has its first address.
        ways: the tunnels to machines in other places that pass; None for none.

    Raises:
        ValueError: the bridges are not a stack's pair.
    """
    if not (is_bridge(mirror_bridge) and is_bridge(control_bridge)):
        raise ValueError(f"{mirror_bridge!r} and {control_bridge!r} are not names of our bridges")
    table, host = table_name(mirror_bridge), control_network[1]
    if (mirror_bridge, control_bridge) != (f"{table}m", f"{table}c"):
        raise ValueError(f"{mirror_bridge!r} and {control_bridge!r} are not of one stack")
    mirror, control = f'"{mirror_bridge}*"', f'"{control_bridge}*"'
    out, back = _passing(ways, host) if ways else ("", "")
    return f"""\
table bridge {table}
delete table bridge {table}
table bridge {table} {{
\tchain input {{
\t\ttype filter hook input priority -400; policy accept;
\t\tiifname {mirror} drop
\t\tiifname {control} jump from_guests
\t}}
\tchain from_guests {{
\t\tarp saddr ip {control_network} arp daddr ip {host} accept
\t\tip frag-off & 0x3fff != 0 drop
\t\tip saddr {control_network} ip daddr {host} tcp sport 22 tcp flags & ack == ack accept
\t\tip saddr {control_network} ip daddr {host} tcp sport 22 tcp flags & (syn | rst) == rst accept
{out}\t\tdrop
\t}}
\tchain output {{
\t\ttype filter hook output priority -400; policy accept;
\t\toifname {mirror} drop
\t\toifname {control} jump to_guests
\t}}
\tchain to_guests {{
\t\tarp saddr ip {host} arp daddr ip {control_network} accept
\t\tip saddr {host} ip daddr {control_network} tcp dport 22 accept
{back}\t\tdrop
\t}}
\tchain forward {{
\t\ttype filter hook forward priority -400; policy accept;
\t\tiifname {control} drop
\t\toifname {control} drop
\t\tiifname {mirror} oifname != {mirror} drop
\t\toifname {mirror} iifname != {mirror} drop
\t}}
}}
table inet {table}
delete table inet {table}
table inet {table} {{
\tchain output {{
\t\ttype filter hook output priority -400; policy accept;
\t\toifname "{control_bridge}" accept
\t\toifname {control} drop
\t\toifname {mirror} drop
\t}}
\tchain forward {{
\t\ttype filter hook forward priority -400; policy accept;
\t\tiifname {control} drop
\t\toifname {control} drop
\t}}
}}
"""


def _passing(ways: Ways, host: IPv4Address) -> tuple[str, str]:
    """Return the rules for WireGuard between guests and the ports of their host that stand for far machines."""
    guests, ports = _set(address for address, _ in ways.own), _set(port for _, port in ways.far)
    return (
        f"\t\tip saddr {guests} ip daddr {host} udp sport {INNER_PORT} udp dport {ports} accept\n",
        f"\t\tip saddr {host} ip daddr {guests} udp sport {ports} udp dport {INNER_PORT} accept\n",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """The next hop on the way to another host: a card of this one, and an address that is reached by it at once."""

    card: str
    address: IPv4Address


def crossing(control_bridge: str, control_network: IPv4Network, ways: Ways, hops: Mapping[IPv4Address, Hop]) -> str:
    """Return what carries tunnels between the control bridge and other hosts, where the bridge is there.

    A guest sends to a port of its host alone, which becomes the same port of the other host that this port stands for;
    what comes from there, from such a port, to the port of a guest, becomes that guest's. Addresses are written over
    packet by packet: nothing is remembered that could be wrong once a machine is on another host. It is done as a
    packet comes in, and it goes out at once: the host is made no router for it, and asks none of its filters, such as
    those with which libvirt and Docker keep packets from bridges.

    Args:
        control_bridge: the bridge over which the controller comes.
        control_network: the network on it.
        ways: the tunnels.
        hops: how each of the other hosts is reached.

    Raises:
        ValueError: a card has a name that is none.

    Source: nft(8), "FWD STATEMENT" and "PAYLOAD STATEMENT"; Linux, net/netfilter/nft_fwd_netdev.c.
    """
    for card in (control_bridge, *(hop.card for hop in hops.values())):
        if not _CARD.fullmatch(card):
            raise ValueError(f"{card!r} is no card's name")
    table, host = control_bridge[:-1], control_network[1]
    guests, there = _set(address for address, _ in ways.own), _far(ways)
    ports = _set(f"{address} : {port}" for address, port in ways.own)
    out = "".join(
        f"\t\tip saddr {guests} ip daddr {host} udp sport {INNER_PORT} udp dport {_set(_ports_at(ways, far))} "
        f"udp sport set ip saddr map {ports} ip saddr set {ways.address} ip daddr set {far} "
        f'fwd ip to {hop.address} device "{hop.card}"\n'
        for far, hop in hops.items()
    )
    back = "".join(
        f"\t\tip daddr {ways.address} udp dport {port} ip saddr . udp sport {there} ip saddr set {host} "
        f'ip daddr set {guest} udp dport set {INNER_PORT} fwd ip to {guest} device "{control_bridge}"\n'
        for guest, port in ways.own
    )
    chains = [_ingress("out", control_bridge, out)]
    chains += [_ingress(f"back{at}", card, back) for at, card in enumerate(sorted({hop.card for hop in hops.values()}))]
    return f"table netdev {table}\ndelete table netdev {table}\ntable netdev {table} {{\n{''.join(chains)}}}\n"


def _ingress(name: str, card: str, rules: str) -> str:
    hook = f'type filter hook ingress device "{card}" priority 0; policy accept;'
    return f"\tchain {name} {{\n\t\t{hook}\n{rules}\t}}\n"


def _ports_at(ways: Ways, host: IPv4Address) -> Iterable[int]:
    return (port for address, port in ways.far if address == host)


def _far(ways: Ways) -> str:
    return _set(f"{address} . {port}" for address, port in ways.far)


def _set(items: Iterable[object]) -> str:
    return f"{{ {', '.join(dict.fromkeys(map(str, items)))} }}"
