"""What of a topology its machines can tell, for comparing one that was adopted with what it was built from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from components.site import read_services
from model.topology import Machine, Topology

_SILENT = {service.name for service in read_services(Path(__file__).parents[2]).values() if not service.units}
"""Services of the site that run no unit: nothing on a machine tells that it has them."""


def comparable(topology: Topology) -> Topology:
    """Leave out what machines do not tell: how they are reached, the order of replicas, which pages must come."""

    def told(machine: Machine) -> Machine:
        services = tuple(name for name in machine.services if name not in _SILENT)
        return replace(machine, existing=None, services=services)

    return replace(
        topology,
        machines=tuple(told(machine) for machine in topology.machines),
        stores=tuple(replace(store, replicas=tuple(sorted(store.replicas))) for store in topology.stores),
        pages=(),
    )
