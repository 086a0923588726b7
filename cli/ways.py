"""How each machine of a stack is reached: those that it has built as its state says, the others as its file says."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from cli.pulumi_state import PulumiState
from model.connection import Connection, existing_way
from model.environment import Environment
from model.errors import UnderstudyError
from model.topology import Access, Machine
from model.way_in import way_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a machine is reached: who logs in, the connection, and the private key; empty for the user's own."""

    access: Access
    connection: Connection
    key: str = ""


def ways(directory: Path, environment: Environment, states: ExitStack) -> dict[str, Way | str]:
    """Return how each machine is reached, or why it cannot be.

    Args:
        directory: the project's.
        environment: the stack.
        states: ends the export of the stack's state.
    """
    built = any(machine.existing is None for machine in environment.topology.machines)
    state = states.enter_context(PulumiState(directory, environment.stack, secrets=True)) if built else None
    found: dict[str, Way | str] = {}
    for machine in environment.topology.machines:
        try:
            found[machine.name] = _way(machine, environment.stack, state)
        except UnderstudyError as error:
            found[machine.name] = str(error)
    return found


def _way(machine: Machine, stack: str, state: PulumiState | None) -> Way:
    if machine.existing is not None:
        access = machine.existing
        # Commands run as who logs in: whoever runs them says which of them need sudo.
        return Way(access=access, connection=replace(existing_way(machine), sudo=False))
    assert state is not None
    connection, key = way_in(state.exported, stack, machine.name)
    access = Access(host=connection.address, port=connection.port, user=connection.user, sudo=connection.sudo)
    return Way(access=access, connection=connection, key=key)
