"""What becomes of lost hosts that answer again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from cli.capacity import load_capacity
from cli.files import write_lock
from cli.hosts import sweep
from cli.pulumi_state import PulumiState
from components.files import state_place
from model import names
from model.capacity_reader import FILE
from model.connection import Connection
from model.errors import UnderstudyError
from model.placement import PlacedHost, Placement
from provisioners.hypervisor.door import There
from provisioners.outcome import Say
from provisioners.probe import connection_of

_SHORT_SECONDS = 3.0
"""How long a lost host may take to answer: each `up` asks it."""


def sweep_returned(directory: Path, state: PulumiState, placement: Placement, say: Say, *, act: bool) -> Placement:
    """Sweep those of a stack's lost hosts that answer again, and return its lock file, in which they are lost no more.

    One that Capacity.yaml lists no more is not looked for any longer. Whatever is wrong with one stops nothing.

    Args:
        directory: the project's.
        state: the stack's, opened.
        placement: what the lock file says.
        say: is told of each.
        act: whether to take away what is there; otherwise a host that has something stays lost.
    """
    still = tuple(host for host in placement.lost if not _is_back(directory, state, host, say, act=act))
    if still == placement.lost:
        return placement
    found = replace(placement, lost=still)
    write_lock(directory, state.stack, found)
    return found


def _is_back(directory: Path, state: PulumiState, host: PlacedHost, say: Say, *, act: bool) -> bool:
    stack = state.stack
    there = f"what {stack} had there (machines {names.domain(stack, '…')}, {names.stack_directory(stack)})"
    try:
        way = present_way(directory, host)
        if way is None:
            say(f"{host.name} is lost, and no longer in {FILE}: {there} is left to you")
            return True
        owner = names.owner(stack, state_place(os.environ))
        lines = sweep(There(way, _SHORT_SECONDS), host.name, stack, owner, state.exported, lambda _: None, act=act)
    except UnderstudyError as error:
        say(f"{host.name} is lost still ({error.found}): {there} stays, and is taken away once it answers")
        return False
    if lines and not act:
        todo = f"./run understudy host back {host.name} -s {stack}"
        say(f"{host.name} answers again, and has still {', '.join(lines)}: {todo}")
        return False
    for line in lines:
        say(f"removed {line} on {host.name}: it was lost, and is back")
    say(f"{host.name} has nothing of {stack} any more, and may be used again")
    return True


def present_way(directory: Path, host: PlacedHost) -> Connection | None:
    """Return how a lost host is reached today; None where Capacity.yaml lists it no more.

    Raises:
        UnderstudyError: the file has faults, or the host's key cannot be read.
    """
    listed = next((each for each in load_capacity(directory) if each.name == host.name), None)
    if listed is None or listed.access is None:
        return None
    way = connection_of(listed, directory)
    return replace(way, sudo=listed.access.sudo, host_key=way.host_key or host.host_key)
