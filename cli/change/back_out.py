"""Takes changes back that were kept, be it a month ago: the machines get what was there before them.

Git still says what it said: the next `pulumi preview --refresh --diff` shows the difference, and the next `up` makes
the change again, unless it is taken out of Git too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cli.arguments import add_stack, project_directory, short_stack
from cli.change._machines import PATIENCE_SECONDS, There, changes_of, chosen, deployment_of
from model.errors import UnderstudyError
from model.way_in import way_in
from provisioners.changes.apply import back_out
from provisioners.machine_lock import machine_lock
from provisioners.shell import connect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy change back-out`."""
    add_stack(parser)
    parser.add_argument("identifiers", nargs="+", metavar="ID", help="a change's id, or its first digits")
    parser.add_argument("--machine", default="", help="only on this machine; default: on all that have it")


def run(arguments: argparse.Namespace) -> int:
    """Take them back, the newest first."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    deployment = deployment_of(directory, stack)
    found = changes_of(deployment, stack)
    meant = {there for name in arguments.identifiers for there in chosen(found, name, arguments.machine)}
    for there in in_order(found, meant):
        connection, key = way_in(deployment, stack, there.machine)
        with connect(connection, key, print, PATIENCE_SECONDS) as shell, machine_lock(shell, "backing out a change"):
            said = back_out(shell, there.change)
        print(f"{there.machine}: {there.change.service}: {there.change.identifier}: {said}")
    print(f"see how Git and the machines differ now: ./run pulumi preview -s {stack} --refresh --diff")
    return 0


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
