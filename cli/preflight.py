"""Prepares a stack for Pulumi: checks its files, places it, and clears away what a killed run left behind.

`./run pulumi ...` does the same. Without a verb it only checks the files. Before a preview nothing is cleared away.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cli.arguments import add_stack, project_directory, short_stack
from cli.change._note import failed_of, read_note, take_note
from cli.drill_timer import is_installed
from cli.files import is_mirror, load_environment, read_lock, write_lock
from cli.pins import refuse_gone
from cli.place import kernel, lines, place
from cli.pulumi_state import PulumiState
from cli.went_round import has_log, look_round
from components.files import read_package_lock, state_place
from model import names
from model.capacity import HERE
from model.change.gate import has_become_mirror
from model.change.went_round import gate_of
from model.configuration import stack_file_name
from model.drilling import holds
from model.environment import Environment
from model.errors import UnderstudyError
from model.placement import Accelerator, OwnImage, Placement, file_name
from model.placing import built_machines
from model.state import (
    Recorded,
    half_made,
    left_alone,
    recorded,
    without_cut_off,
    without_half_made,
)
from provisioners import this_computer
from provisioners.hypervisor import accelerator

CHECKED = ("up", "preview")
"""The commands that run the program. The others work where a file has a fault too: a stage can always be removed."""
HELD_BY = "UNDERSTUDY_PLAN"
"""The variable in which `./run` says where the plan is to be written that `pulumi up` keeps to."""
CLEARED = ("up", "refresh", "destroy", "import")
"""The commands that change something, or the state."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy preflight`."""
    add_stack(parser)
    verbs = ", ".join(sorted({*CHECKED, *CLEARED}))
    parser.add_argument("verb", nargs="?", default="", help=f"the command of pulumi that follows: {verbs}")


def run(arguments: argparse.Namespace) -> int:
    """Prepare a stack for one command of Pulumi."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    if not arguments.verb:
        from components.site import read_described

        read_described(directory, stack, None)
        print(f"no faults in what describes stack {stack}")
        return 0
    return 0 if prepare(directory, stack, arguments.verb) else 1


def prepare(directory: Path, stack: str, verb: str) -> bool:
    """Prepare a stack for a command of Pulumi; return whether that may go on.

    Raises:
        UnderstudyError: what describes the stack has a fault, or it cannot be prepared.
    """
    mirrored = is_mirror(directory, stack)
    gated = not mirrored and has_log(directory, stack)
    if not _may_go_on(directory, stack, verb):
        return False
    if verb not in CLEARED:
        _prepare(directory, stack, verb, None)
        if gated:
            with PulumiState(directory, stack) as state:
                look_round(directory, state, say, act=False)
        return True
    with PulumiState(directory, stack) as state:  # Pulumi writes it out while the files are read
        if mirrored and verb in CHECKED and gate_of(state.exported):
            raise has_become_mirror(stack, "its state has it")
        _prepare(directory, stack, verb, None if mirrored else state)
        if gated:
            look_round(directory, state, say, act=True)
        lock = _lock_if_readable(directory, stack)
        _refuse_gone_pins(directory, stack, verb, lock, state.exported)
        clear(state, names.owner(stack, state_place(os.environ)), lock, mirrored=mirrored)
        if lock and lock.lost:
            from cli.host._returned import sweep_returned

            sweep_returned(directory, state, lock, say, act=mirrored)
        if verb == "destroy" and is_installed(stack):
            ends = f"./run understudy drill --remove -s {stack}"
            say(f"{stack} is drilled each night, which builds it again; to end that: {ends}")
        if verb == "up":
            if not mirrored:
                from cli.held import hold

                hold(directory, stack, say, os.environ.get(HELD_BY, ""))
            take_note(stack, state.exported)
    return True


def _may_go_on(directory: Path, stack: str, verb: str) -> bool:
    """Take back, before an update, what failed in an earlier one; return whether all of it is back, or need not be."""
    if not failed_of(read_note(stack)):
        return True
    if verb != "up":
        say(f"a change that failed is not taken back on all machines yet: ./run understudy change resume -s {stack}")
        return True
    from cli.change._rollout import take_back_all  # with what it needs to reach machines: a moment to import

    return take_back_all(directory, stack, say)


def say(line: str) -> None:
    """Show progress."""
    print(line, file=sys.stderr, flush=True)


def _prepare(directory: Path, stack: str, verb: str, state: PulumiState | None) -> None:
    """Raise where a file has faults; place the stack; see that the machines can be built.

    A state is given where machines are about to be made, and may have existed before us.
    """
    if verb not in CHECKED:
        return
    environment = load_environment(directory, stack)
    if state is not None:
        refuse_second(environment, left_alone(state.exported))
    placement = ensure_placed(directory, environment)
    if placement.hosts:
        from cli.spread import check_hosts  # with what it needs to reach others, which takes a moment to import

        check_hosts(directory, environment, placement)
        from cli.clouds import refuse_unfit_clouds

        refuse_unfit_clouds(directory, environment, placement, say, account=verb == "up")
    if state is not None and any(machine.existing and machine.services for machine in environment.topology.machines):
        from cli.adopted import refuse_others

        refuse_others(directory, environment, state.exported)
    if verb == "up" and any(machine.host == HERE for machine in placement.machines):
        _refuse_foreign_network(placement, stack)
        _refuse_foreign_processors(placement.accelerator, stack)
    if verb == "up" and placement.needs_image:
        ensure_image(directory, placement, stack)
        if placement.hosts:
            from cli.hosts import make_ready
            from images.build import IMAGES

            make_ready(stack, placement, IMAGES / placement.image[:12], say)
    if verb == "up" and placement.machines:
        ensure_packages(directory, environment)


def refuse_second(environment: Environment, existing: Collection[str]) -> None:
    """Refuse to build a machine that existed before us: `existing` was dropped from its description.

    Raises:
        UnderstudyError: a machine that is to be built was left alone by the last update.
    """
    second = [machine.name for machine in built_machines(environment.topology.machines) if machine.name in existing]
    if second:
        raise UnderstudyError(
            where=f"{stack_file_name(environment.stack)}: machines.{second[0]}",
            found=f"no `existing` any more, but {', '.join(second)} existed at the last `up`",
            wanted="`existing`, or no such machine: a second one of its name and address would be built",
            todo="If a new one is to take its place: take it out of the file, run `up`, put it back, run `up` again.",
        )


def ensure_placed(directory: Path, environment: Environment) -> Placement:
    """Return what the lock file says, once nothing is missing in it.

    Raises:
        UnderstudyError: the stack cannot be placed.
    """
    before = read_lock(directory, environment.stack)
    placement = place(directory, environment, before)
    if placement != before:
        write_lock(directory, environment.stack, placement)
        for line in lines(placement, before):
            say(f"{file_name(environment.stack)}: {line}")
    return placement


def _refuse_foreign_network(placement: Placement, stack: str) -> None:
    """The lock file may come from another computer, or a VPN came up since."""
    own = names.bridge(stack, "control")
    for card, network in this_computer.networks():
        if card != own and network.overlaps(placement.control_network):
            raise UnderstudyError(
                where=f"{file_name(stack)}: control_network",
                found=f"{placement.control_network}, but this computer has {network} on {card}",
                wanted="a network of the stack's own",
                todo=f"Remove that one, or run `./run understudy place --again -s {stack}`.",
            )


def _refuse_foreign_processors(locked: Accelerator, stack: str) -> None:
    """The lock file may come from another computer, or this one lost its hardware virtualisation since."""
    here = accelerator.choose(kernel, say)
    again = f"`./run understudy place --again -s {stack}`"
    if (locked.kind, here.kind) == ("tcg", "kvm"):
        say(f"{file_name(stack)} has processors emulated, yet {here.reason}; {again} chooses all anew")
    if (locked.kind, here.kind) == ("kvm", "tcg"):
        raise UnderstudyError(
            where=f"{file_name(stack)}: accelerator.kind",
            found=f"kvm, and on this computer {here.reason}",
            wanted="tcg, unless hardware virtualisation works here",
            todo=f"Run {again}: it chooses all anew, the backups too, and the preview shows what becomes of it.",
        )


def ensure_image(directory: Path, placement: Placement, stack: str) -> None:
    """See that the image is on this computer; make it again where that is still the same image.

    Raises:
        UnderstudyError: it is gone, and its recipe or its source is another by now.
    """
    from images import build, cache, recipe

    if placement.own_image:
        _ensure_own_image(directory, placement, placement.own_image, stack)
        return
    state, present = cache.usable(build.IMAGES / placement.image), recipe.recipe_digest()
    if isinstance(state, cache.ImagePaths):
        if present != placement.image:
            say(
                f"image {placement.image} is older than its recipe; `understudy place --image -s {stack}` takes the new"
            )
        return
    if present != placement.image:
        raise UnderstudyError(
            where=f"{file_name(stack)}: image",
            found=f"{placement.image}, {state}",
            wanted="an image that is on this computer, or whose recipe is the present one",
            todo=f"Run `./run understudy place --image -s {stack}`: the machines will be built anew.",
        )
    build.ensure(say)


def _ensure_own_image(directory: Path, placement: Placement, pinned: OwnImage, stack: str) -> None:
    from images import own

    state = own.usable(placement.image)
    if not isinstance(state, str):
        return
    say(f"image {placement.image[:12]}: {state}; taking it from {pinned.source}")
    found = own.bring(pinned.source, directory, pinned.disk_mib, say)
    if found.digest != placement.image:
        raise UnderstudyError(
            where=f"{file_name(stack)}: image",
            found=f"{pinned.source} now has the SHA-256 {found.digest}",
            wanted=f"{placement.image}, as it had when it was taken",
            todo=f"Put the old one back, or run `./run understudy place --image -s {stack}`: "
            "the machines will be built anew.",
        )


def ensure_packages(directory: Path, environment: Environment) -> None:
    """See that the packages that machines are to install are on this computer; fetch them where they are not.

    Raises:
        UnderstudyError: one can't be had any more, or is another file than the lock fixes.
    """
    running = {name for machine in environment.topology.machines for name in machine.services}
    locks = [lock for name in sorted(running) if (lock := read_package_lock(directory, name))]
    wanted = [package for lock in locks for package in lock.packages]
    if not wanted:
        return
    from provisioners import packages

    if packages.missing(wanted):
        packages.archive().ensure(wanted, say)


def _lock_if_readable(directory: Path, stack: str) -> Placement | None:
    """A stage can always be removed, whatever somebody wrote into its lock file."""
    try:
        return read_lock(directory, stack)
    except UnderstudyError:
        return None


def _refuse_gone_pins(
    directory: Path, stack: str, verb: str, lock: Placement | None, exported: Mapping[str, Any]
) -> None:
    """Raise where a store is to be filled, and its backups have no longer what it is pinned to."""
    if verb != "up" or lock is None or not lock.seeds:
        return
    moved = [pin for pin in lock.seeds if not holds(exported, pin)]
    if moved:
        refuse_gone(directory, load_environment(directory, stack).at_copy(lock.offsite), moved)


def clear(state: PulumiState, owner: str, placement: Placement | None, *, mirrored: bool) -> None:
    """Take away what is on the stack's hosts, has its mark, and is not in its state; then what was cut off there.

    What exists elsewhere (prod) is only named.
    """
    from cli.hosts import swept
    from cli.orphans import end_orphans
    from cli.rented import swept_clouds

    end_orphans(state.directory, say)
    deployment = state.exported
    if mirrored and (halves := half_made(deployment)):
        deployment = without_half_made(deployment)
        state.replace(deployment)
        say(f"forgot {', '.join(halves)}, which was made by half and is made anew")
    known = recorded(deployment)
    left_over = swept(state.stack, owner, deployment, placement, say, act=mirrored)
    left_over += swept_clouds(owner, deployment, placement, say, act=mirrored)
    for line in left_over:
        say(f"removed {line}: a run that was killed had left it" if mirrored else f"found {line}, not in the state")
    if left_over and not mirrored:
        say("remove these by hand, or import them; they are left alone, since this stack is no mirror")
    elif known.cut_off:
        state.replace(without_cut_off(deployment))
        say(f"forgot what a killed run had begun: {_in_words(known)}; it is done again")


def _in_words(known: Recorded) -> str:
    return ", ".join(f"{each.operation} {each.name}" for each in known.cut_off)
