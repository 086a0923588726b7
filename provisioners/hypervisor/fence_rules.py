"""The fence around a stack, as text for ``nft``: what may pass on its two bridges. Pure.

Rules hold for each frame on a bridge, whatever its protocol, so ARP and IPv6 are within. Cards and bridges are known by
the beginning of their names (``names.tap``), which exist before the machines do: the fence stands before the first of
them starts. Packets are judged one by one, without connection tracking: a connection begins with a packet that has SYN
without ACK, and no such packet comes from a guest.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network

from model.libvirt_xml import parsed

_TAP = re.compile(r"(us[0-9a-f]{6})[mc][0-9a-f]{6}")
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


def ruleset(mirror_bridge: str, control_bridge: str, control_network: IPv4Network) -> str:
    """Return the whole fence; loading it replaces an earlier one in one step.

    Raises:
        ValueError: the bridges are not a stack's pair.
    """
    if not (is_bridge(mirror_bridge) and is_bridge(control_bridge)):
        raise ValueError(f"{mirror_bridge!r} and {control_bridge!r} are not names of our bridges")
    table, host = table_name(mirror_bridge), control_network[1]
    if (mirror_bridge, control_bridge) != (f"{table}m", f"{table}c"):
        raise ValueError(f"{mirror_bridge!r} and {control_bridge!r} are not of one stack")
    mirror, control = f'"{mirror_bridge}*"', f'"{control_bridge}*"'
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
\t\tdrop
\t}}
\tchain output {{
\t\ttype filter hook output priority -400; policy accept;
\t\toifname {mirror} drop
\t\toifname {control} jump to_guests
\t}}
\tchain to_guests {{
\t\tarp saddr ip {host} arp daddr ip {control_network} accept
\t\tip saddr {host} ip daddr {control_network} tcp dport 22 accept
\t\tdrop
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
