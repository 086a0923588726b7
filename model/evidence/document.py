"""What a report shows of one stack: its machines and who speaks to whom, the restores, and the checks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.evidence.records import Check, Restore
from model.evidence.values import from_values
from model.topology import Machine, Topology

BALANCER, APPLICATION, PRIMARY, REPLICA = "load balancer", "application", "primary", "replica"

_ROLES = {"haproxy": BALANCER, "app": APPLICATION}
# They serve the stores on their machine, and are no role of their own.
_HELPERS = frozenset({"heartbeat", "pgbackrest", "postgresql", "mariadb"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnMachine:
    """One machine as the report shows it. Sizes in MiB, 0 where not known.

    Args:
        roles: what it is, such as ``load balancer``, ``primary``.
        spare: whether it stands by until another fails.
        existing: whether it was there before, and is left alone.
        host: the computer on which it runs.
        backend: how it is made there, such as ``libvirt``.
        started: ``warm`` or ``cold``; empty where it was not started by us.
        boot_seconds: until it could be used; None where not measured.
    """

    name: str
    address: str
    roles: tuple[str, ...]
    vcpus: int
    memory_mib: int
    services: tuple[str, ...] = ()
    system_disk_mib: int = 0
    data_disk_mib: int = 0
    spare: bool = False
    existing: bool = False
    host: str = ""
    backend: str = ""
    control_address: str = ""
    started: str = ""
    started_reason: str = ""
    boot_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """One machine speaks to another. ``kind`` is ``requests``, ``queries`` or ``replication``."""

    source: str
    target: str
    kind: str
    spare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Everything that a report shows but the drills. It has no clock: the same stack gives the same document."""

    stack: str
    machines: tuple[DrawnMachine, ...]
    mirror_of: str = ""
    domain: str = ""
    network: str = ""
    arrows: tuple[Arrow, ...] = ()
    restores: tuple[Restore, ...] = ()
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()


def document_from(values: object) -> Document:
    """Return the document that plain values describe.

    Raises:
        UnderstudyError: they do not describe one.
    """
    return from_values(Document, values, "document")


def _works(topology: Topology) -> dict[str, tuple[str, ...]]:
    """Return what each machine does for others behind a load balancer, by the machine's name."""
    stores = {name for store in topology.stores for name in (store.primary, *store.replicas)}
    works = {}
    for machine in topology.machines:
        names = [name for name in machine.services if _ROLES.get(name) != BALANCER and name not in _HELPERS]
        # Beside a store a service of unknown kind is taken for one that serves the store.
        works[machine.name] = tuple(name for name in names if name in _ROLES or machine.name not in stores)
    return works


def _balancers(topology: Topology) -> list[str]:
    return [machine.name for machine in topology.machines if any(_ROLES.get(n) == BALANCER for n in machine.services)]


def spares(topology: Topology) -> frozenset[str]:
    """Return the machines that stand by: behind a load balancer the first of a service works, as haproxy.cfg says."""
    if not _balancers(topology):
        return frozenset()
    seen: set[str] = set()
    found = set()
    for machine in topology.machines:
        works = set(_works(topology)[machine.name])
        if works and works <= seen:
            found.add(machine.name)
        seen |= works
    return frozenset(found)


def drawn_machines(topology: Topology) -> list[dict[str, Any]]:
    """Return the machines as a document has them, as far as the topology tells."""
    standing_by = spares(topology)
    return [_drawn(machine, topology, machine.name in standing_by) for machine in topology.machines]


def _drawn(machine: Machine, topology: Topology, spare: bool) -> dict[str, Any]:
    roles = [PRIMARY for store in topology.stores if store.primary == machine.name]
    roles += [REPLICA for store in topology.stores if machine.name in store.replicas]
    roles += [_ROLES.get(name, name) for name in machine.services if name not in _HELPERS]
    return {
        "name": machine.name,
        "address": str(machine.address),
        "roles": list(dict.fromkeys(roles)),
        "services": list(machine.services),
        "vcpus": machine.vcpus,
        "memory_mib": machine.memory_mib,
        "system_disk_mib": machine.system_disk_mib,
        "data_disk_mib": machine.data_disk_mib,
        "spare": spare,
        "existing": machine.existing is not None,
    }


def drawn_arrows(topology: Topology) -> list[dict[str, Any]]:
    """Return who speaks to whom: balancers to what works behind them, that to the stores, primaries to replicas."""
    standing_by = spares(topology)
    working = [name for name, works in _works(topology).items() if works]
    pairs = [(balancer, name) for balancer in _balancers(topology) for name in working if name != balancer]
    arrows = [(balancer, name, "requests") for balancer, name in pairs]
    primaries = dict.fromkeys(store.primary for store in topology.stores)
    arrows += [(name, primary, "queries") for name in working for primary in primaries if name != primary]
    arrows += [(store.primary, replica, "replication") for store in topology.stores for replica in store.replicas]
    return [
        {"source": source, "target": target, "kind": kind, "spare": bool({source, target} & standing_by)}
        for source, target, kind in arrows
    ]


def document_values(
    topology: Topology,
    *,
    stack: str,
    mirror_of: str = "",
    machines: Mapping[str, Mapping[str, Any]] | None = None,
    restores: Sequence[Any] = (),
    checks: Sequence[Any] = (),
    notes: Collection[Any] = (),
    alarms: Collection[str] = (),
) -> dict[str, Any]:
    """Return a document as plain values, in which values may be Pulumi outputs.

    Args:
        topology: the machines, and who speaks to whom.
        stack: the stack's own name.
        mirror_of: the stack that it mirrors.
        machines: by name, what is known of each beyond the topology: host, backend, control_address, started, …
        restores: values of `Restore`.
        checks: values of `Check`.
        notes: one line each.
        alarms: what must not be overlooked, one line each.
    """
    known = machines or {}
    return {
        "stack": stack,
        "mirror_of": mirror_of,
        "domain": topology.domain,
        "network": str(topology.network),
        "machines": [{**drawn, **known.get(drawn["name"], {})} for drawn in drawn_machines(topology)],
        "arrows": drawn_arrows(topology),
        "restores": list(restores),
        "checks": list(checks),
        "notes": list(notes),
        "alarms": list(alarms),
    }
