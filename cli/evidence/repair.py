"""Takes away the last line of a log where it was never written whole. Nothing else is ever taken out of a log."""

from __future__ import annotations

import argparse

from cli.arguments import add_stack, project_directory, short_stack
from cli.evidence._logs import read_with_git
from cli.evidence.verify import in_words
from provisioners import evidence_log


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy evidence repair`."""
    add_stack(parser)


def run(arguments: argparse.Namespace) -> int:
    """Take it away, and return 1 where the log is broken otherwise."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    taken = evidence_log.repair(directory, stack)
    print(f"taken away: {taken}" if taken else "no half line there")
    log = read_with_git(directory, stack)
    print(in_words(log))
    return 1 if log.broken else 0
