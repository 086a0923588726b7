"""Gives up hosts that have vanished: the stack's state forgets what was there, and the machines are placed anew.

`up` then builds those machines elsewhere, and fills what stores were lost with them; all others stay as they are. A
host that answers is not given up. What the stack had there stays there: once the host answers again, `up` and `place`
sweep it before it is used. Killed in between, it is finished by being run again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.arguments import add_stack, add_yes, agreed, project_directory, short_stack
from cli.files import load_environment, read_lock, write_lock
from cli.hosts import uris_of
from cli.place import lines, place
from cli.pulumi_state import PulumiState
from model.capacity import HERE, LIBVIRT
from model.capacity_reader import FILE
from model.environment import Environment
from model.errors import UnderstudyError
from model.host_uri import host_of, host_uri
from model.lost import LostData, lost_data, machines_on, placement_without, without_host
from model.placement import Accelerator, PlacedHost, Placement, file_name
from model.placing import built_machines
from model.readers import one_of
from model.topology import Access
from provisioners.hypervisor.door import There

_PATIENCE_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy host lost`."""
    parser.add_argument("name", nargs="+", help=f"a host of {FILE} that has vanished")
    add_stack(parser)
    add_yes(parser)
    least = "give up also the newest data of a store, where a replica still has it and the stack mirrors nothing"
    parser.add_argument("--force", action="store_true", help=least)


def run(arguments: argparse.Namespace) -> int:
    """Give them up."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    environment, lock = load_environment(directory, stack), read_lock(directory, stack)
    with PulumiState(directory, stack) as state:
        deployment = state.exported
        lost = tuple(_vanished(stack, name, deployment, lock) for name in sorted(set(arguments.name)))
        names = [host.name for host in lost]
        machines = machines_on(deployment, lock, names)
        data = lost_data(environment.topology, machines, lock.seeds if lock else (), mirror=bool(environment.mirror_of))
        print("\n".join(_told(environment, machines, data)))
        if not arguments.force:
            _refuse_last(data)
        if not agreed(arguments):
            print("nothing was changed")
            return 1
        if lock is not None:  # first: as long as the state has it, running this again finishes it
            lock = placement_without(lock, lost)
            write_lock(directory, stack, lock)
        for name in names:
            deployment = without_host(deployment, name)
        if deployment != state.exported:
            state.replace(deployment)
            left = len(deployment["deployment"].get("resources") or ())
            count = len(state.exported["deployment"]["resources"]) - left
            print(f"the state of {stack} has forgotten {count} resources, and has {left}")
    _place_anew(directory, environment, lock, lost)
    print(f"Next: ./run pulumi up -s {stack}")
    return 0


def _place_anew(
    directory: Path, environment: Environment, before: Placement | None, lost: Sequence[PlacedHost]
) -> None:
    given_up = ", ".join(host.name for host in lost)
    try:
        placement = place(directory, environment, before, lost=lost)
    except UnderstudyError:
        print(
            f"{given_up} is given up, and its machines have no place yet: `up` and `place` look for one",
            file=sys.stderr,
        )
        raise
    write_lock(directory, environment.stack, placement)
    for line in lines(placement, before):
        print(f"{file_name(environment.stack)}: {line}")


def _vanished(stack: str, name: str, deployment: Mapping[str, Any], lock: Placement | None) -> PlacedHost:
    """Return a host that the stack has and that does not answer, as the lock file has it.

    Raises:
        UnderstudyError: the stack has no such host, or it answers.
    """
    placed = next((host for host in (*lock.hosts, *lock.lost) if host.name == name), None) if lock else None
    uris = uris_of(deployment, lock) | ({name: host_uri(placed)} if placed and placed.kind == LIBVIRT else {})
    if name == HERE or name not in uris:
        what = "this computer" if name == HERE else "a cloud" if placed else f"no host of stack {stack}"
        known = one_of(sorted(uris)) if uris else f"another computer: {stack} has none"
        raise UnderstudyError(where=f"host {name}", found=what, wanted=known)
    way = host_of(uris[name])
    assert way is not None
    try:
        There(way, _PATIENCE_SECONDS).call("version", say=lambda _: None)
    except UnderstudyError as error:
        print(f"{name} does not answer: {error.found}")
    else:
        raise UnderstudyError(
            where=f"host {name}",
            found="it answers, and so does its libvirt",
            wanted="one that has vanished",
            todo=f"To move its machines while it is there: leave it to other stacks in {FILE} (`stacks`), then "
            f"`./run understudy place -s {stack}` and `./run pulumi up -s {stack}`.",
        )
    access = Access(host=way.address, port=way.port, user=way.user, sudo=way.sudo, jump=way.jump)
    unknown = Accelerator(kind="tcg", reason="not known any more")
    return placed or PlacedHost(name=name, access=access, host_key=way.host_key, accelerator=unknown)


def _told(environment: Environment, lost: Collection[str], data: Sequence[LostData]) -> Iterator[str]:
    yield f"lost with it: {', '.join(lost) or 'no machine'}"
    for each in data:
        yield f"  store {each.store}: {each.words}"
    kept = [machine.name for machine in built_machines(environment.topology.machines) if machine.name not in lost]
    if kept:
        yield f"kept as they are: {', '.join(kept)}"


def _refuse_last(data: Sequence[LostData]) -> None:
    """What only a replica has, of a stack whose data is no copy, is not thrown away by the way.

    Raises:
        UnderstudyError: it would be.
    """
    for each in data:
        if each.last:
            raise UnderstudyError(
                where=f"store {each.store}",
                found=each.words,
                wanted="a replica that is done with, since the next `up` would lose its data",
                todo="Take a backup of that replica first. Then, to go on all the same: --force.",
            )
