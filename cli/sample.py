"""Makes the sample backup repository in `samples/` anew: a full backup of the sample prod, and later ones.

It comes from the running stack prod, or, with `--here`, from a short-lived server on this computer (as root, with
PostgreSQL and pgBackRest installed). What lies in `samples/` is replaced when the new one is whole.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from cli.arguments import add_stack, project_directory, short_stack
from cli.files import load_environment
from cli.pulumi_state import PulumiState
from components.site import read_services, read_sources
from components.templates import Renderer
from model.environment import Environment
from model.errors import ConfigurationError, Fault, UnderstudyError
from model.topology import Backup, Store
from model.way_in import way_in
from provisioners.ticker import ticking

MOST_BYTES = 8 << 20
"""It lies in Git."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy sample`."""
    add_stack(parser)
    parser.set_defaults(stack="prod")
    parser.add_argument("--here", action="store_true", help="from a short-lived server on this computer")


def run(arguments: argparse.Namespace) -> int:
    """Make it and say what it holds."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    environment = load_environment(directory, stack)
    store, backup = sample_store(environment)
    archive = (
        _from_here(directory, environment, store, backup)
        if arguments.here
        else _from_stack(directory, stack, store, backup)
    )
    target = directory / backup.location
    replace_with(archive, target)
    from provisioners.stores.repository import open_repository

    for snapshot in open_repository(backup, directory).snapshots():
        print(f"{snapshot.label} of {snapshot.taken_at:%Y-%m-%d %H:%M:%S} UTC")
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target.relative_to(directory)}: {size / (1 << 20):.1f} MiB; move the pins with `understudy seed --newest`")
    return 0


def sample_store(environment: Environment) -> tuple[Store, Backup]:
    """Return the store with a pgBackRest repository inside the project.

    Raises:
        UnderstudyError: there is none.
    """
    for store in environment.topology.stores:
        backup = store.backup
        if backup and backup.kind == "pgbackrest" and backup.location.startswith("samples/") and store.heartbeat:
            return store, backup
    raise UnderstudyError(
        where=f"stack {environment.stack}",
        found="no store with a heartbeat whose pgbackrest repository is in samples/",
        wanted="the sample shop's",
    )


def say(line: str) -> None:
    """Show progress."""
    print(line, flush=True)


def _from_stack(directory: Path, stack: str, store: Store, backup: Backup) -> bytes:
    from provisioners.shell import connect
    from provisioners.stores.sample import Server, There, configured_repository, copied_repository, take_backups

    assert store.heartbeat is not None
    with PulumiState(directory, stack, secrets=True) as state:
        connection, key = way_in(state.exported, stack, store.primary)
    with connect(connection, key, say) as shell, ticking(say) as tell:
        server = Server(
            version=store.version,
            socket="/var/run/postgresql",
            port=5432,
            database=store.database,
            configuration="/etc/pgbackrest.conf",
            stanza=backup.stanza,
            repository=configured_repository(shell.get("/etc/pgbackrest.conf").decode()),
            scratch="/var/lib/postgresql/sample",
        )
        take_backups(There(shell), server, (store.heartbeat.table, store.heartbeat.column), tell)
        return copied_repository(There(shell), server)


def _from_here(directory: Path, environment: Environment, store: Store, backup: Backup) -> bytes:
    from provisioners.stores.sample import Here, copied_repository, short_lived_server, take_backups

    assert store.heartbeat is not None
    faults: list[Fault] = []
    services = read_services(directory)
    sources = read_sources(directory, services)
    init = (
        Renderer(environment=environment, services=services, locks={}, sources=sources, faults=faults)
        .engine(store)
        .init
    )
    if faults:
        raise ConfigurationError(tuple(faults))
    place, door = Path(tempfile.mkdtemp(prefix="us-")), Here()
    try:
        shutil.chown(place, "postgres", "postgres")
        words = (store.version, store.database, store.owner, backup.stanza)
        with short_lived_server(door, PurePosixPath(place), *words) as server, ticking(say) as tell:
            door.run(server.psql(), init.encode())
            take_backups(door, server, (store.heartbeat.table, store.heartbeat.column), tell)
            return copied_repository(door, server)
    finally:
        shutil.rmtree(place)


def replace_with(archive: bytes, target: Path) -> None:
    """Put a repository that came as a tar archive in the place of the one before.

    Raises:
        UnderstudyError: it is too large for Git.
    """
    new, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    for path in (new, old):
        shutil.rmtree(path, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = tar.getmembers()
        size = sum(member.size for member in members)
        if size > MOST_BYTES:
            raise UnderstudyError(where=str(target), found=f"{size} bytes", wanted=f"at most {MOST_BYTES}")
        new.mkdir(parents=True)
        tar.extractall(new, members, filter="data")
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
