"""Chooses where the machines of a stack run, and writes it into its lock file.

What the lock file fixes already stays: only what is missing is added, such as a new machine. `--again` chooses all of
it anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

from cli.arguments import add_stack, project_directory, short_stack
from cli.files import is_mirror, load_environment, read_lock, write_lock
from cli.pins import newest_pins, pin_lines
from cli.pulumi_state import PulumiState
from images import build, own
from model import names
from model.capacity import HERE
from model.environment import Environment
from model.errors import UnderstudyError
from model.placement import Accelerator, OwnImage, PlacedHost, PlacedMachine, Placement, file_name
from model.placing import (
    CONTROL_NETWORKS,
    built_machines,
    decide_control_network,
    decide_machines,
    decide_shortages,
    decide_small_disks,
)
from model.state import sizes_here
from model.topology import Machine
from model.tunnels import own_address
from provisioners import this_computer
from provisioners.hypervisor import accelerator

_NOTHING_BUILT = Accelerator(kind="tcg", reason="no machine is built here")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy place`."""
    add_stack(parser)
    parser.add_argument("--again", action="store_true", help="forget the lock file and choose everything anew")
    what = "take the machine image as it is now: what `image` names, or the project's present recipe"
    parser.add_argument("--image", action="store_true", help=what)
    better = "look for better places, and move as few machines as possible"
    parser.add_argument("--rebalance", action="store_true", help=better)
    parser.add_argument("--explain", action="store_true", help="say why each machine is where it is; writes nothing")


def run(arguments: argparse.Namespace) -> int:
    """Place a stack and say what was chosen."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    environment = load_environment(directory, stack)
    before = _lock_to_replace(directory, stack) if arguments.again else read_lock(directory, stack)
    kept = None if arguments.again else before
    if arguments.explain:
        from cli.spread import explain

        copies = [kept.offsite] if kept else [copy.host for copy in environment.settings.offsite]
        whole, reasons = explain(directory, environment.at_copy(next(iter(copies), "")), kept)
        print("\n".join(reasons))
        return 0 if whole else 1
    if before and before.lost:
        before = _swept(directory, stack, before)
        kept = None if arguments.again else before
    lost = before.lost if before else ()
    placement = place(
        directory, environment, kept, image_anew=arguments.image, rebalance=arguments.rebalance, lost=lost
    )
    if placement == before:
        print(f"{file_name(stack)}: nothing is missing; everything stays as it is")
        return 0
    print(f"wrote {write_lock(directory, stack, placement).name}")
    for line in lines(placement, before):
        print(f"  {line}")
    return 0


def _swept(directory: Path, stack: str, before: Placement) -> Placement:
    """Sweep the lost hosts that are back, so that they may be chosen."""
    from cli.host._returned import sweep_returned

    with PulumiState(directory, stack) as state:
        return sweep_returned(directory, state, before, say, act=is_mirror(directory, stack))


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


def place(
    directory: Path,
    environment: Environment,
    before: Placement | None,
    *,
    image_anew: bool = False,
    rebalance: bool = False,
    lost: Sequence[PlacedHost] = (),
) -> Placement:
    """Return a placement that has all that an environment needs, and of ``before`` whatever still holds.

    Args:
        directory: the project's.
        environment: what is to be placed.
        before: what the lock file says; None where there is none.
        image_anew: whether the machine image is taken as it is now, rather than as it was.
        rebalance: whether to look for better hosts although every machine has one.
        lost: hosts that are not chosen, beside those of the lock file.

    Raises:
        UnderstudyError: the hosts are too small or not fit, or a store has no good snapshot.
    """
    wanted = built_machines(environment.topology.machines)
    lost = before.lost if before else tuple(lost)
    network = before.control_network if before else _control_network(directory, environment.stack)
    machines = decide_machines(wanted, network, before.machines if before else ())
    if machines is None:
        raise UnderstudyError(where=str(network), found=f"{len(wanted)} machines", wanted="at most 245")
    offsite = before.offsite if before else ""
    if environment.settings.offsite and not offsite:
        from cli.offsite import take_copy  # with what it needs to ask clouds, which takes a moment to import

        taken = take_copy(directory, environment, machines, say)
        offsite, machines, hosts, pins = taken.host, taken.machines, taken.hosts, taken.seeds
    else:
        environment = environment.at_copy(offsite)
        machines, hosts = _hosts(directory, environment, machines, before, rebalance=rebalance, lost=lost)
        pins = newest_pins(directory, environment, before.seeds if before else ())
    found = Placement(
        control_network=network,
        accelerator=before.accelerator if before else _NOTHING_BUILT,
        image=before.image if before else "",
        own_image=before.own_image if before else None,
        machines=machines,
        seeds=pins,
        hosts=hosts,
        offsite=offsite,
        lost=lost,
    )
    if hosts:
        from cli.spread import addressed

        found = addressed(directory, found, before)
    if before and not image_anew and (not found.needs_image or _has_image(before, environment)):
        _refuse_small_disks(environment, before.own_image)
        return found
    image, own_image = _image(directory, environment) if found.needs_image else ("", None)
    chosen = before.accelerator if before and before.image else None
    return replace(
        found,
        accelerator=chosen or (accelerator.choose(kernel, say) if found.needs_image else _NOTHING_BUILT),
        image=image,
        own_image=own_image,
    )


def _hosts(
    directory: Path,
    environment: Environment,
    machines: tuple[PlacedMachine, ...],
    before: Placement | None,
    *,
    rebalance: bool,
    lost: Sequence[PlacedHost],
) -> tuple[tuple[PlacedMachine, ...], tuple[PlacedHost, ...]]:
    if environment.settings.capacity != HERE:
        from cli.spread import spread  # with what it needs to reach others, which takes a moment to import

        return spread(directory, environment, machines, before, rebalance=rebalance, lost=lost)
    _refuse_shortages(directory, environment)
    return tuple(replace(each, host=HERE, instance_type="") for each in machines), ()


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


def _refuse_shortages(directory: Path, environment: Environment) -> None:
    """The state is read only where there is too little room for all of it: much may be there already."""
    machines, room = built_machines(environment.topology.machines), this_computer.room()
    shortages = decide_shortages(machines, room)
    if shortages:
        shortages = decide_shortages(machines, room, _there(directory, environment.stack, machines))
    if shortages:
        raise UnderstudyError(
            where="this computer",
            found=f"too little room for stack {environment.stack}",
            wanted="; ".join(shortages),
            todo="Free some, or give the machines less: in their file, or with `at_most` in a mirror's.",
        )


def _there(directory: Path, stack: str, machines: Iterable[Machine]) -> dict[str, dict[str, int]]:
    """What those of the machines have that are on this computer, by the stack's state."""
    try:
        with PulumiState(directory, stack) as state:
            sizes = sizes_here(state.exported)
    except UnderstudyError as error:
        say(f"counted as if none of its machines were there: {error}")
        return {}
    domains = {machine.name: names.domain(stack, machine.name) for machine in machines}
    return {name: sizes[domain] for name, domain in domains.items() if domain in sizes}


def _has_image(placement: Placement, environment: Environment) -> bool:
    """Whether the image that is named is the one that was taken; what it holds now is another question."""
    taken = placement.own_image.source if placement.own_image else ""
    return placement.image != "" and taken == environment.topology.image


def _image(directory: Path, environment: Environment) -> tuple[str, OwnImage | None]:
    source = environment.topology.image
    if not source:
        return build.ensure(say).digest, None
    least = min(machine.system_disk_mib for machine in built_machines(environment.topology.machines))
    found = own.bring(source, directory, least, say)
    return found.digest, OwnImage(source=source, disk_mib=found.disk_mib)


def _refuse_small_disks(environment: Environment, own_image: OwnImage | None) -> None:
    small = decide_small_disks(environment.topology.machines, own_image)
    if own_image and small:
        raise UnderstudyError(
            where=f"stack {environment.stack}: image {own_image.source}",
            found=", ".join(small),
            wanted=f"at least the image's {own_image.disk_mib} MiB",
        )


def kernel() -> Path:
    """Return a kernel to time the processors with; an image of the user's own keeps its kernel to itself."""
    from cli.capacity import kernel_here  # with what it needs to reach others, which takes a moment to import

    return kernel_here() or build.ensure(say).kernel


def lines(placement: Placement, before: Placement | None) -> Iterable[str]:
    """Return what was chosen, in words; where there was a lock file before, only what changed."""
    for what, old, new in zip(
        ("control network", "processors", "image"), _common(before), _common(placement), strict=True
    ):
        if old != new:
            yield f"{what}: {f'{old} -> ' if old else ''}{new or 'none'}"
    for host in dict.fromkeys((HERE, *(host.name for host in placement.hosts))):
        old_address, address = (own_address(each, host) if each else None for each in (before, placement))
        if address and address != old_address:
            yield f"{'this computer' if host == HERE else host}: its machines' tunnels come from {address}"
    known: tuple[PlacedMachine, ...] = before.machines if before else ()
    for machine in placement.machines:
        if machine not in known:
            where = "this computer" if machine.host == HERE else f"{machine.host} {machine.instance_type}".strip()
            yield f"{machine.name}: on {where}, reached at {machine.control_address}"
    for place in known:
        if place.name not in {machine.name for machine in placement.machines}:
            yield f"{place.name}: no longer placed"
    yield from pin_lines(before.seeds if before else (), placement.seeds)


def _common(placement: Placement | None) -> tuple[str, str, str]:
    if placement is None:
        return "", "", ""
    accelerator = placement.accelerator
    image = f"{placement.image}, {placement.own_image.source}" if placement.own_image else placement.image
    return str(placement.control_network), f"{accelerator.kind}, since {accelerator.reason}", image
