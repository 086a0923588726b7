"""Reads the file that lists where machines may run, and probes what it lists."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from components.files import read_text
from components.strict_yaml import parse
from images import build
from model.capacity import HERE, CapacityHost
from model.capacity_reader import FILE, read_capacity
from model.errors import UnderstudyError
from model.probed import ProbedHost
from model.readers import meant, one_of
from provisioners.probe import Prober

_THIS_COMPUTER = CapacityHost(name=HERE)


def load_capacity(directory: Path) -> tuple[CapacityHost, ...]:
    """Return the hosts that `Capacity.yaml` lists; this computer alone where there is no such file.

    Raises:
        ConfigurationError: with every fault of it.
    """
    path = directory / FILE
    return read_capacity(*parse(path.name, read_text(path))) if path.is_file() else (_THIS_COMPUTER,)


def chosen(hosts: tuple[CapacityHost, ...], names: Collection[str]) -> tuple[CapacityHost, ...]:
    """Return the hosts of these names; all where none is named.

    Raises:
        UnderstudyError: a name is none of theirs.
    """
    known = {host.name for host in hosts}
    for name in names:
        if name not in known:
            raise UnderstudyError(where=FILE, found=f"no host {name}", wanted=f"{one_of(known)}{meant(name, known)}")
    return tuple(host for host in hosts if not names or host.name in names)


def probe(directory: Path, hosts: Collection[CapacityHost]) -> tuple[ProbedHost, ...]:
    """Return what is found on these hosts, side by side."""
    return Prober(directory=directory, moment=datetime.now(UTC), kernel=kernel_here, say=say).probe_all(hosts)


def kernel_here() -> Path | None:
    """Return a kernel of this computer that can be read, the running one if possible; None where there is none."""
    running = Path("/boot", f"vmlinuz-{os.uname().release}")
    found = [running, *sorted(build.IMAGES.glob("*/vmlinuz"))]
    return next((path for path in found if os.access(path, os.R_OK)), None)


def say(line: str) -> None:
    """Show progress."""
    print(line, file=sys.stderr, flush=True)
