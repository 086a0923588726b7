"""What of a topology its machines can tell, for comparing one that was adopted with what it was built from."""

from __future__ import annotations

from dataclasses import replace

from model.topology import Topology


def comparable(topology: Topology) -> Topology:
    """Leave out what machines do not tell: how they are reached, the order of replicas, which pages must come."""
    return replace(
        topology,
        machines=tuple(replace(machine, existing=None) for machine in topology.machines),
        stores=tuple(replace(store, replicas=tuple(sorted(store.replicas))) for store in topology.stores),
        pages=(),
    )
