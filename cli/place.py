"""Chooses where the machines of a stack run, and writes it into its lock file.

What the lock file fixes already stays: only what is missing is added, such as a new machine. `--again` chooses all of
it anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

from cli.arguments import add_stack, project_directory, short_stack
from cli.files import load_environment, read_lock, write_lock
from cli.pins import newest_pins, pin_lines
from images import build
from images.cache import ImagePaths
from model import names
from model.environment import Environment
from model.errors import UnderstudyError
from model.placement import Accelerator, PlacedMachine, Placement, file_name
from model.placing import CONTROL_NETWORKS, built_machines, decide_control_network, decide_machines, decide_shortages
from provisioners import this_computer
from provisioners.hypervisor import accelerator

_NOTHING_BUILT = Accelerator(kind="tcg", reason="no machine is built")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy place`."""
    add_stack(parser)
    parser.add_argument("--again", action="store_true", help="forget the lock file and choose everything anew")


def run(arguments: argparse.Namespace) -> int:
    """Place a stack and say what was chosen."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    environment = load_environment(directory, stack)
    before = _lock_to_replace(directory, stack) if arguments.again else read_lock(directory, stack)
    placement = place(directory, environment, None if arguments.again else before)
    if placement == before:
        print(f"{file_name(stack)}: nothing is missing; everything stays as it is")
        return 0
    print(f"wrote {write_lock(directory, stack, placement).name}")
    for line in lines(placement, before):
        print(f"  {line}")
    return 0


def _lock_to_replace(directory: Path, stack: str) -> Placement | None:
    """Return the old lock file to compare with; it may be the very one that cannot be read any more."""
    try:
        return read_lock(directory, stack)
    except UnderstudyError as error:
        say(f"replaced: {error}")
        return None


def say(line: str) -> None:
    """Show progress."""
    print(line, file=sys.stderr, flush=True)


def place(directory: Path, environment: Environment, before: Placement | None) -> Placement:
    """Return a placement that has all that an environment needs, and of ``before`` whatever still holds.

    Raises:
        UnderstudyError: this computer is too small or not fit, or a store has no good snapshot.
    """
    wanted = built_machines(environment.topology.machines)
    network = before.control_network if before else _control_network(directory, environment.stack)
    machines = decide_machines(wanted, network, before.machines if before else ())
    if machines is None:
        raise UnderstudyError(where=str(network), found=f"{len(wanted)} machines", wanted="at most 245")
    placed_before = {machine.name for machine in before.machines} if before else set()
    _refuse_shortages(environment, placed_before)
    pins = newest_pins(directory, environment, before.seeds if before else ())
    if before and (before.image or not wanted):
        return replace(before, machines=machines, seeds=pins)
    image = _image(environment) if wanted else None
    return Placement(
        control_network=network,
        accelerator=accelerator.choose(image.kernel, say) if image else _NOTHING_BUILT,
        image=image.digest if image else "",
        machines=machines,
        seeds=pins,
    )


def _control_network(directory: Path, stack: str) -> IPv4Network:
    """A network that neither this computer knows nor another stack of this project was given."""
    own = names.bridge(stack, "control")
    taken = [network for card, network in this_computer.networks() if card != own]
    network = decide_control_network(stack, [*taken, *_other_stacks(directory, stack)])
    if network is None:
        raise UnderstudyError(
            where="this computer's networks",
            found=f"all of {CONTROL_NETWORKS} is in use",
            wanted="a network of 256 addresses in it for the stack's control network",
            todo="See `ip route`; remove what is no longer needed.",
        )
    return network


def _other_stacks(directory: Path, stack: str) -> Iterable[IPv4Network]:
    for path in sorted(directory.glob(file_name("*"))):
        other = path.name.removeprefix("Placement.").removesuffix(".lock.yaml")
        try:
            lock = read_lock(directory, other) if other != stack else None
        except UnderstudyError as error:
            say(f"left aside: {error}")
            continue
        if lock:
            yield lock.control_network


def _refuse_shortages(environment: Environment, placed_before: set[str]) -> None:
    """Machines that were placed before may run already, and are not counted again."""
    new = [machine for machine in built_machines(environment.topology.machines) if machine.name not in placed_before]
    shortages = decide_shortages(new, this_computer.room())
    if shortages:
        raise UnderstudyError(
            where="this computer",
            found=f"too little room for stack {environment.stack}",
            wanted="; ".join(shortages),
            todo="Free some, or give the machines less: in their file, or with `at_most` in a mirror's.",
        )


def _image(environment: Environment) -> ImagePaths:
    if environment.topology.image:
        raise UnderstudyError(
            where=f"stack {environment.stack}: image",
            found=environment.topology.image,
            wanted="nothing: machines are built from the project's own image only, so far",
        )
    return build.ensure(say)


def lines(placement: Placement, before: Placement | None) -> Iterable[str]:
    """Return what was chosen, in words; where there was a lock file before, only what changed."""
    for what, old, new in zip(
        ("control network", "processors", "image"), _common(before), _common(placement), strict=True
    ):
        if old != new:
            yield f"{what}: {f'{old} -> ' if old else ''}{new or 'none'}"
    known: tuple[PlacedMachine, ...] = before.machines if before else ()
    for machine in placement.machines:
        if machine not in known:
            yield f"{machine.name}: on this computer, reached at {machine.control_address}"
    for place in known:
        if place.name not in {machine.name for machine in placement.machines}:
            yield f"{place.name}: no longer placed"
    yield from pin_lines(before.seeds if before else (), placement.seeds)


def _common(placement: Placement | None) -> tuple[str, str, str]:
    if placement is None:
        return "", "", ""
    accelerator = placement.accelerator
    return str(placement.control_network), f"{accelerator.kind}, since {accelerator.reason}", placement.image
