"""The machines that a stack has built, and the changes that they have copies of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.held import CHANGES, FOLDER
from cli.pulumi_state import PulumiState
from model.change.kept import KeptChange
from model.errors import UnderstudyError
from model.way_in import machine_names, way_in
from provisioners.changes.apply import changes_on
from provisioners.shell import connect

PATIENCE_SECONDS = 20.0
AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class There:
    """A change that a machine has copies of."""

    machine: str
    change: KeptChange


def deployment_of(directory: Path, stack: str) -> dict[str, Any]:
    """Return a stack's state, secrets included."""
    with PulumiState(directory, stack, secrets=True) as state:
        return state.exported


def changes_of(deployment: Mapping[str, Any], stack: str, names: Sequence[str] = ()) -> tuple[There, ...]:
    """Return the changes on a stack's machines, the newest first; the machines are asked side by side.

    Args:
        deployment: the stack's state.
        stack: its name, for errors.
        names: which machines; all that it has built where empty.

    Raises:
        UnderstudyError: a machine does not answer.
    """

    def ask(name: str) -> list[There]:
        connection, key = way_in(deployment, stack, name)
        with connect(connection, key, lambda _: None, PATIENCE_SECONDS) as shell:
            return [There(machine=name, change=change) for change in changes_on(shell)]

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        found = [there for each in pool.map(ask, names or machine_names(deployment)) for there in each]
    return tuple(sorted(found, key=lambda there: (there.change.at, there.machine), reverse=True))


def named(directory: Path, identifier: str) -> tuple[str, ...]:
    """Return the changes that an id means: itself, or, where it is that of a document with several, all of these."""
    for file in sorted(directory.glob(f"{FOLDER}/*-{identifier}*/{CHANGES}")) if identifier.isalnum() else ():
        changes = tuple(json.loads(file.read_text(encoding="utf-8")))
        if not any(each.startswith(identifier) for each in changes):
            return changes
    return (identifier,)


def chosen(found: Sequence[There], identifiers: Sequence[str], machine: str = "") -> tuple[There, ...]:
    """Return the changes that a person means by ids, or by their first digits.

    Raises:
        UnderstudyError: there is no such change.
    """
    meant = tuple(
        there
        for there in found
        if any(there.change.identifier.startswith(each) and len(each) >= 4 for each in identifiers)
        and machine in ("", there.machine)
    )
    if not meant:
        raise UnderstudyError(
            where=f"change {' '.join(identifiers)}",
            found="no machine has copies of it",
            wanted="at least the first four digits of an id",
            todo="`understudy change list` shows them.",
        )
    return meant
