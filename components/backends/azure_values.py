"""What a stack is to Azure, as values."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from components.backends.cloud_values import TunnelWays
from model.offsite import OffsiteCopy

LUN = 0
# Source: Microsoft, "Troubleshoot Linux VM device name changes": the links that the VM agent's udev rules make.
DATA_DEVICE = f"/dev/disk/azure/scsi1/lun{LUN}"
LEAST_SYSTEM_DISK_GIB = 30
"""Debian's images there are of 30 GiB, and no disk is smaller than what it is made of."""
# Source: Microsoft, "Network security groups": 100 to 4096, a lower number wins; Azure's own begin at 65000.
_FIRST, _OPENED, _LAST = 100, 1000, 4096
_ANY = "*"


def fence_rules(
    sources: Collection[str],
    network: IPv4Network,
    copy: OffsiteCopy | None,
    opened: Mapping[IPv4Address, tuple[int, ...]],
    tunnels: TunnelWays | None = None,
) -> list[dict[str, Any]]:
    """Return all rules of a stack's fence: in comes SSH from where you are; machines speak with each other.

    Azure's name service answers whatever a rule for everybody says, so it is shut by its own name.

    Args:
        sources: the networks that SSH comes from.
        network: the stack's.
        copy: the off-site copy that fills it, which its machines reach.
        opened: by a machine's address, the ports at which everybody reaches it.
        tunnels: to its machines elsewhere; None where there are none.

    Source: Microsoft, "Virtual network service tags" (AzurePlatformDNS) and "What is IP address 168.63.129.16?".

    >>> [rule["name"] for rule in fence_rules(["203.0.113.7/32"], IPv4Network("10.0.0.0/24"), None, {})]
    ['ssh', 'into', 'shut-in', 'names', 'out', 'shut-out']
    """
    inside = {"source_address_prefix": str(network), "destination_address_prefix": str(network)}
    come, leave = {"direction": "Inbound"}, {"direction": "Outbound"}
    ssh = {"source_address_prefixes": sorted(sources), "destination_address_prefix": str(network)}
    rules = [
        _rule("ssh", _FIRST, "Allow", **come, **ssh, protocol="Tcp", destination_port_ranges=["22"]),
        _rule("into", _FIRST + 1, "Allow", **come, **inside),
        *(
            _rule(
                f"open-{address}".replace(".", "-"),
                _OPENED + index,
                "Allow",
                **come,
                protocol="Tcp",
                destination_address_prefix=str(address),
                destination_port_ranges=[str(port) for port in ports],
            )
            for index, (address, ports) in enumerate(sorted(opened.items()))
        ),
        _rule("shut-in", _LAST, "Deny", **come),
        _rule("names", _FIRST, "Deny", **leave, destination_address_prefix="AzurePlatformDNS"),
        _rule("out", _FIRST + 1, "Allow", **leave, **inside),
        _rule("shut-out", _LAST, "Deny", **leave),
    ]
    if copy:
        where = {"destination_address_prefixes": [str(each) for each in copy.networks]}
        ports = [str(port) for port in copy.ports]
        rules.append(
            _rule("copy", _FIRST + 2, "Allow", **leave, **where, protocol="Tcp", destination_port_ranges=ports)
        )
    if tunnels:
        passing = {"protocol": "Udp", "destination_port_ranges": [f"{tunnels.ports[0]}-{tunnels.ports[1]}"]}
        clouds = [tunnels.clouds[name] for name in sorted(tunnels.clouds)]
        whence = {"source_address_prefixes": [*sorted(tunnels.computers), *clouds]}
        inward = {**come, **whence, "destination_address_prefix": str(network)}
        rules.append(_rule("tunnels", _FIRST + 2, "Allow", **inward, **passing))
        if clouds:
            outward = {**leave, "source_address_prefix": str(network), "destination_address_prefixes": clouds}
            rules.append(_rule("tunnels-out", _FIRST + 3, "Allow", **outward, **passing))
    return rules


def _rule(name: str, priority: int, access: str, **told: Any) -> dict[str, Any]:
    """Return a rule of which everything that is not told is for any."""
    values = {"name": name, "priority": priority, "access": access, "protocol": _ANY, "source_port_range": _ANY, **told}
    for side in ("source_address_prefix", "destination_address_prefix", "destination_port_range"):
        if side not in values and f"{side}es" not in values and f"{side}s" not in values:
            values[side] = _ANY
    return values


def name_pattern(name: str) -> str:
    """Return the pattern by which Azure's plugin looks for images of one's own; in the name ``*`` is for anything.

    >>> name_pattern("shop.v-*")
    '^shop\\\\.v-.*$'
    """
    return f"^{'.*'.join(map(re.escape, name.split('*')))}$".replace(r"\-", "-")
