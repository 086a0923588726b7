"""Arguments that several subcommands share."""

from __future__ import annotations

import argparse
import os
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
