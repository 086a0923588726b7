"""Chooses the off-site copy that a stack is filled from: the first with capacity, credentials and data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TypeVar

from cli.capacity import load_capacity
from cli.clouds import refuse_unfit_clouds
from cli.pins import in_words, newest_pins
from components.price_tables import estimates
from model.environment import Environment
from model.errors import UnderstudyError
from model.offsite import Finding, OffsiteCopy, decide_offsite, unfit_host
from model.placement import Accelerator, PinnedSeed, PlacedHost, PlacedMachine, Placement
from model.topology import Backup, Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The copy that was taken, and what comes of it: where the machines are, and what fills the stores."""

    host: str
    machines: tuple[PlacedMachine, ...]
    hosts: tuple[PlacedHost, ...]
    seeds: tuple[PinnedSeed, ...]


def take_copy(
    directory: Path, environment: Environment, machines: Sequence[PlacedMachine], say: Callable[[str], None]
) -> Taken:
    """Return the first copy of the stack's file that lacks nothing, and say why it is that one.

    Args:
        directory: the project's.
        environment: the stack.
        machines: those that are to be built; where, is chosen here.
        say: is told what was found of each copy that was looked at.

    Raises:
        UnderstudyError: each copy lacks something; with all of it.
    """
    findings: list[Finding] = []
    copies, taken = environment.settings.offsite, None
    for copy in copies:
        say(f"looking at the copy beside {copy.host}")
        finding, taken = _look(directory, environment, copy, machines, say)
        findings.append(finding)
        if taken:
            break
    host, reasons = decide_offsite(findings, len(copies))
    if not host or taken is None:
        raise UnderstudyError(
            where=f"Pulumi.{environment.stack}.yaml: offsite",
            found="no copy has capacity, credentials and data:\n" + "\n".join(reasons),
            todo="Mend what one of them lacks.",
        )
    for reason in reasons:
        say(reason)
    return taken


def _look(
    directory: Path,
    environment: Environment,
    copy: OffsiteCopy,
    machines: Sequence[PlacedMachine],
    say: Callable[[str], None],
) -> tuple[Finding, Taken | None]:
    """Look at a copy: at all three, so that whoever mends it is told everything at once."""
    stack = environment.at_copy(copy.host)
    lacks: list[tuple[str, str]] = []
    placed = _tried(lacks, "capacity", lambda: _place(directory, stack, copy, machines))
    if placed:
        found = _placement(*placed)
        _tried(lacks, "credentials", lambda: refuse_unfit_clouds(directory, stack, found, say, account=True))
    _tried(lacks, "credentials", lambda: _refuse_writers(stack, copy))
    seeds = _tried(lacks, "data", lambda: newest_pins(directory, stack, ()))
    if lacks or placed is None or seeds is None:
        return Finding(host=copy.host, lacks=tuple(lacks)), None
    cost = estimates(directory, stack, _placement(*placed)).values()
    has = [("cost", line) for line in cost] + [("data", f"{pin.store} {in_words(pin)}") for pin in seeds]
    taken = Taken(host=copy.host, machines=placed[0], hosts=placed[1], seeds=seeds)
    return Finding(host=copy.host, has=tuple(has)), taken


def _tried(lacks: list[tuple[str, str]], what: str, act: Callable[[], T]) -> T | None:
    """Return what comes of it; note what is missing, once: without credentials there is no data either."""
    try:
        return act()
    except UnderstudyError as error:
        if (line := _line(error)) not in {why for _, why in lacks}:
            lacks.append((what, line))
    return None


def _line(error: UnderstudyError) -> str:
    return " ".join(str(error).split())


def _place(
    directory: Path, stack: Environment, copy: OffsiteCopy, machines: Sequence[PlacedMachine]
) -> tuple[tuple[PlacedMachine, ...], tuple[PlacedHost, ...]]:
    from cli.spread import spread  # with the solver's needs, which take a moment to import

    if unfit := unfit_host(copy, load_capacity(directory), stack.stack):
        raise UnderstudyError(where=f"host {copy.host}", found=unfit)
    return spread(directory, stack, machines, None)


def _placement(machines: tuple[PlacedMachine, ...], hosts: tuple[PlacedHost, ...]) -> Placement:
    """Return as much of a placement as has to do with clouds."""
    nowhere = Accelerator(kind="tcg", reason="no machine is built here")
    network = IPv4Network(f"{machines[0].control_address}/24", strict=False)
    return Placement(control_network=network, accelerator=nowhere, image="", machines=machines, hosts=hosts)


def _refuse_writers(stack: Environment, copy: OffsiteCopy) -> None:
    """See that the credentials of each bucket can only read, and that the machines' fence lets them get there."""
    from provisioners.stores import own_fetch
    from provisioners.stores.bucket import Bucket, cache_directory

    for store in stack.topology.stores:
        if store.backup is None:
            continue
        backup = store.backup
        Bucket(backup.location, backup.endpoint, backup.region, cache_directory(), backup.profile).refuse_writing()
        if backup.fetched_by:
            _refuse_outside(store, backup, copy, own_fetch.addresses(backup))


def _refuse_outside(store: Store, backup: Backup, copy: OffsiteCopy, found: Sequence[str]) -> None:
    if outside := [text for text in found if not copy.lets_out_to(IPv4Address(text))]:
        raise UnderstudyError(
            where=f"store {store.name}: {backup.endpoint or backup.location}",
            found=f"it is at {', '.join(outside)}",
            wanted=f"an address in {', '.join(map(str, copy.networks))}, which the machines' fence lets them reach",
            todo=f"Correct `networks` beside `host: {copy.host}`.",
        )
