"""What can be foreseen of a change out of what an environment consists of: who goes on, and what is touched. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from model.change.document import Part, duration
from model.topology import Topology

FILL_IN = "TO FILL IN"
"""Begins what only a person knows; a document that has it is not finished."""


def who_else(topology: Topology, machine: str, service: str) -> str:
    """Return in a sentence who does a service's work while one machine does not; empty where nobody can tell.

    Args:
        topology: the environment.
        machine: the machine that does not answer for a while.
        service: what it does not answer for.
    """
    having = [each.name for each in topology.machines if service in each.services]
    if machine not in having:
        return ""
    others = ", ".join(name for name in having if name != machine)
    return f"{others} has {service} too, and goes on." if others else f"No other machine has {service}."


def away(topology: Topology, machine: str) -> tuple[str, ...]:
    """Return what users may notice while a whole machine is away, one line each."""
    lines = [f"{machine} is away until it has booted again."]
    for each in topology.machines:
        if each.name == machine:
            lines += [f"Its {service}: {who_else(topology, machine, service)}" for service in each.services]
    for store in topology.stores:
        replicas = ", ".join(store.replicas)
        if store.primary == machine:
            spare = f"its replica {replicas} can only be read" if replicas else "it has no replica"
            lines.append(f"The store {store.name} cannot be written meanwhile: {machine} is its primary, and {spare}.")
        elif machine in store.replicas:
            lines.append(f"The store {store.name} has a replica less meanwhile; its primary {store.primary} goes on.")
    return tuple(lines)


def risks(topology: Topology, parts: Sequence[Part]) -> tuple[str, ...]:
    """Return what is known of what may go wrong, one line each, and what a person has to add."""
    machines = tuple(dict.fromkeys(part.machine for part in parts if part.machine))
    lines = [f"It touches {len(machines)} machine{'s' if len(machines) > 1 else ''}: {', '.join(machines)}."] * bool(
        machines
    )
    for store in topology.stores:
        if concerned := [name for name in (store.primary, *store.replicas) if name in machines]:
            lines.append(f"The store {store.name} lies on {', '.join(concerned)}.")
    known = [part for part in parts if part.undo_seconds is not None]
    lines += [f"The way back of {part.name} was rehearsed: {duration(part.undo_seconds)}." for part in known]
    new = [part.name for part in parts if part.undo_seconds is None]
    if new:
        lines.append(f"Nobody has rehearsed yet: {', '.join(new)}.")
    lines += [f"{part.name} is not taken back by commands alone." for part in parts if _needs_person(part)]
    return (*lines, f"{FILL_IN}: what hangs on it if it goes wrong, and how likely that is (`--risk`).")


def _needs_person(part: Part) -> bool:
    return any(step.place == "person" for step in part.undo)


def when(notice: Sequence[str]) -> str:
    """Return when a change may be made.

    Args:
        notice: what users may notice of it, one line each.

    >>> when(())
    'At any time: nothing is restarted, and no machine is away.'
    """
    if not notice:
        return "At any time: nothing is restarted, and no machine is away."
    return f"{FILL_IN}: an hour at which what users will notice does least harm (`--when`)."
