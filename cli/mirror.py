"""Compares prod and its stage machine by machine, and says how alike they are: 0 to 1, with each difference named.

Nothing is changed on either. Differences that may be are excused: by what a stage is, or by your own `mirror.yaml`
(excuses: a list of key, reason, and where wanted area, machine, until). The exit code is 1 where a machine, or a part
of it, could not be compared: the figure then proves nothing. With --json it is 0; `complete` says so there.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cli.adopt import run_there
from cli.arguments import add_stack, project_directory, short_stack
from cli.files import load_environment, read_lock
from cli.ways import Way, ways
from components.files import read_text
from components.site import read_services, read_sources
from components.strict_yaml import parse
from model.environment import Environment
from model.errors import ConfigurationError, UnderstudyError
from model.facts import Unread
from model.mirror import Known, Mirror, Portrait, built_in, compare_all, in_lines, in_record, read_excuses, unreachable
from model.mirror.excuse import FILE, Excuse
from model.service import Service
from model.topology import Access, Machine
from model.tunnels import is_spread, tunnel_port
from provisioners.facts.ask import Asking
from provisioners.facts.portrait import paint
from provisioners.shell import connect

_PASSWORD = re.compile(r"\{\{[^}]*\.password\b")
"""How a template asks for the password of a store."""
_PATIENCE_SECONDS = 20.0
_AT_ONCE = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy mirror`."""
    add_stack(parser)
    parser.add_argument("--json", action="store_true", help="print the comparison as a record")
    parser.add_argument("--excused", action="store_true", help="name the excused differences too, with their reasons")


def run(arguments: argparse.Namespace) -> int:
    """Compare, and say what came of it."""
    mirror = compared(project_directory(arguments.cwd), short_stack(arguments.stack))
    if arguments.json:
        print(json.dumps(in_record(mirror), indent=2, ensure_ascii=False))
        return 0
    print("\n".join(in_lines(mirror, excused=arguments.excused)))
    return 0 if mirror.complete else 1


def compared(directory: Path, stack: str) -> Mirror:
    """Return how alike a stack and the one that it mirrors are.

    Raises:
        ConfigurationError: with every fault of the files.
        UnderstudyError: the stack mirrors no other.
    """
    stage = load_environment(directory, stack)
    if not stage.mirror_of:
        wanted = "a stack that mirrors another (`understudy:mirror`)"
        raise UnderstudyError(where=f"stack {stack}", found="it mirrors no other", wanted=wanted)
    prod = load_environment(directory, stage.mirror_of)
    services = read_services(directory)
    excuses = (*_own_excuses(directory), *_known_excuses(directory, prod, stage, services))
    paths = {machine.name: _paths(machine, services) for machine in prod.topology.machines}
    with ExitStack() as states:
        known = [ways(directory, environment, states) for environment in (prod, stage)]
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            sides = [
                [
                    pool.submit(_portrait, machine, way[machine.name], paths[machine.name])
                    for machine in prod.topology.machines
                ]
                for way in known
            ]
            pairs = [(ours.result(), theirs.result()) for ours, theirs in zip(*sides, strict=True)]
    return compare_all(pairs, excuses, datetime.now(UTC).date())


def portraits(directory: Path, stack: str, names: Collection[str]) -> tuple[Portrait, ...]:
    """Return what some machines of a stack are like, in the order of the topology; they are asked side by side."""
    environment, services = load_environment(directory, stack), read_services(directory)
    machines = [machine for machine in environment.topology.machines if machine.name in names]
    with ExitStack() as states, ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        known = ways(directory, environment, states)
        asked = [
            pool.submit(_portrait, machine, known[machine.name], _paths(machine, services)) for machine in machines
        ]
        return tuple(each.result() for each in asked)


def _own_excuses(directory: Path) -> tuple[Excuse, ...]:
    path = directory / FILE
    if not path.is_file():
        return ()
    values, faults = parse(FILE, read_text(path))
    if faults:
        raise ConfigurationError(faults)
    return read_excuses(values)


def _known_excuses(
    directory: Path, prod: Environment, stage: Environment, services: Mapping[str, Service]
) -> tuple[Excuse, ...]:
    placement = read_lock(directory, stage.stack)
    locks = {"stage": placement, "prod": read_lock(directory, prod.stack)}
    both = [(which, each, {machine.name for machine in each.machines}) for which, each in locks.items() if each]
    emulated = {machine.name for _, each, _ in both for machine in each.machines if each.emulates(machine)}
    addresses = {each.name: str(each.control_address) for each in placement.machines} if placement else {}
    sources = read_sources(directory, services)
    engines = {store.engine for store in prod.topology.stores}
    excuses: list[Excuse] = []
    for machine in prod.topology.machines:
        known = Known(
            prod=machine,
            stage=stage.topology.machine(machine.name),
            services=[services[name] for name in (*machine.services, *sorted(engines)) if name in services],
            secret_paths=[
                file.path
                for name in machine.services
                if name in services
                for file in services[name].files
                if _PASSWORD.search(sources.get(f"{name}/{file.source}", ""))
            ],
            control_address=addresses.get(machine.name, ""),
            emulated=machine.name in emulated,
            tunnel_ports=[
                (which, tunnel_port(each, machine.name))
                for which, each, placed in both
                if is_spread(each) and machine.name in placed
            ],
        )
        excuses += built_in(known)
    return tuple(excuses)


def _paths(machine: Machine, services: Mapping[str, Service]) -> tuple[str, ...]:
    return tuple(file.path for name in machine.services if name in services for file in services[name].files)


def _portrait(machine: Machine, way: Way | str, paths: tuple[str, ...]) -> Portrait:
    if isinstance(way, str):
        return unreachable(machine.name, way)
    try:
        # One session for all questions: a session costs a machine more than most questions do.
        with connect(way.connection, way.key, lambda _: None, _PATIENCE_SECONDS) as own, own.steady() as shell:
            asking = Asking(way.access, lambda argv: run_there(shell, argv))
            portrait = paint(machine.name, machine.address, asking.answer, paths)
            portrait = replace(portrait, unread=(*portrait.unread, *_without_root(asking.refused, way.access)))
    except UnderstudyError as error:
        return unreachable(machine.name, str(error))
    print(f"{machine.name}: read at {way.connection.address}", file=sys.stderr)
    return portrait


def _without_root(refused: str, access: Access) -> tuple[Unread, ...]:
    """Where root's view is not to be had, what is missing would look as if it were not there."""
    if access.user != "root" and not access.sudo:
        refused = f"{access.user} is not root, and `sudo: true` is not set"
    return tuple(Unread(fact=area, reason=refused) for area in ("files", "ports") if refused)
