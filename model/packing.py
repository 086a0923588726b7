"""Which machine runs on which host: the question, an answer, and whether it keeps the rules; pure.

The rules: a machine's host has what it needs; a replica is never beside its primary, unless there is one host only; a
cloud stays within its budget. Among the answers that keep them, the best one leaves out the fewest machines, then costs
least, then leaves the fewest machines without a place when any one host dies, then moves the fewest, then has the
fewest without hardware virtualisation, then uses the fewest hosts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from model.capacity import InstanceType

CENT = 100
"""Money is counted in hundredths of the price table's currency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a machine needs. Sizes in MiB.

    Args:
        disk_mib: what it is expected to take of a host's disk in the end.
        overhead_mib: memory that a host spends on it beside its own.
        rented_disk_mib: what has to be rented for it in a cloud.
    """

    name: str
    vcpus: int
    memory_mib: int
    disk_mib: int
    overhead_mib: int = 0
    rented_disk_mib: int = 0
    architecture: str = "x86_64"

    @property
    def amounts(self) -> tuple[int, int, int]:
        """Return what it takes of a host: processors, memory, disk."""
        return self.vcpus, self.memory_mib + self.overhead_mib, self.disk_mib


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnHost:
    """What a stack may have of a host that costs nothing.

    Args:
        cores: its cores; no machine has more processors.
        vcpus: processors of machines that may run there; ``memory_mib`` and ``disk_mib`` likewise.
        emulated: whether it has no hardware virtualisation that works.
    """

    name: str
    cores: int
    vcpus: int
    memory_mib: int
    disk_mib: int
    architecture: str = "x86_64"
    emulated: bool = False

    @property
    def amounts(self) -> tuple[int, int, int]:
        """Return what may be taken of it: processors, memory, disk."""
        return self.vcpus, self.memory_mib, self.disk_mib


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """A cloud: what it rents out, and what may be spent there a month."""

    name: str
    budget_per_month: float
    types: tuple[InstanceType, ...] = ()

    @property
    def budget_cents(self) -> int:
        """Return the budget in hundredths, rounded down."""
        return math.floor(self.budget_per_month * CENT + 1e-6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The whole question.

    Args:
        apart: pairs of a primary and its replica.
        before: where machines are by the lock file; hosts that are no more are not among them.
    """

    needs: tuple[Need, ...]
    hosts: tuple[OwnHost, ...] = ()
    clouds: tuple[Cloud, ...] = ()
    apart: tuple[tuple[str, str], ...] = ()
    before: Mapping[str, str]

    @property
    def places(self) -> tuple[OwnHost | Cloud, ...]:
        """Return everything that machines can be placed on."""
        return (*self.hosts, *self.clouds)

    @property
    def has_one_host(self) -> bool:
        """Return whether there is one place only: then a replica has to be beside its primary."""
        return len(self.places) == 1

    def need(self, name: str) -> Need:
        """Return what the machine of that name needs."""
        return next(need for need in self.needs if need.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Where each machine goes.

    Args:
        places: the host of each machine that has one.
        bound: what no answer is better than, in the sense of `weight`; None where nothing was proven.
        seconds: how long it took to find it.
        stranded: for each own host, the machines that would find no place if it died.
    """

    places: Mapping[str, str]
    bound: int | None = None
    seconds: float = 0.0
    stranded: Mapping[str, tuple[str, ...]]

    def left_out(self, problem: Problem) -> tuple[str, ...]:
        """Return the machines that have no place."""
        return tuple(need.name for need in problem.needs if need.name not in self.places)


RESOURCES = ("processors", "memory", "disk")


def fits_alone(need: Need, host: OwnHost) -> bool:
    """Tell whether a host could ever have a machine, if nothing else were there."""
    return need.architecture == host.architecture and need.vcpus <= host.cores and _within(need.amounts, host.amounts)


def rent(need: Need, cloud: Cloud) -> InstanceType | None:
    """Return the cheapest instance type that has what a machine needs, disk included; None where there is none."""
    fitting = [
        each
        for each in cloud.types
        if each.architecture == need.architecture and each.vcpus >= need.vcpus and each.memory_mib >= need.memory_mib
    ]
    return min(fitting, key=lambda each: (rent_cents(need, each), each.name), default=None)


def rent_cents(need: Need, rented: InstanceType) -> int:
    """Return what a machine costs a month on an instance type, in hundredths, rounded up."""
    price = rented.price_per_month + rented.disk_price_per_gib_month * need.rented_disk_mib / 1024
    return math.ceil(price * CENT - 1e-6)


def taken(problem: Problem, places: Mapping[str, str], host: str) -> tuple[int, int, int]:
    """Return what the machines that are placed on a host take of it."""
    there = [need.amounts for need in problem.needs if places.get(need.name) == host]
    return sum(each[0] for each in there), sum(each[1] for each in there), sum(each[2] for each in there)


def spent_cents(problem: Problem, places: Mapping[str, str], cloud: Cloud) -> int:
    """Return what the machines in a cloud cost a month, in hundredths."""
    return sum(cents for need in problem.needs if places.get(need.name) == cloud.name for cents in _cents(need, cloud))


def _cents(need: Need, cloud: Cloud) -> Iterator[int]:
    rented = rent(need, cloud)
    if rented is not None:
        yield rent_cents(need, rented)


def _within(amounts: Sequence[int], limits: Sequence[int]) -> bool:
    return all(amount <= limit for amount, limit in zip(amounts, limits, strict=True))


def broken_rules(problem: Problem, places: Mapping[str, str]) -> tuple[str, ...]:
    """Return every rule that an answer breaks, in words; it knows nothing of how the answer was found."""
    return (*_wrong_places(problem, places), *_overfull(problem, places), *_beside(problem, places))


def _wrong_places(problem: Problem, places: Mapping[str, str]) -> Iterable[str]:
    hosts, clouds = {host.name: host for host in problem.hosts}, {cloud.name: cloud for cloud in problem.clouds}
    names = {need.name for need in problem.needs}
    yield from (f"{name} is no machine" for name in places if name not in names)
    for need in problem.needs:
        place = places.get(need.name)
        if place in hosts:
            host = hosts[place]
            if need.architecture != host.architecture:
                yield f"{need.name} is {need.architecture}, {place} is {host.architecture}"
            if need.vcpus > host.cores:
                yield f"{need.name} has {need.vcpus} processors, {place} has {host.cores} cores"
        elif place in clouds:
            if rent(need, clouds[place]) is None:
                yield f"{place} has nothing that is large enough for {need.name}"
        elif place is not None:
            yield f"{need.name} is on {place}, which is no host"


def _overfull(problem: Problem, places: Mapping[str, str]) -> Iterable[str]:
    for host in problem.hosts:
        for what, used, limit in zip(RESOURCES, taken(problem, places, host.name), host.amounts, strict=True):
            if used > limit:
                yield f"{host.name}: {what}: {used} of {limit}"
    for cloud in problem.clouds:
        if (spent := spent_cents(problem, places, cloud)) > cloud.budget_cents:
            yield f"{cloud.name}: {spent / CENT:.2f} a month, budget {cloud.budget_per_month:.2f}"


def _beside(problem: Problem, places: Mapping[str, str]) -> Iterable[str]:
    own = {host.name for host in problem.hosts}
    for primary, replica in () if problem.has_one_host else problem.apart:
        if places.get(primary) in own and places.get(primary) == places.get(replica):
            yield f"{replica} is beside its primary {primary} on {places[primary]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What each thing weighs, so that no number of a later one outweighs one of an earlier."""

    left_out: int
    cent: int
    stranded: int
    moved: int
    emulated: int
    host: int = 1


def weights(problem: Problem) -> Weights:
    """Return the weights of a problem: machines and hosts are counted, so that the numbers stay small."""
    machines, hosts = len(problem.needs) + 1, len(problem.hosts) + len(problem.clouds) + 1
    dearest = sum(
        max((cents for cloud in problem.clouds for cents in _cents(need, cloud)), default=0) for need in problem.needs
    )
    emulated = hosts
    moved = emulated * machines
    stranded = moved * machines
    cent = stranded * machines
    return Weights(left_out=cent * (dearest + 1), cent=cent, stranded=stranded, moved=moved, emulated=emulated)


def weight(problem: Problem, answer: Answer) -> int:
    """Return how bad an answer is: the best has the least."""
    scale, places = weights(problem), answer.places
    emulated = {host.name for host in problem.hosts if host.emulated}
    return (
        scale.left_out * len(answer.left_out(problem))
        + scale.cent * sum(spent_cents(problem, places, cloud) for cloud in problem.clouds)
        + scale.stranded * sum(len(names) for names in answer.stranded.values())
        + scale.moved * sum(places.get(name) != host for name, host in problem.before.items())
        + scale.emulated * sum(place in emulated for place in places.values())
        + scale.host * len(set(places.values()))
    )


def fewest_hosts(problem: Problem) -> int:
    """Return how many own hosts are needed at least, if all machines are on them: so many of the roomiest have room.

    >>> hosts = tuple(OwnHost(name=name, cores=4, vcpus=8, memory_mib=4096, disk_mib=99999) for name in "ab")
    >>> needs = tuple(Need(name=name, vcpus=1, memory_mib=3000, disk_mib=10) for name in "xy")
    >>> fewest_hosts(Problem(needs=needs, hosts=hosts, before={}))
    2
    """
    least = 0
    for which in range(len(RESOURCES)):
        wanted = sum(need.amounts[which] for need in problem.needs)
        rooms = sorted((host.amounts[which] for host in problem.hosts), reverse=True)
        count = 0
        while wanted > 0 and count < len(rooms):
            wanted -= rooms[count]
            count += 1
        least = max(least, count)
    return least


def without(problem: Problem, places: Mapping[str, str], dead: str) -> Problem:
    """Return the question that is left when a host dies: its machines, and what room the others have beside theirs.

    In that hour a replica may be beside its primary: one of the two is being made anew.
    """
    lost = tuple(need for need in problem.needs if places.get(need.name) == dead)
    return Problem(
        needs=lost,
        hosts=tuple(_rest(host, taken(problem, places, host.name)) for host in problem.hosts if host.name != dead),
        clouds=tuple(
            Cloud(
                name=cloud.name,
                budget_per_month=(cloud.budget_cents - spent_cents(problem, places, cloud)) / CENT,
                types=cloud.types,
            )
            for cloud in problem.clouds
        ),
        before={},
    )


def _rest(host: OwnHost, used: tuple[int, int, int]) -> OwnHost:
    return OwnHost(
        name=host.name,
        cores=host.cores,
        vcpus=host.vcpus - used[0],
        memory_mib=host.memory_mib - used[1],
        disk_mib=host.disk_mib - used[2],
        architecture=host.architecture,
        emulated=host.emulated,
    )


def first_fit(problem: Problem) -> dict[str, str]:
    """Return a quick answer that keeps the rules and may leave machines out: the largest first, where it was if it can.

    It is where the solver begins, and proof enough where it leaves nothing out.
    """
    free = {host.name: list(host.amounts) for host in problem.hosts}
    money = {cloud.name: cloud.budget_cents for cloud in problem.clouds}
    partners: dict[str, set[str]] = {}
    for primary, replica in () if problem.has_one_host else problem.apart:
        partners.setdefault(primary, set()).add(replica)
        partners.setdefault(replica, set()).add(primary)
    places: dict[str, str] = {}
    for need in sorted(problem.needs, key=lambda need: (need.name not in problem.before, -need.memory_mib, need.name)):
        shut = {places[name] for name in partners.get(need.name, ()) if name in places}
        own = [host for host in problem.hosts if fits_alone(need, host) and host.name not in shut]
        own = [host for host in own if _within(need.amounts, free[host.name])]
        used = set(places.values())
        was = problem.before.get(need.name)
        own.sort(key=lambda each: (each.name != was, each.emulated, each.name not in used, -each.memory_mib))
        if own:
            places[need.name] = own[0].name
            free[own[0].name] = [have - take for have, take in zip(free[own[0].name], need.amounts, strict=True)]
            continue
        for cloud in problem.clouds:
            cents = next(_cents(need, cloud), None)
            if cents is not None and cents <= money[cloud.name]:
                places[need.name] = cloud.name
                money[cloud.name] -= cents
                break
    return places
