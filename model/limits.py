"""A mirror on a small computer: machines as large as in prod's file, or as large as is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from model import rules
from model.readers import Place, read_count, read_keys, read_mib
from model.topology import Machine, Topology

Sizes = Mapping[str, Mapping[str, int] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a machine of a mirror has at most; None where nothing is said. Sizes in MiB."""

    vcpus: int | None = None
    memory_mib: int | None = None
    data_disk_mib: int | None = None


def read_limits(place: Place, value: object) -> Limits:
    """Return the limits that a mirror sets."""
    section = read_keys(place, value, required=(), optional=("vcpus", "memory", "data_disk"))
    return Limits(
        vcpus=section.read("vcpus", read_count, least=1, most=rules.MOST_VCPUS),
        memory_mib=section.read("memory", read_mib, least=rules.LEAST_MEMORY_MIB),
        data_disk_mib=section.read("data_disk", read_mib, least=rules.LEAST_DATA_DISK_MIB),
    )


def limited(topology: Topology, limits: Iterable[Limits | None]) -> Topology:
    """Return a topology in which no machine exceeds any of the limits."""
    machines = topology.machines
    for limit in limits:
        if limit is not None:
            machines = tuple(_limited(machine, limit) for machine in machines)
    return replace(topology, machines=machines)


def as_before(topology: Topology, sizes: Sizes) -> Topology:
    """Return a topology in which some machines are as large as they were, or not there, as before a change.

    Args:
        topology: with the change.
        sizes: of those machines, as `Machine.sizes` has them; None for one that was not there.
    """
    machines = tuple(
        _sized(machine, sizes.get(machine.name) or {})
        for machine in topology.machines
        if sizes.get(machine.name, {}) is not None
    )
    there = {machine.name for machine in machines}
    stores = tuple(
        replace(store, replicas=tuple(name for name in store.replicas if name in there))
        for store in topology.stores
        if store.primary in there
    )
    return replace(topology, machines=machines, stores=stores)


def _sized(machine: Machine, sizes: Mapping[str, int]) -> Machine:
    return replace(
        machine,
        vcpus=sizes.get("vcpus", machine.vcpus),
        memory_mib=sizes.get("memory_mib", machine.memory_mib),
        system_disk_mib=sizes.get("system_disk_mib", machine.system_disk_mib),
        data_disk_mib=sizes.get("data_disk_mib", machine.data_disk_mib),
    )


def _limited(machine: Machine, limit: Limits) -> Machine:
    return replace(
        machine,
        vcpus=_least(machine.vcpus, limit.vcpus),
        memory_mib=_least(machine.memory_mib, limit.memory_mib),
        data_disk_mib=_least(machine.data_disk_mib, limit.data_disk_mib),
    )


def _least(size: int, limit: int | None) -> int:
    return size if limit is None else min(size, limit)
