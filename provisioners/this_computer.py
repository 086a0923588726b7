"""What this computer has: free memory and disk, and the networks that it knows."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from model.placing import Host
from provisioners.hypervisor.host import ROOT, ToolFailed, tool

_MIB = 1024 * 1024
_WIDEST = 8
"""Shorter prefixes are default routes in disguise, such as a VPN's 0.0.0.0/1."""


def room() -> Host:
    """Return the memory and the disk of this computer, all of it and what is free."""
    memory = memory_of(Path("/proc/meminfo").read_text(encoding="ascii"))
    where = next(path for path in (ROOT, *ROOT.parents) if path.exists())
    disk = os.statvfs(where)
    return Host(
        memory_mib=memory["MemTotal"],
        free_memory_mib=memory["MemAvailable"],
        disk_mib=disk.f_blocks * disk.f_frsize // _MIB,
        free_disk_mib=disk.f_bavail * disk.f_frsize // _MIB,
    )


def memory_of(meminfo: str) -> dict[str, int]:
    """Return what ``/proc/meminfo`` says, in MiB.

    >>> memory_of("MemTotal:        2097152 kB\\nMemAvailable:    1048576 kB\\n")
    {'MemTotal': 2048, 'MemAvailable': 1024}
    """
    return {name: int(size) // 1024 for name, size in re.findall(r"^(\w+): +([0-9]+) kB$", meminfo, re.MULTILINE)}


def networks() -> tuple[tuple[str, IPv4Network], ...]:
    """Return the networks to which this computer has an address or a route, each with the interface's name.

    Raises:
        ToolFailed: they cannot be listed.
    """
    addresses = json.loads(tool("ip", "-json", "-4", "address", "show") or "[]")
    routes = json.loads(tool("ip", "-json", "-4", "route", "show", "table", "all") or "[]")
    return networks_of(addresses, routes)


def addresses() -> tuple[IPv4Address, ...]:
    """Return the addresses of this computer.

    Raises:
        ToolFailed: they cannot be listed.
    """
    cards = json.loads(tool("ip", "-json", "-4", "address", "show") or "[]")
    return tuple(IPv4Address(each["local"]) for card in cards for each in card.get("addr_info", ()) if "local" in each)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How this computer comes to an address: by which card, with which address of its own, over which next hop."""

    card: str
    own: IPv4Address
    hop: IPv4Address


def way_towards(address: IPv4Address) -> Way | None:
    """Return how this computer comes to an address; None where there is no way."""
    try:
        found = json.loads(tool("ip", "-json", "-4", "route", "get", str(address)) or "[]")
    except ToolFailed:  # what `ip` says of an address to which there is no route
        return None
    way = next((each for each in found if "prefsrc" in each), None)
    if way is None:
        return None
    return Way(card=way["dev"], own=IPv4Address(way["prefsrc"]), hop=IPv4Address(way.get("gateway", address)))


def networks_of(
    addresses: Iterable[Mapping[str, Any]], routes: Iterable[Mapping[str, Any]]
) -> tuple[tuple[str, IPv4Network], ...]:
    """Return the networks in what ``ip -json address`` and ``ip -json route`` tell.

    >>> networks_of([{"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}]}],
    ...             [{"dst": "default", "dev": "eth0"}, {"dst": "10.1.0.0/16", "dev": "eth0"}])
    (('lo', IPv4Network('127.0.0.0/8')), ('eth0', IPv4Network('10.1.0.0/16')))
    """
    found = [
        (str(card.get("ifname", "")), f"{address['local']}/{address['prefixlen']}")
        for card in addresses
        for address in card.get("addr_info", ())
        if "local" in address
    ]
    found += [(str(route.get("dev", "")), route["dst"]) for route in routes if route.get("dst", "default") != "default"]
    parsed = ((card, IPv4Network(text, strict=False)) for card, text in found)
    return tuple(dict.fromkeys((card, network) for card, network in parsed if network.prefixlen >= _WIDEST))
