"""Decides what a lock file fixes: a control network, an address for each machine, and whether the host has the room."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType

from model.capacity import HERE
from model.placement import CONTROL_PREFIX, FIRST_ADDRESS, OwnImage, PlacedMachine
from model.topology import Machine

# Source: RFC 2544 and RFC 6890: 198.18.0.0/15 is for benchmarks, routed nowhere; so no prod has it.
CONTROL_NETWORKS = IPv4Network("198.18.0.0/15")

MACHINE_OVERHEAD_MIB = 256
"""Memory that a running machine takes beside its own: the emulator, and its translated code, which has a limit."""
SYSTEM_GROWTH_MIB = 1024
"""Disk that a machine's system disk, a linked clone, is expected to take in the end."""
IMAGE_MIB = 4096
"""Disk that the machine image, its build, and the templates take."""
HEADROOM = 0.1
"""The share of the host's memory and disk that is left to its owner."""
NOTHING_THERE: Mapping[str, Mapping[str, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a host has: all of it, and what is free, in MiB."""

    memory_mib: int
    free_memory_mib: int
    disk_mib: int
    free_disk_mib: int


def built_machines(machines: Collection[Machine]) -> tuple[Machine, ...]:
    """Return the machines that are built, in their order; those that exist already are not placed."""
    return tuple(machine for machine in machines if machine.existing is None)


def decide_control_network(stack: str, taken: Collection[IPv4Network]) -> IPv4Network | None:
    """Return a network that overlaps none of the taken ones, None where there is none left.

    The stack's name says where the search begins: so a stack has the same network nearly always and everywhere.

    >>> network = decide_control_network("stage", [])
    >>> network == decide_control_network("stage", []), decide_control_network("stage", [network]) == network
    (True, False)
    """
    candidates = list(CONTROL_NETWORKS.subnets(new_prefix=CONTROL_PREFIX))
    start = int(hashlib.sha256(stack.encode()).hexdigest(), 16) % len(candidates)
    in_turn = candidates[start:] + candidates[:start]
    return next((network for network in in_turn if not any(network.overlaps(other) for other in taken)), None)


def decide_machines(
    machines: Sequence[Machine], network: IPv4Network, before: Collection[PlacedMachine]
) -> tuple[PlacedMachine, ...] | None:
    """Return where each machine goes: where it was before, or, if it is new, the first free address on this host.

    Args:
        machines: those that are to be built.
        network: the stack's control network.
        before: what the lock file said; machines that are no more are dropped.

    Returns:
        The places, sorted by name; None where the network has too few addresses.
    """
    kept = {place.name: place for place in before if place.control_address in network}
    wanted = sorted(machine.name for machine in machines)
    used = {kept[name].control_address for name in wanted if name in kept}
    free = (address for address in _addresses(network) if address not in used)
    new = {name: next(free, None) for name in wanted if name not in kept}
    if None in new.values():
        return None
    placed = {
        name: PlacedMachine(name=name, host=HERE, control_address=address) for name, address in new.items() if address
    }
    return tuple(kept.get(name) or placed[name] for name in wanted)


def decide_small_disks(machines: Collection[Machine], own_image: OwnImage | None) -> tuple[str, ...]:
    """Return what system disks the user's own image does not fit in, in words.

    >>> decide_small_disks((), OwnImage(source="mine.qcow2", disk_mib=10240))
    ()
    """
    least = own_image.disk_mib if own_image else 0
    return tuple(
        f"{machine.name}'s system_disk has {machine.system_disk_mib} MiB"
        for machine in built_machines(machines)
        if machine.system_disk_mib < least
    )


def _addresses(network: IPv4Network) -> list[IPv4Address]:
    return list(network)[FIRST_ADDRESS:-1]


def decide_shortages(
    machines: Collection[Machine], host: Host, there: Mapping[str, Mapping[str, int]] = NOTHING_THERE
) -> tuple[str, ...]:
    """Return what a host is short of to run these machines, in words; nothing where it has the room.

    Args:
        machines: all that are to run there.
        host: what it has.
        there: what those that are there already have, by their names, as ``sizes_here`` gives it; of them only what
            they are to have beyond it is counted.

    >>> decide_shortages((), Host(memory_mib=4096, free_memory_mib=512, disk_mib=65536, free_disk_mib=1024))
    ()
    """
    memory = [_more_memory(machine, there.get(machine.name)) for machine in machines]
    disk = [_more_disk(machine, there.get(machine.name)) for machine in machines]
    image = 0 if all(machine.name in there for machine in machines) else IMAGE_MIB
    rows = (
        ("memory", memory, 0, host.free_memory_mib, int(host.memory_mib * HEADROOM)),
        ("disk", disk, image, host.free_disk_mib, int(host.disk_mib * HEADROOM)),
    )
    return tuple(
        f"{what}: {needed} MiB for {_counted(needs)} and {left} MiB left to its owner, but {free} MiB are free"
        for what, needs, beside, free, left in rows
        if any(needs) and (needed := sum(needs) + beside) + left > free
    )


def _more_memory(machine: Machine, there: Mapping[str, int] | None) -> int:
    if there is None:
        return machine.memory_mib + MACHINE_OVERHEAD_MIB
    return max(0, machine.memory_mib - there.get("memory_mib", 0))


def _more_disk(machine: Machine, there: Mapping[str, int] | None) -> int:
    if there is None:
        return min(machine.system_disk_mib, SYSTEM_GROWTH_MIB) + machine.data_disk_mib
    return max(0, machine.data_disk_mib - there.get("data_disk_mib", 0))


def _counted(needs: Sequence[int]) -> str:
    count = sum(need > 0 for need in needs)
    return "1 machine" if count == 1 else f"{count} machines"
