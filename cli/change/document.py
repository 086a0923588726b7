"""Writes a change down: all that `pulumi up` would do, as a document that a person can type, with the way back.

It says what is really on the machines now, so they are looked at. It lies in `changes/`, as Markdown and as a page,
beside the plan to which `./run pulumi up` then keeps. No secret is in it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cli.arguments import add_stack, project_directory, short_stack
from cli.change._machines import deployment_of
from cli.change._previewed import previewed
from cli.evidence._logs import read_with_git
from cli.files import load_environment
from cli.held import CHANGES, FOLDER
from model.change.digest import NOTHING, change_digest, identifier
from model.change.document import Document, Part, changes_of, markdown
from model.change.foreseen import away, risks, when, who_else
from model.change.planned import SERVICE, Planned, messages, planned
from model.change.rehearsing import changes_of_machines, resized
from model.connection import connection_of
from model.errors import UnderstudyError
from model.evidence.chain import Log
from model.evidence.rehearsal import back_out_seconds
from model.topology import Topology
from model.way_in import revealed, way_in
from provisioners.changes.apply import observe
from provisioners.changes.by_hand import in_words, parts_of, restarts
from provisioners.changes.leaving import going
from provisioners.changes.observed import BEFORE
from provisioners.changes.page import page
from provisioners.changes.written import interruptions, people, service_part
from provisioners.shell import connect

_PATIENCE_SECONDS = 20.0
_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is to be said of one planned step: how it is typed, or in words that Understudy itself does it."""

    part: Part | None = None
    notice: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    words: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy change document`."""
    add_stack(parser)
    parser.set_defaults(stack="prod")
    parser.add_argument("--why", required=True, help="why it is done, in your own words")
    parser.add_argument("--title", default="", help="default: what it changes")
    parser.add_argument("--risk", default="", help="what may go wrong, and how much hangs on it")
    parser.add_argument(
        "--when", default="", help="when it may be done; default: at any time, where nothing is away meanwhile"
    )
    parser.add_argument("--needs", action="append", default=[], metavar="WHO", help="whom it needs; may be repeated")


def run(arguments: argparse.Namespace) -> int:
    """Write the document and say where it lies; 1 where there is nothing to do."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    with TemporaryDirectory(prefix="understudy-change-") as aside:
        plan = Path(aside) / "plan.json"
        preview = previewed(directory, stack, f"--save-plan={plan}")
        deployment = deployment_of(directory, stack)
        steps = planned(preview, deployment)
        environment = load_environment(directory, stack)
        rehearsals = read_with_git(directory, environment.settings.gate.evidence)
        topology = environment.topology
        told = tuple(_timed(each, steps, rehearsals) for each in told_of(stack, deployment, topology, steps))
        if not told:
            print(f"{stack}: nothing to change: what is in Git is there")
            return 1
        document = written(arguments, stack, topology, told, messages(preview))
        folder = directory / FOLDER / f"{document.written[:10]}-{document.identifier}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "document.md").write_text(markdown(document), encoding="utf-8")
        (folder / "document.html").write_text(page(document), encoding="utf-8")
        (folder / "plan.json").write_bytes(plan.read_bytes())
        (folder / CHANGES).write_text(f"{json.dumps(changes_of(document), indent=2)}\n", encoding="utf-8")
    for name in ("document.md", "document.html", "plan.json"):
        print(folder / name)
    print(f"apply it: ./run pulumi up -s {stack}; until that ends well, an update that would do more is refused")
    return 0


def _timed(told: Told, steps: Sequence[Planned], rehearsals: Log) -> Told:
    """Return what is told, with the time that its way back took when it was rehearsed."""
    step = next((each for each in steps if told.part and each.name == told.part.name), None)
    if told.part is None or step is None:
        return told
    before, after = (str(values.get("digest") or NOTHING) for values in (step.before, step.after))
    seconds = back_out_seconds(rehearsals, change_digest(before, after))
    return replace(told, part=replace(told.part, undo_seconds=seconds))


def told_of(
    stack: str, deployment: Mapping[str, Any], topology: Topology, steps: Sequence[Planned]
) -> tuple[Told, ...]:
    """Return what is to be said of each planned step; the machines of services are looked at, side by side."""
    machines = {each.machines[0]: identifier(each.digest) for each in changes_of_machines(resized(steps))}
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        found = pool.map(
            lambda step: (
                _service(stack, deployment, topology, step)
                if step.kind == SERVICE
                else _other(topology, machines, step)
            ),
            steps,
        )
        return tuple(told for each in found for told in each)


def _other(topology: Topology, machines: Mapping[str, str], step: Planned) -> tuple[Told, ...]:
    """Return what is to be said of anything but a service."""
    notice, change = away(topology, step.name) if restarts(step) else (), machines.get(step.name, "")
    parts = tuple(Told(part=replace(part, change=change), notice=notice) for part in parts_of(step))
    return parts or (Told(words=in_words(step), notice=notice),)


def _service(stack: str, deployment: Mapping[str, Any], topology: Topology, step: Planned) -> tuple[Told, ...]:
    machine = step.name.partition(":")[0]
    existing = "adopt" in (step.after or step.before)
    if step.operation == "delete" and existing:
        stays = f"it stays as it is on {machine}, which is not ours, and is protected"
        return (Told(words=f"{step.name} goes: {stays}; `./run pulumi state unprotect` lets the state forget it"),)
    try:
        connection, key = (
            (connection_of(step.after["connection"]), "") if existing else way_in(deployment, stack, machine)
        )
    except UnderstudyError:
        return (Told(words=f"{step.name} is made on a machine that is not there yet"),)
    there = going(step.before) if step.operation == "delete" else step.after
    before = str(step.before.get("digest") or "")
    inputs = {**there, BEFORE: before, "connection": connection.values(), "secrets": _secrets(deployment, step)}
    with connect(connection, key, lambda _: None, _PATIENCE_SECONDS) as shell:
        found = observe(shell, inputs)
    part = service_part(inputs, found)
    if part is None:
        return ()
    secrets = tuple(name for one in part.steps for name in one.secrets)
    meanwhile = who_else(topology, machine, str(inputs["service"]))
    notice = tuple(f"{line} {meanwhile}".rstrip() for line in interruptions(inputs, found))
    return (Told(part=part, notice=notice, secrets=secrets, needs=people(inputs, found)),)


def _secrets(deployment: Mapping[str, Any], step: Planned) -> dict[str, str]:
    """Return the secrets of a service as the state has them; a new one differs from whatever is on the machine."""
    resources = (deployment.get("deployment") or {}).get("resources") or ()
    mine = (each for each in resources if each.get("type") == SERVICE and each["urn"].endswith(f"::{step.name}"))
    held: Mapping[str, Any] = next(mine, {"inputs": {}})
    known = revealed((held.get("inputs") or {}).get("secrets") or {})
    wanted = step.after.get("secrets")
    names = wanted if isinstance(wanted, Mapping) else known
    return {name: str(known.get(name, "(new)")) for name in names}


def written(
    arguments: argparse.Namespace, stack: str, topology: Topology, told: Sequence[Told], said: Iterable[str]
) -> Document:
    """Return the document."""
    parts = tuple(each.part for each in told if each.part)
    notice = tuple(dict.fromkeys(line for each in told for line in each.notice))
    names = [part.name for part in parts] or ["what Understudy itself does"]
    place = "`./run pulumi stack export --show-secrets`, at the store of that name"
    return Document(
        identifier=_identifier(parts),
        title=arguments.title or f"Change of {', '.join(names[:4])}{' and more' if len(names) > 4 else ''}",
        stack=stack,
        why=arguments.why,
        risk=(arguments.risk,) if arguments.risk else risks(topology, parts),
        when=arguments.when or when(notice),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        notice=notice,
        needs=(
            *(arguments.needs or ("Whoever types it, as root on the machines.",)),
            *dict.fromkeys(line for each in told for line in each.needs),
        ),
        secrets=tuple((name, place) for name in sorted({name for each in told for name in each.secrets})),
        parts=parts,
        own=tuple(each.words for each in told if each.words),
        gate="\n".join(said),
    )


def _identifier(parts: Sequence[Part]) -> str:
    """Return the id of the change that all parts make; where they are several, one made of everything that is typed."""
    changes = {part.change for part in parts}
    if len(changes) == 1 and "" not in changes:
        return changes.pop()
    text = "\0".join(step.command for part in parts for step in (*part.steps, *part.undo))
    return identifier(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())
