"""Gives Ansible its inventory of a stack: groups by service, store and role, and how each machine is reached.

`ansible -i inventory/stage all -a uptime`: the scripts in inventory/ call this for the stack of their name. Private
keys lie in files of this user alone (in XDG_RUNTIME_DIR, or else in the state directory) for as long as the machine is
there; no other host key than the machine's own is accepted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cli.arguments import add_stack, project_directory, short_stack
from cli.files import load_environment, state_directory
from cli.ways import Way, ways
from components.files import state_place
from components.site import read_services
from model import names
from model.errors import UnderstudyError
from model.inventory import Reached, groups, host_variables, inventory, options
from provisioners.commands import command_line, jump_line, jump_option
from provisioners.hypervisor.host import write_whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy inventory`, which are those that Ansible gives to a script."""
    add_stack(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="the whole inventory; the default")
    what.add_argument("--host", metavar="NAME", help="what is known of one machine")


def run(arguments: argparse.Namespace) -> int:
    """Print the inventory."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    found = _inventory(directory, stack)
    if arguments.host is None:
        print(json.dumps(found, indent=2))
        return 0
    print(json.dumps(found["_meta"]["hostvars"].get(arguments.host, {}), indent=2))
    return 0


def _inventory(directory: Path, stack: str) -> dict[str, Any]:
    environment = load_environment(directory, stack)
    unmirrored = frozenset(service.name for service in read_services(directory).values() if not service.mirrored)
    with ExitStack() as states:
        found = ways(directory, environment, states)
    known = {name: way for name, way in found.items() if isinstance(way, Way)}
    for reason in dict.fromkeys(way for way in found.values() if isinstance(way, str)):
        print(f"understudy inventory: left out: {reason}", file=sys.stderr)
    place = _place(names.owner(stack, state_place(os.environ)))
    reached = _written(place, known)
    if not known:
        raise UnderstudyError(where=f"stack {stack}", found="no machine that can be reached")
    variables = {}
    for machine in environment.topology.machines:
        if machine.name in known:
            line = command_line(options(reached[machine.name]))
            variables[machine.name] = host_variables(environment, machine, reached[machine.name], line)
    return inventory(groups(environment, frozenset(known), unmirrored), variables)


def _place(owner: str) -> Path:
    """Return the directory for one stack's keys, which this user alone may enter."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    base = (Path(runtime) / "understudy" if runtime and Path(runtime).is_dir() else state_directory()) / "inventory"
    place = base / owner.replace("/", "-")
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    base.chmod(0o700)
    place.chmod(0o700)
    return place


def _written(place: Path, known: Mapping[str, Way]) -> dict[str, Reached]:
    """Write keys and host keys, each file whole or not at all; take away those of machines that are gone."""
    built = {name: way for name, way in known.items() if way.key}
    hosts = place / "known_hosts"
    write_whole(hosts, "".join(_known_host(way) for way in built.values()), mode=0o600)
    for name, way in built.items():
        write_whole(place / f"{name}.key", way.key.rstrip("\n") + "\n", mode=0o600)
    for path in place.glob("*.key"):
        if path.stem not in built:
            path.unlink(missing_ok=True)
    return {
        name: Reached(
            connection=way.connection,
            key_file=str(place / f"{name}.key") if name in built else "",
            known_hosts=str(hosts) if name in built else "",
            sudo=way.access.sudo,
            jump=jump_option(way.connection, str(hosts)),
        )
        for name, way in known.items()
    }


def _known_host(way: Way) -> str:
    connection = way.connection
    host = connection.address if connection.port == 22 else f"[{connection.address}]:{connection.port}"
    return f"{host} {connection.host_key}\n{jump_line(connection)}"
