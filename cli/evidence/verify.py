"""Verifies every record: its signature, its place in the chain, and that nothing that Git has is missing.

It asks nobody: `ssh-keygen`, `evidence/allowed_signers` and the log are enough. The first broken record is named.
"""

from __future__ import annotations

import argparse

from cli.arguments import add_directory, project_directory, short_stack
from cli.evidence._logs import read_with_git, stacks
from model.evidence.chain import Log, file_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy evidence verify`."""
    parser.add_argument("-s", "--stack", default="", help="only this stack's log; default: every one")
    add_directory(parser)


def run(arguments: argparse.Namespace) -> int:
    """Verify, and return 1 where a record is broken."""
    directory = project_directory(arguments.cwd)
    names = (short_stack(arguments.stack),) if arguments.stack else stacks(directory)
    logs = [read_with_git(directory, stack) for stack in names]
    for log in logs:
        print(in_words(log))
    if not logs:
        print("there is no evidence yet")
    return 1 if any(log.broken for log in logs) else 0


def in_words(log: Log) -> str:
    """Return what came of it.

    >>> in_words(Log(stack="stage"))
    'evidence/stage.jsonl: no records yet'
    """
    name = file_name(log.stack)
    if log.broken is not None:
        return f"{name}: record {log.broken.n} is BROKEN: {log.broken.why}"
    if not log.records:
        return f"{name}: no records yet"
    last, count = log.records[-1], len(log.records)
    return f"{name}: {count} {'record' if count == 1 else 'records'}, all good; the last of {last.at} by {last.who}"
