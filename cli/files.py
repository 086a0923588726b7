"""Reads and writes the lock files, and reads the stacks' files, from the command line."""

from __future__ import annotations

import os
from pathlib import Path

from components import files
from components.strict_yaml import dump, parse
from model.configuration import read_environment
from model.environment import Environment
from model.errors import ConfigurationError
from model.placement import Placement, as_values, file_name, read_placement
from provisioners.hypervisor.host import write_whole

_HEADER = """\
# Written by `understudy place`, read by `pulumi`: what was chosen once, so that a preview is the same twice.
# `understudy seed --newest -s {stack}` moves the snapshots, `understudy place --image -s {stack}` the machine image;
# `understudy place --again -s {stack}` chooses all anew.
"""


def state_directory() -> Path:
    """Return where this user's part of what is remembered of stacks lies."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "understudy"


def is_mirror(directory: Path, stack: str) -> bool:
    """Tell from a stack's file alone whether it mirrors another: the file may have faults."""
    file = files.stack_files(directory).get(stack)
    return file is not None and "mirror" in file.config


def load_environment(directory: Path, stack: str) -> Environment:
    """Return what a stack is to be.

    Raises:
        ConfigurationError: with every fault of its files.
    """
    return read_environment(files.stack_files(directory), stack, services=files.service_names(directory))


def read_lock(directory: Path, stack: str) -> Placement | None:
    """Return what a stack's lock file says, None where there is none.

    Raises:
        ConfigurationError: with everything that is wrong with it.
    """
    path = directory / file_name(stack)
    if not path.is_file():
        return None
    values, faults = parse(path.name, files.read_text(path))
    if faults:
        raise ConfigurationError(faults)
    return read_placement(path.name, values)


def write_lock(directory: Path, stack: str, placement: Placement) -> Path:
    """Write a stack's lock file, whole or not at all, and return its path."""
    path = directory / file_name(stack)
    write_whole(path, _HEADER.format(stack=stack) + dump(as_values(placement)), mode=0o644)
    return path
