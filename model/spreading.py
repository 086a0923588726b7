"""Puts machines and what was found on the hosts into one question of placement, and its answer into a lock file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from model import names
from model.capacity import ARCHITECTURES, HERE, InstanceType
from model.packing import Answer, Cloud, Need, OwnHost, Problem, rent
from model.placed_hosts import PlacedHost
from model.placement import PlacedMachine
from model.placing import IMAGE_MIB, MACHINE_OVERHEAD_MIB, SYSTEM_GROWTH_MIB, built_machines
from model.probed import ProbedHost, room
from model.topology import Machine, Topology

Prices = Mapping[str, tuple[InstanceType, ...]]
"""What each cloud among the hosts rents out."""


def question(
    stack: str,
    topology: Topology,
    probed: Sequence[ProbedHost],
    prices: Prices,
    before: Mapping[str, str],
    rented_gib: Callable[[Machine], int],
) -> Problem:
    """Return the question: the machines that are built, the hosts that can be used, and where machines were before.

    Args:
        stack: the stack's name; what its own machines take of a host already is not taken from it.
        topology: what is to be built.
        probed: what was found on the hosts.
        prices: what clouds rent out, by the host's name.
        before: where machines are by the lock file.
        rented_gib: how much disk is rented for a machine in a cloud, GiB.
    """
    machines = built_machines(topology.machines)
    own = {names.domain(stack, machine.name) for machine in machines}
    usable = [each for each in probed if each.usable]
    known = {each.host.name for each in usable}
    wanted = {machine.name for machine in machines}
    return Problem(
        needs=tuple(_need(machine, rented_gib(machine)) for machine in machines),
        hosts=tuple(_own_host(each, own) for each in usable if not each.host.is_cloud),
        clouds=tuple(
            Cloud(
                name=each.host.name,
                budget_per_month=each.host.budget_per_month or 0.0,
                types=prices.get(each.host.name, ()),
            )
            for each in usable
            if each.host.is_cloud
        ),
        apart=tuple(
            (store.primary, replica)
            for store in topology.stores
            for replica in store.replicas
            if {store.primary, replica} <= wanted
        ),
        before={name: host for name, host in before.items() if name in wanted and host in known},
    )


def _need(machine: Machine, rented_gib: int) -> Need:
    return Need(
        name=machine.name,
        vcpus=machine.vcpus,
        memory_mib=machine.memory_mib,
        disk_mib=min(machine.system_disk_mib, SYSTEM_GROWTH_MIB) + machine.data_disk_mib,
        overhead_mib=MACHINE_OVERHEAD_MIB,
        rented_disk_mib=rented_gib * 1024,
        architecture=ARCHITECTURES[0],
    )


def _own_host(probed: ProbedHost, own: Collection[str]) -> OwnHost:
    there = room(probed, own)
    return OwnHost(
        name=probed.host.name,
        cores=there.cores,
        vcpus=there.vcpus,
        memory_mib=there.memory_mib,
        disk_mib=max(0, there.disk_mib - IMAGE_MIB),
        architecture=probed.architecture,
        emulated=probed.accelerator is None or probed.accelerator.kind != "kvm",
    )


def placed(
    machines: Iterable[PlacedMachine], problem: Problem, answer: Answer, probed: Sequence[ProbedHost]
) -> tuple[tuple[PlacedMachine, ...], tuple[PlacedHost, ...]]:
    """Return the machines with their hosts, and what the lock file says of the hosts other than this computer."""
    found = tuple(_placed_machine(machine, problem, answer) for machine in machines)
    used = {machine.host for machine in found} - {HERE}
    hosts = (_placed_host(each) for each in probed if each.host.name in used)
    return found, tuple(sorted(hosts, key=lambda host: host.name))


def _placed_machine(machine: PlacedMachine, problem: Problem, answer: Answer) -> PlacedMachine:
    place = answer.places[machine.name]
    cloud = next((cloud for cloud in problem.clouds if cloud.name == place), None)
    rented = rent(problem.need(machine.name), cloud) if cloud else None
    return replace(machine, host=place, instance_type=rented.name if rented else "")


def _placed_host(probed: ProbedHost) -> PlacedHost:
    host = probed.host
    return PlacedHost(
        name=host.name,
        kind=host.kind,
        access=host.access,
        host_key=probed.host_key,
        accelerator=probed.accelerator,
        architecture=probed.architecture,
        region=host.region,
        image=host.image,
    )
