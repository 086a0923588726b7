"""Spreads a stack's machines over the hosts of Capacity.yaml, and explains where they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from cli.capacity import load_capacity, probe, say
from components.price_tables import refuse_expensive, rentable
from model.capacity import HERE, MOST_VCPUS_PER_CORE, CapacityHost
from model.capacity_reader import FILE
from model.environment import Environment
from model.errors import UnderstudyError
from model.packing import Answer, Problem
from model.packing_reasons import easiest_fix, explained, summary, survivors, why_not_there
from model.placement import PlacedHost, PlacedMachine, Placement
from model.probe_report import in_lines
from model.probed import ProbedHost
from model.rented import gib, system_disk_gib
from model.spreading import placed, question
from model.topology import Machine
from model.tunnels import clouds, computers, is_spread, refuse_unfit
from provisioners import this_computer


def spread(
    directory: Path,
    environment: Environment,
    machines: Sequence[PlacedMachine],
    before: Placement | None,
    *,
    rebalance: bool = False,
    lost: Sequence[PlacedHost] = (),
) -> tuple[tuple[PlacedMachine, ...], tuple[PlacedHost, ...]]:
    """Return the machines with their hosts, and those hosts that are not this computer.

    Machines that have a host by the lock file stay there, unless another place serves the others.

    Args:
        directory: the project's.
        environment: the stack.
        machines: those that are to be built, with their addresses; of new ones the host is not known yet.
        before: what the lock file says; None to choose anew.
        rebalance: whether to look for better places although every machine has one.
        lost: hosts that are not chosen until they were swept.

    Raises:
        UnderstudyError: a machine has no place, or the host where one is cannot be asked.
    """
    hosts = _without(usable_hosts(directory, environment), lost)
    known = {host.name for host in hosts}
    there = {machine.name: machine.host for machine in before.machines if machine.host in known} if before else {}
    if before and not rebalance and all(machine.name in there for machine in machines):
        used = {machine.host for machine in machines}
        return tuple(machines), tuple(host for host in before.hosts if host.name in used)
    probed = probe(directory, hosts)
    _refuse_gone(environment.stack, probed, there, {machine.name for machine in machines})
    problem = _question(directory, environment, probed, there)
    answer = _solved(problem)
    if left := answer.left_out(problem):
        raise _no_place(environment.stack, problem, answer, left, (*in_words(lost), *_out(probed)))
    for line in (*summary(problem, answer), *survivors(problem, answer)):
        say(line)
    return placed(machines, problem, answer, probed)


def usable_hosts(directory: Path, environment: Environment) -> tuple[CapacityHost, ...]:
    """Return the hosts that a stack may use.

    Raises:
        UnderstudyError: there is no file that lists hosts, or none of them is for this stack.
    """
    if environment.settings.capacity == HERE:
        return (CapacityHost(name=HERE, vcpus_per_core=MOST_VCPUS_PER_CORE),)  # as `place` has it: no limit to them
    if not (directory / FILE).is_file():
        raise UnderstudyError(
            where=f"stack {environment.stack}: capacity",
            found=f"`hosts`, but no {FILE}",
            wanted="the file that lists them",
            todo="Begin it with `hosts: {here: {}}`; see `Where it runs` in the README.",
        )
    stack = environment.stack
    found = tuple(host for host in load_capacity(directory) if not host.stacks or stack in host.stacks)
    if environment.copy:  # the machines are where their data is
        found = tuple(host for host in found if host.name == environment.copy.host)
    if not found:
        raise UnderstudyError(where=FILE, found=f"no host for stack {stack}", wanted=f"one whose `stacks` has {stack}")
    return found


def _without(hosts: Sequence[CapacityHost], lost: Sequence[PlacedHost]) -> tuple[CapacityHost, ...]:
    names = {host.name for host in lost}
    return tuple(host for host in hosts if host.name not in names)


def in_words(lost: Sequence[PlacedHost]) -> Iterator[str]:
    """Yield a line for each host that is lost."""
    for host in lost:
        yield f"{host.name}: out: it is lost; when it answers again, `up` or `place` sweeps it and may use it"


def _out(probed: Sequence[ProbedHost]) -> Iterator[str]:
    return (f"{each.host.name}: out: {each.why_not}" for each in probed if not each.usable)


def _solved(problem: Problem) -> Answer:
    from provisioners.solver import solve  # it takes a second to import

    return solve(problem)


def _question(
    directory: Path, environment: Environment, probed: Sequence[ProbedHost], there: Mapping[str, str]
) -> Problem:
    clouds = [each.host for each in probed if each.host.is_cloud]
    prices = {host.name: rentable(directory, host.kind, host.region) for host in clouds}
    return question(environment.stack, environment.topology, probed, prices, there, rented_gib)


def rented_gib(machine: Machine) -> int:
    """Return how much disk is rented for a machine in a cloud, GiB."""
    return system_disk_gib(machine) + gib(machine.data_disk_mib)


def check_hosts(directory: Path, environment: Environment, placement: Placement) -> None:
    """See that a lock file's hosts are such that machines can be built there, and cost no more than they may.

    Raises:
        UnderstudyError: they cannot be one network, or a cloud's machines come to more than its budget.
    """
    refuse_unfit(environment.stack, placement)
    budgets = {host.name: host.budget_per_month for host in load_capacity(directory)}
    for host in placement.hosts:
        if (budget := budgets.get(host.name)) is not None:
            refuse_expensive(directory, environment, placement, host, budget)


_SOMEWHERE = IPv4Address("192.0.2.1")
"""An address that is nobody's, to which one goes as to a cloud. Source: RFC 5737."""


def addressed(directory: Path, placement: Placement, before: Placement | None) -> Placement:
    """Return the placement with the addresses at which its computers reach each other, where there are several.

    This computer's own is, where nobody says another, the one with which it comes to the first of the others, or to a
    cloud; while there is no way there, the one that it had before.
    """
    there = computers(placement)
    if not is_spread(placement):
        hosts = tuple(replace(host, address=None) for host in placement.hosts)
        return replace(placement, hosts=hosts, address=None)
    listed = {host.name: host.address for host in load_capacity(directory)}
    hosts = tuple(replace(host, address=listed.get(host.name)) for host in placement.hosts)
    towards = next((host.address for host in hosts if host.address), _SOMEWHERE if clouds(placement) else None)
    way = this_computer.way_towards(towards) if towards else None
    own = listed.get(HERE) or (way.own if way else before.address if before else None)
    return replace(placement, hosts=hosts, address=own if HERE in there else None)


def _refuse_gone(stack: str, probed: Sequence[ProbedHost], there: Mapping[str, str], wanted: Collection[str]) -> None:
    """A host that is off for a while is no reason to build its machines a second time elsewhere."""
    for each in probed:
        left = [name for name, host in there.items() if host == each.host.name and name in wanted]
        if left and not each.usable:
            gone = f"Where it is gone for good: `./run understudy host lost {each.host.name} -s {stack}`."
            raise UnderstudyError(
                where=f"host {each.host.name}",
                found=f"{each.why_not}; {', '.join(sorted(left))} of stack {stack} is there",
                wanted="a host that can be asked",
                todo=f"{each.todo} {gone}".strip(),
            )


def _no_place(stack: str, problem: Problem, answer: Answer, left: Sequence[str], out: Iterable[str]) -> UnderstudyError:
    lines = []
    for name in left:
        lines.append(f"{name}: nowhere")
        lines += [f"  not on {place}: {why}" for place, why in why_not_there(problem, answer, name)]
        fix = easiest_fix(problem, answer.places, name)
        lines.append(f"  to fix it: {fix or 'give it less, or list a host that is large enough'}")
    return UnderstudyError(
        where=f"stack {stack}",
        found="\n".join([f"no place for {', '.join(left)}", *lines, *out]),
        todo=f"Where the others are, and why: ./run understudy place --explain -s {stack}",
    )


def explain(directory: Path, environment: Environment, before: Placement | None) -> tuple[bool, Iterable[str]]:
    """Return whether all machines have a place, and why: by the lock file if it has all, else by a new choice."""
    lost = before.lost if before else ()
    probed = probe(directory, _without(usable_hosts(directory, environment), lost))
    there = {machine.name: machine.host for machine in before.machines} if before else {}
    problem = _question(directory, environment, probed, there)
    if set(problem.before) == {need.name for need in problem.needs}:
        from provisioners.solver import stranded

        answer = Answer(places=dict(problem.before), stranded=stranded(problem, problem.before))
    else:
        answer = _solved(problem)
    lines = [
        *in_lines(probed),
        *in_words(lost),
        "",
        *explained(problem, answer),
        "",
        *summary(problem, answer),
        *survivors(problem, answer),
    ]
    return not answer.left_out(problem), lines
