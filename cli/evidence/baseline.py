"""Records what a stack began with, where its first `up` could not: nobody had a key yet.

What the gate's own state remembers is recorded, and only where the log has no baseline.
"""

from __future__ import annotations

import argparse

from cli.arguments import add_stack, project_directory, short_stack
from cli.change._signing import add_key, told
from cli.pulumi_state import PulumiState
from model.change.went_round import gate_of
from model.errors import UnderstudyError
from model.evidence.chain import file_name
from provisioners.provider.gate import record_baseline
from provisioners.signing import find_signer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy evidence baseline`."""
    add_stack(parser)
    parser.set_defaults(stack="prod")
    add_key(parser)


def run(arguments: argparse.Namespace) -> int:
    """Record it."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    with PulumiState(directory, stack) as state:
        gate = gate_of(state.exported)
    if gate is None:
        todo = f"`./run pulumi up -s {stack}` makes one, and records its baseline where you have a key."
        raise UnderstudyError(where=f"stack {stack}", found="no gate in its state", todo=todo)
    record = record_baseline(directory, stack, gate.let_through, find_signer(directory, file=arguments.key))
    print(told(record) if record else f"{file_name(stack)} has a baseline already")
    return 0
