"""A whole environment: the parent of everything that a stack is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi import ResourceOptions

from components.asides import aside_of
from components.backends import Backend
from components.backends.choose import backend_of
from components.checks import Checks
from components.gate import behind, build_gate, own_log
from components.machine import Machine
from components.network import Network, build_all
from components.price_tables import estimates
from components.report import build_report
from components.resources import Gate, Reached, SshKeypair
from components.seed import Seed
from components.service import Service
from components.site import Site, built_stores
from components.templates import RenderedService
from components.tunnels import Tunnels
from model.capacity import HERE
from model.change.gate import adopts
from model.connection import existing_way
from model.rollout import portions, rollout_order
from model.tunnels import is_spread


class Environment(pulumi.ComponentResource):
    """The machines of a topology with all that runs on them. Of machines that exist already, only their services.

    Args:
        site: everything that it is to be.
        directory: the project's.
        backend: where the machines run; None for where the placement puts them.

    Attributes:
        outputs: what the stack shows in the end.
    """

    outputs: Mapping[str, Any]

    def __init__(self, site: Site, directory: Path, backend: Backend[Any, Any] | None = None) -> None:
        self._gate: Gate | None = None
        waiting = ResourceOptions(transformations=[behind(lambda: self._gate)])
        super().__init__("understudy:components:Environment", site.environment.stack, None, waiting)
        self._directory = directory
        self._site, self._backend, self._inside = site, backend, ResourceOptions(parent=self)
        self._gate = build_gate(site, directory, self._inside)
        machines = self._build_machines()
        self._reached = self._existing() | {name: machine.built.reached for name, machine in machines.items()}
        self._own = own_log(site, directory)
        seeds = {
            store.name: Seed(store, site, machines, directory, self._inside) for store in built_stores(site.environment)
        }
        services = self._build_services(machines, seeds)
        running = (
            *(service.there for service in services),
            *(server for seed in seeds.values() for server in seed.servers.values()),
        )
        data = tuple(seed.primary.data_id for seed in seeds.values())
        changes = tuple(service.there.backup for service in services)
        checks = Checks("checks", site, self._reached, running, data, changes, self._inside)
        self.outputs = build_report(site, machines, seeds, checks, directory, self._inside) | self._cost(directory)
        self.register_outputs({})

    def _cost(self, directory: Path) -> dict[str, Any]:
        """Say in each plan what machines in clouds come to; of the others, nothing."""
        told = estimates(directory, self._site.environment, self._site.placement)
        for host, line in told.items():
            pulumi.log.info(f"{host}: {line}", resource=self)
        return {"cost": told} if told else {}

    def _build_machines(self) -> dict[str, Machine]:
        built = [machine for machine in self._site.environment.topology.machines if machine.existing is None]
        if not built:
            return {}
        comment = f"understudy {self._site.environment.stack}"
        controller = SshKeypair("controller", comment=comment, opts=self._inside)
        places = {machine.name: self._site.placement.machine(machine.name).host for machine in built}
        networks = {
            host: Network(_network_name(host), self._backend_of(host), self._site, host, self._inside)
            for host in sorted(set(places.values()))
        }
        public = build_all(networks)
        machines = {
            machine.name: Machine(
                machine, self._backend_of(host), self._site, networks[host].ground, controller, self._inside
            )
            for machine in built
            for host in (places[machine.name],)
        }
        if is_spread(self._site.placement):
            reached = {name: machine.built.reached for name, machine in machines.items()}
            tunnels = Tunnels("tunnels", self._site, reached, public, self._inside)
            for machine in machines.values():
                machine.ready = (*machine.ready, *tunnels.ready)
        return machines

    def _existing(self) -> dict[str, Reached]:
        """Return how machines are reached that were there before us: with the user's own keys."""
        machines = self._site.environment.topology.machines
        ways = {machine.name: existing_way(machine) for machine in machines if machine.existing}
        return {
            name: Reached(name=name, connection=way.values(), private_key="", generation="", anchor=None)
            for name, way in ways.items()
        }

    def _backend_of(self, host: str) -> Backend[Any, Any]:
        return self._backend or backend_of(self._site.placement, host)

    def _build_services(self, machines: Mapping[str, Machine], seeds: Mapping[str, Seed]) -> list[Service]:
        by_service: dict[str, dict[str, RenderedService]] = {}
        for machine, running in self._site.services.items():
            for rendered in running:
                by_service.setdefault(rendered.service.name, {})[machine] = rendered
        return [service for each in by_service.values() for service in self._roll_out(each, machines, seeds)]

    def _roll_out(
        self, rendered: Mapping[str, RenderedService], machines: Mapping[str, Machine], seeds: Mapping[str, Seed]
    ) -> Iterator[Service]:
        """Build one service on its machines, portion after portion: what fails in one is not begun in the next."""
        passwords = {store: seed.password for store, seed in seeds.items()}
        before: tuple[pulumi.Resource, ...] = ()
        for portion in self._portions(rendered):
            built = []
            for name in portion:
                servers = [seed.servers[name] for seed in seeds.values() if name in seed.servers]
                ready = machines[name].ready if name in machines else ()
                after = (*ready, *(servers if rendered[name].needs_stores else ()), *before)
                adopt = None if name in machines else adopts(self._own, rendered[name].service.name)
                aside = aside_of(rendered[name], self._directory, self._site.environment.stack)
                built.append(Service(self._reached[name], rendered[name], passwords, after, self._inside, adopt, aside))
            yield from built
            before = tuple(service.there for service in built)

    def _portions(self, rendered: Mapping[str, RenderedService]) -> tuple[tuple[str, ...], ...]:
        service = next(iter(rendered.values())).service
        primaries = {store.primary for store in self._site.environment.topology.stores}
        return portions(service.rollout, rollout_order([*rendered], primaries))


def _network_name(host: str) -> str:
    return "network" if host == HERE else f"network-{host}"
