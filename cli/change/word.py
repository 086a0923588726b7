"""Gives your word, signed, that a change did well on the stage: for a service that has no automatic check yet.

It counts as the check of the rehearsal of this change, and for a service that no stage has, as the rehearsal. Or, with
`--by-hand`, that something which a change needs and no command can see was done: `up` gives the digest, and waits.
"""

from __future__ import annotations

import argparse

from cli.arguments import add_stack, project_directory, short_stack
from cli.change._signing import add_digest, add_key, record_of_change, refuse_other_stack, told


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy change word`."""
    add_stack(parser)
    add_digest(parser)
    add_key(parser)
    parser.add_argument(
        "--by-hand", action="store_true", help="it is something done by hand, on whatever stack: an update waits for it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Record it in the stage's log."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    if not arguments.by_hand:
        refuse_other_stack(directory, stack, mirror=True)
    print(told(record_of_change(arguments, directory, stack, "word")))
    return 0
