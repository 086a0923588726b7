"""Takes changes back that were kept, be it a month ago: the machines get what was there before them.

Git still says what it said: the next `pulumi preview --diff` shows the difference, and the next `up` makes the change
again, unless it is taken out of Git too. Of a stack with a gate it is recorded in the log, signed with your SSH key.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli.arguments import add_stack, project_directory, short_stack
from cli.change._machines import PATIENCE_SECONDS, There, changes_of, chosen, deployment_of, named
from cli.change._signing import add_key, told
from cli.went_round import has_log
from model.change.taken_back import record_body, taken_back, urns_of
from model.change.went_round import GATE, gate_of
from model.drilling import fault_in
from model.errors import UnderstudyError
from model.evidence.chain import Log
from model.way_in import way_in
from provisioners import evidence_log
from provisioners.changes.apply import back_out
from provisioners.machine_lock import machine_lock
from provisioners.shell import connect
from provisioners.signing import find_signer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy change back-out`."""
    add_stack(parser)
    parser.add_argument(
        "identifiers", nargs="+", metavar="ID", help="the id of a change, or of a document, or its first digits"
    )
    parser.add_argument("--why", default="it was taken back", help="in your own words, one line")
    add_key(parser)
    parser.add_argument("--machine", default="", help="only on this machine; default: on all that have it")


def run(arguments: argparse.Namespace) -> int:
    """Take them back, the newest first; then the evidence and the state say so as well."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    deployment = deployment_of(directory, stack)
    found = changes_of(deployment, stack)
    meant = {
        there for name in arguments.identifiers for there in chosen(found, named(directory, name), arguments.machine)
    }
    done: list[There] = []
    try:
        for there in in_order(found, meant):
            connection, key = way_in(deployment, stack, there.machine)
            with connect(connection, key, print, PATIENCE_SECONDS) as shell, machine_lock(shell, "backing out"):
                said = back_out(shell, there.change)
            done.append(there)
            print(f"{there.machine}: {there.change.service}: {there.change.identifier}: {said}")
    finally:
        if done:
            _record(directory, stack, deployment, done, arguments)
            _refresh(directory, stack, deployment, done)
    print(f"see how Git and the machines differ now: ./run pulumi preview -s {stack} --diff")
    return 0


def _record(
    directory: Path, stack: str, deployment: dict[str, Any], done: Sequence[There], arguments: argparse.Namespace
) -> None:
    """Record it in the log of a stack that has a gate; where nobody can sign, say so."""
    if gate_of(deployment) is None or not has_log(directory, stack):
        return
    services, names = {each.change.service for each in done}, dict[str, list[str]]()
    for each in done:
        names.setdefault(f"{each.machine}:{each.change.service}", []).append(each.change.identifier)
    try:
        there = [(each.machine, each.change) for each in changes_of(deployment, stack)]

        def decide(own: Log) -> tuple[str, dict[str, Any]]:
            changes = taken_back(deployment, own, there, services)
            return "back-out", record_body(changes, names, arguments.why)

        signer = find_signer(directory, file=arguments.key)
        record = evidence_log.append(directory, stack, signer, decide, say=print)
    except UnderstudyError as error:
        print(f"that it was taken back is NOT recorded: {error}")
        return
    if record is not None:
        print(told(record))


def _refresh(directory: Path, stack: str, deployment: dict[str, Any], done: Sequence[There]) -> None:
    """Let the state say what is on the machines now, so that the next preview shows it without being told to look."""
    names = {f"{each.machine}:{each.change.service}" for each in done}
    resources = urns_of(deployment, {each.change.service for each in done})
    urns = [str(each["urn"]) for name, each in resources.items() if name in names]
    urns += [each["urn"] for each in deployment["deployment"]["resources"] if each.get("type") == GATE]
    argv = (str(directory / "run"), "pulumi", "refresh", "-s", stack, "--yes", "--skip-preview", "--non-interactive")
    command = [*argv, *(word for urn in urns for word in ("--target", urn))]
    ended = subprocess.run(
        command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        print(f"the state does not say so yet: {fault_in(ended.stdout + ended.stderr)}")
        print(f"Once that is mended: ./run pulumi refresh -s {stack}")


def in_order(found: Sequence[There], meant: set[There]) -> tuple[There, ...]:
    """Return the changes to take back, the newest first.

    Raises:
        UnderstudyError: a newer change of the same service on the same machine is kept: it would go as well.
    """
    for there in meant:
        above = [
            other
            for other in found
            if (other.machine, other.change.service) == (there.machine, there.change.service)
            and other.change.at > there.change.at
            and other.change.state == "kept"
            and other not in meant
        ]
        if above:
            names = " ".join(dict.fromkeys(other.change.identifier for other in above))
            raise UnderstudyError(
                where=f"{there.machine}: {there.change.service}: {there.change.identifier}",
                found=f"newer changes of it were kept: {names}",
                wanted="the newest change, or all down to this one",
                todo=f"Name them too: understudy change back-out {names} {there.change.identifier}",
            )
    return tuple(there for there in found if there in meant and there.change.state != "backed-out")
