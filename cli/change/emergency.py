"""Opens the gate for one change without a rehearsal: once, for an hour, and loudly until a rehearsal follows.

The record is signed. Every preview, plan and report tells of it until the change was rehearsed.
"""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta

from cli.arguments import add_stack, project_directory, short_stack
from cli.change._signing import add_digest, add_key, record_of_change, refuse_other_stack, told
from model.change.rules import EMERGENCY_SECONDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy change emergency`."""
    add_stack(parser)
    parser.set_defaults(stack="prod")
    add_digest(parser)
    add_key(parser)


def run(arguments: argparse.Namespace) -> int:
    """Record it in prod's log."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    refuse_other_stack(directory, stack, mirror=False)
    record = record_of_change(arguments, directory, stack, "emergency")
    print(told(record))
    until = record.moment + timedelta(seconds=EMERGENCY_SECONDS)
    print(
        f"EMERGENCY: the gate of {stack} is open for this one change, once, until {until:%H:%M:%S} UTC: "
        f"./run pulumi up -s {stack}\nIt is shown in every preview and report until a rehearsal of it follows.",
        file=sys.stderr,
    )
    return 0
