"""Arguments that several subcommands share."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from model.errors import UnderstudyError


def add_stack(parser: argparse.ArgumentParser) -> None:
    """Add `--stack` and `--cwd`, as `pulumi` has them."""
    parser.add_argument("-s", "--stack", default=os.environ.get("PULUMI_STACK", "stage"), help="default: %(default)s")
    add_directory(parser)


def add_directory(parser: argparse.ArgumentParser) -> None:
    """Add `--cwd`, the directory of the project."""
    parser.add_argument("-C", "--cwd", default=".", metavar="DIRECTORY", help="where Pulumi.yaml is, or below it")


def project_directory(start: str) -> Path:
    """Return the directory of the project that holds ``start``.

    Raises:
        UnderstudyError: neither it nor a directory above has a Pulumi.yaml.
    """
    here = Path(start).resolve()
    for directory in (here, *here.parents):
        if (directory / "Pulumi.yaml").is_file():
            return directory
    raise UnderstudyError(where=str(here), found="no Pulumi.yaml here or above", todo="Go to the project's directory.")


def short_stack(name: str) -> str:
    """Return a stack's own name out of Pulumi's long one.

    >>> short_stack("organization/understudy/stage")
    'stage'
    """
    return name.rpartition("/")[2]


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add `--yes`, as `pulumi` has it."""
    parser.add_argument("-y", "--yes", action="store_true", help="do it without asking")


def agreed(arguments: argparse.Namespace) -> bool:
    """Ask whether to go on, unless the answer is given already.

    Raises:
        UnderstudyError: there is nobody who could be asked.
    """
    if arguments.yes:
        return True
    if not sys.stdin.isatty():
        raise UnderstudyError(where="nothing was changed", found="nobody to ask", wanted="--yes")
    print("Go on? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
