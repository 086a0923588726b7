"""Lists the changes that the machines of a stack have copies of, the newest first."""

from __future__ import annotations

import argparse

from cli.arguments import add_stack, project_directory, short_stack
from cli.change._machines import changes_of, deployment_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy change list`."""
    add_stack(parser)
    parser.add_argument("machines", nargs="*", metavar="MACHINE", help="default: all")


def run(arguments: argparse.Namespace) -> int:
    """List them."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    found = changes_of(deployment_of(directory, stack), stack, arguments.machines)
    for there in found:
        change = there.change
        at = f"{change.at:%Y-%m-%d %H:%M:%S} UTC"
        print(f"{at}  {change.identifier}  {there.machine:<12} {change.service:<12} {change.state}")
    if not found:
        print(f"no machine of {stack} was changed since it was made")
    return 0
