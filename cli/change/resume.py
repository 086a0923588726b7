"""Finishes taking a change back that failed on one of its machines, where that was cut off or a machine was away.

`./run pulumi up` begins it, and the next one finishes it too before it does anything else.
"""

from __future__ import annotations

import argparse

from cli.arguments import add_stack, project_directory, short_stack
from cli.change._note import failed_of, forget_note, read_note
from cli.change._rollout import take_back_all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy change resume`."""
    add_stack(parser)
    parser.add_argument("--leave", action="store_true", help="leave machines as they are that cannot be taken back")


def run(arguments: argparse.Namespace) -> int:
    """Finish it; 1 where a machine still has the new."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    if not failed_of(read_note(stack)):
        print(f"{stack}: no change that failed is left to be taken back")
        return 0
    whole = take_back_all(directory, stack, print)
    if arguments.leave and not whole:
        forget_note(stack)
        print("they are left as they are; the next preview with --refresh shows them")
    return 0 if whole or arguments.leave else 1
