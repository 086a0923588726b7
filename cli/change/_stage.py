"""The stage while a change is rehearsed on it: where it stands beside prod, what was made on it, and its way back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli.change._machines import PATIENCE_SECONDS, There, changes_of, deployment_of
from cli.pulumi_state import PulumiState
from components.site import read_site
from model.change.digest import NOTHING
from model.change.gate import let_through
from model.change.planned import Planned
from model.change.rehearsing import Base, Wanted, ahead, other_start, service_digests, with_again
from model.change.went_round import gate_of
from model.errors import UnderstudyError
from model.way_in import machine_names, way_in
from provisioners import evidence_log
from provisioners.changes.acts import STILL
from provisioners.changes.apply import back_out
from provisioners.machine_lock import machine_lock
from provisioners.shell import connect


def had_by_prod(directory: Path, prod: str) -> Base:
    """Return what prod's gate let through last: as its log says, else its state; None where there is none yet."""
    known: Base = let_through(evidence_log.read(directory, prod))
    if known is None:
        try:
            with PulumiState(directory, prod) as state:
                gate = gate_of(state.exported)
        except UnderstudyError:
            return None  # there is no prod yet, or its state is out of reach
        known = gate.let_through if gate else None
    return None if known is None else {**dict.fromkeys(_asked_about(directory, prod), NOTHING), **known}


def _asked_about(directory: Path, prod: str) -> tuple[str, ...]:
    """Return the services that prod's gate will ask about; nothing where its files cannot be read here."""
    try:
        return tuple(read_site(directory, prod, "", None).digests)
    except UnderstudyError:
        return ()  # it was not placed on this computer: what it has already is known all the same


def ahead_of_prod(directory: Path, stack: str, there: Wanted, base: Base) -> bool:
    """Take back what the stage has and prod has not, where Git is to change it on prod; return whether there was any.

    Raises:
        UnderstudyError: the stage has no copies of what prod has.
    """
    places = [place for place in there.places if there.changes(place[1], base)]
    deployment = deployment_of(directory, stack) if places and base is not None else {}
    machines = sorted({machine for machine, _ in places} & {*machine_names(deployment)})
    if base is None or not machines:
        return False
    kept = [each for each in changes_of(deployment, stack, machines) if each.change.state == "kept"]
    found, unknown = list[There](), list[str]()
    for machine, service in places:
        mine = [each for each in kept if (each.machine, each.change.service) == (machine, service)]
        more = ahead([each.change for each in mine], base.get(service, NOTHING))
        if more is None:
            unknown.append(f"{machine}:{service}")
        found += mine[: len(more or ())]
    if unknown:
        raise other_start(stack, unknown)
    for each in found:
        print(f"{each.machine}: {each.change.service}: prod has no {each.change.identifier}: taking it back first")
    _back_out(deployment, stack, found)
    return bool(found)


class Stage:
    """A stage, as it was when this was made.

    Args:
        directory: the project's.
        stack: the stage's name.
        machines: those concerned.

    Attributes:
        digests: of each service on each machine, by the resource's name.
    """

    def __init__(self, directory: Path, stack: str, machines: Sequence[str]) -> None:
        self._directory, self._stack = directory, stack
        with PulumiState(directory, stack) as state:
            self._before = state.exported
        self._deployment = deployment_of(directory, stack)
        self._machines = [name for name in machines if name in machine_names(self._deployment)]
        self._had = frozenset(self._kept())
        self.digests = service_digests(self._before)

    def _kept(self) -> tuple[There, ...]:
        if not self._machines:
            return ()
        found = changes_of(self._deployment, self._stack, self._machines)
        return tuple(each for each in found if each.change.state == "kept")

    def digests_now(self) -> dict[str, str]:
        """Return the digest of each service on each machine, by the resource's name, as the state has it now."""
        with PulumiState(self._directory, self._stack) as state:
            return service_digests(state.exported)

    def made(self) -> tuple[There, ...]:
        """Return the changes that were kept since then, the newest first."""
        return tuple(each for each in self._kept() if each not in self._had)

    def back_out(self, made: Sequence[There]) -> list[str]:
        """Take these back, in their order, and return what only a person can take back, one line each."""
        return _back_out(self._deployment, self._stack, made)

    def state_again(self) -> None:
        """Put services into the state again that an update took out of it: they are on their machines again."""
        with PulumiState(self._directory, self._stack) as state:
            if gone := sorted({*self.digests} - {*service_digests(state.exported)}):
                state.replace(with_again(state.exported, self._before, gone))


def refuse_without_copies(steps: Sequence[Planned], made: Sequence[There]) -> None:
    """See that each planned step has made a change that can be taken back.

    Raises:
        UnderstudyError: one has not.
    """
    names = {f"{each.machine}:{each.change.service}" for each in made}
    if lacking := [step.name for step in steps if step.name not in names]:
        raise UnderstudyError(where=", ".join(lacking), found="it has no copy of what was there before")


def _back_out(deployment: dict[str, Any], stack: str, changes: Sequence[There]) -> list[str]:
    left: list[str] = []
    for each in changes:
        connection, key = way_in(deployment, stack, each.machine)
        with connect(connection, key, say, PATIENCE_SECONDS) as shell, machine_lock(shell, "a rehearsal's back-out"):
            said = back_out(shell, each.change)
        left += [f"{each.machine}: {line}" for line in said.splitlines() if line.startswith(STILL)]
    return left


def say(text: str) -> None:
    """Show a line."""
    print(text, flush=True)
