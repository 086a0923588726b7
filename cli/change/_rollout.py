"""What is done where the change of a service failed on a machine, by the note that was taken before the update."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.change._machines import PATIENCE_SECONDS, deployment_of
from cli.change._note import failed_of, forget_note, note_path, read_note
from cli.files import is_mirror
from cli.pulumi_state import PulumiState
from cli.went_round import has_log
from model.change.gate import ServiceChange
from model.change.stopped import Failed, Reached, reached, untouched, with_noted
from model.change.taken_back import rolled_back, with_gate
from model.connection import connection_of
from model.errors import UnderstudyError
from model.evidence.chain import Log, file_name
from model.way_in import revealed
from provisioners import evidence_log
from provisioners.changes.apply import back_out, changes_on, end_open
from provisioners.hypervisor.host import locked, write_whole
from provisioners.machine_lock import machine_lock
from provisioners.outcome import Say
from provisioners.shell import connect
from provisioners.signing import find_signer

OLD = "has the old"


def take_back_all(directory: Path, stack: str, say: Say, failed: Sequence[Failed] = ()) -> bool:
    """Take a change that failed on one machine back on all that have it, the last one first; return whether all went.

    May be killed and begun again at any point.

    Args:
        directory: the project's.
        stack: the stack's name.
        say: shows a line.
        failed: what failed just now; else what the note says.

    Raises:
        UnderstudyError: the state cannot be read or written.
    """
    if read_note(stack) is None:
        return True
    with locked(note_path(stack).with_suffix(".lock"), say, f"another one takes a change of {stack} back"):
        note = read_note(stack)
        failed = tuple(failed) or failed_of(note)
        if note is None or not failed:
            return True
        kept = {"failed": [{"urn": each.urn, "why": each.why} for each in failed]}
        write_whole(note_path(stack), json.dumps({**note, **kept}))
        deployment = deployment_of(directory, stack)
        places = reached(note, deployment, failed)
        say(f"{_services(failed)} failed on {_machines(failed)}: the change is taken back on all machines that have it")
        stand = [(place, taken_back(place, say)) for place in places]
        back = {place.urn for place, words in stand if words.startswith(OLD)}
        services = {each.service for each in failed} - {each.service for each in places if each.urn not in back}
        changes = _in_state(directory, stack, note, back, services)
        told = {f"{place.machine}:{place.service}": words for place, words in stand}
        told |= {f"{each.machine}:{each.service}": each.why for each in failed if each.urn not in _urns(places)}
        told |= {f"{name}:{service}": f"not begun: {OLD}" for name, service in untouched(note, deployment, failed)}
        for name, words in told.items():
            say(f"  {name}: {words}")
        whole = len(back) == len(places)
        went = {"changes": {each.digest: each.values() for each in changes}} if changes else {}
        record(directory, stack, say, {"back_out_all": told, "whole": whole, **went}, failed)
        if whole:
            forget_note(stack)
        for line in _next(stack, failed, whole=whole):
            say(line)
        return whole


def _in_state(
    directory: Path, stack: str, note: Mapping[str, Any], back: Collection[str], services: Collection[str]
) -> tuple[ServiceChange, ...]:
    """Let the state say what is there again, its gate included, and return what that is to the gate.

    Args:
        directory: the project's.
        stack: the stack's name.
        note: as it was taken before the update.
        back: what was taken back.
        services: those that were taken back wherever they were changed.
    """
    with PulumiState(directory, stack) as state:
        restored = with_noted(state.exported, note, back)
        changes = rolled_back(restored, evidence_log.read(directory, stack), services)
        restored = with_gate(restored, changes)
        if restored != state.exported:
            state.replace(restored)
    return changes


def taken_back(place: Reached, say: Say) -> str:
    """Take all that a rollout did to a service on a machine back, and return how it stands there, in words."""
    inputs = revealed(place.inputs)
    try:
        way = connect(connection_of(inputs["connection"]), inputs["private_key"], lambda _: None, PATIENCE_SECONDS)
        with way as shell, machine_lock(shell, "taking a rollout back"):
            end_open(shell, place.service)
            found = [each for each in changes_on(shell) if each.service == place.service]
            done = []
            for change in (each for each in found if place.above(each.directory) and each.state != "backed-out"):
                say(f"{place.machine}: {place.service}: taking {change.identifier} back")
                done.append(back_out(shell, change))
    except UnderstudyError as error:
        return f"NOT taken back: {error}"
    left = [line for text in done for line in text.splitlines()[:-1]]
    return " ".join([OLD, *(["again"] if done else []), *left])


def went_on(directory: Path, stack: str, say: Say, failed: Sequence[Failed]) -> None:
    """Say, and record, on which machines a change was left out because it failed there.

    Raises:
        UnderstudyError: the state cannot be read.
    """
    note = read_note(stack) or {"services": {}, "machines": []}
    deployment = deployment_of(directory, stack)
    urns = {each.urn for each in failed}
    stand = {
        f"{place.machine}:{place.service}": taken_back(place, say) if place.urn in urns else "has the new"
        for place in reached(note, deployment, failed)
    }
    say(f"{_services(failed)} FAILED on {_machines(failed)}; the rollout went on without, as you chose (--continue):")
    for name, words in stand.items():
        say(f"  {name}: {words}")
    for each in failed:
        say(f"  {each.machine} STILL HAS THE OLD {each.service}, and the others the new: {each.why}")
    record(directory, stack, say, {"continue": stand, "whole": False}, failed)
    forget_note(stack)
    say(f"Mend it, then: ./run pulumi up -s {stack}")


def record(directory: Path, stack: str, say: Say, body: Mapping[str, Any], failed: Sequence[Failed]) -> None:
    """Record in the evidence of a gated stack how a rollout stopped, once; where nobody can sign, say so."""
    if is_mirror(directory, stack) or not has_log(directory, stack):
        return
    why = "; ".join(f"{each.service} failed on {each.machine}: {each.why}" for each in failed)
    whole = {**body, "why": why}

    def decide(own: Log) -> tuple[str, Mapping[str, Any]] | None:
        return None if own.records and own.records[-1].body == whole else ("rollout", whole)

    try:
        made = evidence_log.append(directory, stack, find_signer(directory, asks=False), decide, say=say)
    except UnderstudyError as error:
        say(f"how the rollout stopped is not recorded: {error}")
        return
    if made is not None:
        say(f"{file_name(stack)}: record {made.n} says so, signed by {made.who}; commit it")


def _urns(places: Collection[Reached]) -> set[str]:
    return {place.urn for place in places}


def _services(failed: Collection[Failed]) -> str:
    return ", ".join(sorted({each.service for each in failed}))


def _machines(failed: Collection[Failed]) -> str:
    return ", ".join(sorted({each.machine for each in failed}))


def _next(stack: str, failed: Collection[Failed], *, whole: bool) -> list[str]:
    if not whole:
        return [f"NOT all of it is back. Once those machines answer: ./run understudy change resume -s {stack}"]
    return [
        f"Git still has the change: ./run pulumi preview -s {stack} shows it. Mend it, or take it out of Git.",
        f"To go on without {_machines(failed)}: ./run pulumi up -s {stack} --continue",
    ]
