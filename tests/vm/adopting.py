"""Adopts machines that run, and compares what comes of it with what they were built from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.site import Site
from cli.__main__ import main
from components.files import service_names, stack_files
from model.configuration import read_environment
from model.connection import Connection
from model.topology import Topology
from model.way_in import way_in


@dataclass(frozen=True, kw_only=True)
class Running:
    """Machines that run.

    Args:
        directory: the project that describes them.
        stack: the stack that describes them.
        connections: how each is reached; ``host_key`` is known.
        private_key: opens all of them.
    """

    directory: Path
    stack: str
    connections: tuple[Connection, ...]
    private_key: str


def running(site: Site, stack: str) -> Running:
    """Return the machines of a stack that a site has built."""
    printed = site.run("pulumi", "stack", "export", "-s", stack, "--show-secrets")
    exported = json.loads(printed[printed.index("{\n") :])
    names = [machine.name for machine in described(site.directory, stack).machines]
    ways = [way_in(exported, stack, name) for name in names]
    connections = tuple(connection for connection, _ in ways)
    return Running(directory=site.directory, stack=stack, connections=connections, private_key=ways[0][1])


def described(directory: Path, stack: str) -> Topology:
    """Return what a stack's file describes."""
    return read_environment(stack_files(directory), stack, services=service_names(directory)).topology


@contextmanager
def home(machines: Running, place: Path) -> Iterator[None]:
    """Make the machines' keys the user's own."""
    folder = place / ".ssh"
    folder.mkdir(mode=0o700, parents=True)
    (folder / "id_ed25519").touch(mode=0o600)
    (folder / "id_ed25519").write_text(machines.private_key.rstrip("\n") + "\n")
    lines = []
    for connection in machines.connections:
        name = connection.address if connection.port == 22 else f"[{connection.address}]:{connection.port}"
        lines.append(f"{name} {connection.host_key}\n")
    (folder / "known_hosts").write_text("".join(lines))
    before = {key: os.environ.get(key) for key in ("HOME", "SSH_AUTH_SOCK")}
    os.environ["HOME"] = str(place)
    os.environ.pop("SSH_AUTH_SOCK", None)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is not None:
                os.environ[key] = value


def adopted(machines: Running, place: Path) -> tuple[Topology, str]:
    """Adopt the machines and return the topology, once the only open question is answered, and the file's text.

    Args:
        machines: what runs.
        place: an empty directory.
    """
    hosts = [f"{each.user}@{each.address}:{each.port}" for each in machines.connections]
    file = machines.directory / "Pulumi.adopted.yaml"
    with home(machines, place):
        assert main(["adopt", "-C", str(machines.directory), "--output", file.name, "--force", *hosts]) == 0
    text = file.read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    _answer(document["config"], described(machines.directory, machines.stack))
    file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    try:
        return described(machines.directory, "adopted"), text
    finally:
        file.unlink()


def _answer(config: Mapping[str, Any], wanted: Topology) -> None:
    """Say where this computer finds the backups: no machine can know."""
    for store in wanted.stores:
        values = config["understudy:stores"][store.name]["backup"]
        if store.backup is not None and values.get("path") == "?":
            values["path"] = store.backup.location
