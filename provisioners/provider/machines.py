"""What the kinds that act on a machine share: reaching it, and knowing it by its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from model.connection import Connection, connection_of, connection_of_url
from provisioners.machine_lock import machine_lock
from provisioners.outcome import Say
from provisioners.provider.fate import fate
from provisioners.shell import USUAL_PATIENCE_SECONDS, Shell, Unreachable, connect

READ_PATIENCE_SECONDS = 15.0
"""A machine that is only looked at should be running."""
_GLANCE_SECONDS = 3.0


def place(inputs: Mapping[str, Any], identifier: str) -> tuple[Connection, str]:
    """Return how the machine is reached: as the inputs say, or, in an import, as the identifier ``ssh://…`` does."""
    if "connection" in inputs:
        return connection_of(inputs["connection"]), inputs.get("private_key") or ""
    return connection_of_url(identifier)[0], ""


def reach_of(shell: Shell) -> dict[str, Any]:
    """Return the common inputs of something that was imported: it has no generation yet."""
    return {"connection": shell.connection.values(), "private_key": "", "generation": ""}


@contextmanager
def reading(inputs: Mapping[str, Any], identifier: str, say: Say) -> Iterator[Shell]:
    """Give a shell that only looks.

    Raises:
        Unreachable: it does not answer; without waiting long where its host knows that it is off or gone.
    """
    connection, key = place(inputs, identifier)
    with ExitStack() as stack:
        try:
            first = _GLANCE_SECONDS if connection.domain else READ_PATIENCE_SECONDS
            shell = stack.enter_context(connect(connection, key, say, first))
        except Unreachable:
            if not connection.domain or fate(inputs) != "unknown":
                raise
            shell = stack.enter_context(connect(connection, key, say, READ_PATIENCE_SECONDS))
        yield shell


@contextmanager
def changing(
    inputs: Mapping[str, Any],
    what: str,
    say: Say,
    identifier: str = "",
    patience_seconds: float = USUAL_PATIENCE_SECONDS,
) -> Iterator[Shell]:
    """Give a shell that changes the machine, which no other controller does meanwhile.

    Args:
        inputs: with ``connection`` and ``private_key``.
        what: what for, in a few words; another controller that waits is shown it.
        say: is told about waiting.
        identifier: leads to the machine where the inputs do not, after an import.
        patience_seconds: how long the machine may take to answer.
    """
    connection, key = place(inputs, identifier)
    with connect(connection, key, say, patience_seconds) as shell, machine_lock(shell, what):
        yield shell
