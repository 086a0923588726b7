"""Takes a lost host back: what the stack still has there is taken away, and machines may be placed there again.

On a stage `up` and `place` do so by themselves; of a stack that mirrors nothing they only say what is there still.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from cli.arguments import add_stack, add_yes, agreed, project_directory, short_stack
from cli.files import read_lock, write_lock
from cli.host._returned import present_way
from cli.hosts import sweep
from cli.pulumi_state import PulumiState
from components.files import state_place
from model import names
from model.errors import UnderstudyError
from model.placement import file_name
from model.readers import one_of
from provisioners.hypervisor.door import There


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy host back`."""
    parser.add_argument("name", help="a host that was given up by `understudy host lost`")
    add_stack(parser)
    add_yes(parser)


def run(arguments: argparse.Namespace) -> int:
    """Sweep it, and mark it as lost no more."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    lock = read_lock(directory, stack)
    lost = {host.name: host for host in lock.lost} if lock else {}
    if lock is None or arguments.name not in lost:
        known = one_of(sorted(lost)) if lost else "a host that is lost: there is none"
        raise UnderstudyError(where=f"{file_name(stack)}: lost", found=f"no {arguments.name}", wanted=known)
    host, owner = lost[arguments.name], names.owner(stack, state_place(os.environ))
    way = There(present_way(directory, host) or host.connection)
    with PulumiState(directory, stack) as state:
        there = sweep(way, host.name, stack, owner, state.exported, print, act=False)
        print("\n".join([f"{host.name} has of {stack}:", *(there or ["nothing"])]))
        if there and not agreed(arguments):
            print("nothing was changed")
            return 1
        for line in sweep(way, host.name, stack, owner, state.exported, print, act=True) if there else ():
            print(f"removed {line}")
    write_lock(directory, stack, replace(lock, lost=tuple(each for each in lock.lost if each != host)))
    print(f"{host.name} is lost no more, and may be used again")
    return 0
