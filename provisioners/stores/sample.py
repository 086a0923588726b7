"""Makes the sample backup repository: a full backup and later ones, with life in the database between them.

The same steps run against the sample prod's own server, or against a short-lived server on this machine.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Protocol

from model.errors import UnderstudyError
from provisioners.outcome import Say, last_lines
from provisioners.shell import Shell

ORDERS_SQL = """
INSERT INTO orders (customer_id, product_id, quantity)
SELECT 1 + n * 41 % 500, 1 + n * 5 % 12, 1 + n % 4 FROM generate_series(1, :'orders'::integer) AS n;
"""
NEW_SQL = 'CREATE ROLE :"owner" LOGIN; CREATE DATABASE :"database" OWNER :"owner";'
HEARTBEAT_SQL = 'INSERT INTO :"table" (:"column") VALUES (now()) ON CONFLICT DO NOTHING;'
GROW_SQL = """
CREATE TABLE :"name" AS SELECT n AS id, md5((:number * 1000000 + n)::text) || repeat('x', 40) AS content
FROM generate_series(1, 600000) AS n;
"""
_TABLE_MIB = 64
SMALL = ("--compress-type=zst", "--compress-level=9", "--repo1-bundle")
"""Small and few files: the repository lies in Git."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What happens before a backup is taken.

    Args:
        backup: ``full``, ``diff`` or ``incr``.
        orders: how many orders come in.
    """

    backup: str
    orders: int


LIVES = (Life(backup="full", orders=0), Life(backup="diff", orders=300), Life(backup="incr", orders=120))


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running PostgreSQL server whose WAL goes to a pgBackRest repository.

    Args:
        socket: directory of its Unix socket.
        configuration: pgBackRest's configuration file.
        repository: the repository's directory.
        scratch: a directory that does not exist yet, for the copy.
    """

    version: str
    socket: str
    port: int
    database: str
    configuration: str
    stanza: str
    repository: str
    scratch: str

    def program(self, name: str) -> str:
        """Return the path of one of PostgreSQL's programs, past Debian's wrapper."""
        return f"/usr/lib/postgresql/{self.version}/bin/{name}"

    def psql(self, **variables: str) -> tuple[str, ...]:
        """Return the command that runs SQL from standard input, with psql's own variables."""
        where = ("--host", self.socket, "--port", str(self.port), "--dbname", self.database)
        given = tuple(f"--set={name}={value}" for name, value in variables.items())
        return (self.program("psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *given, *where)

    def pgbackrest(self, *words: str) -> tuple[str, ...]:
        """Return a pgBackRest command for the server's stanza."""
        return ("pgbackrest", f"--config={self.configuration}", f"--stanza={self.stanza}", *words)


class Door(Protocol):
    """Runs commands as the user ``postgres`` on the machine of the server."""

    def run(self, argv: Sequence[str], stdin: bytes = b"") -> bytes:
        """Return what it printed; raise `UnderstudyError` where it failed."""


class Here:
    """This machine."""

    def run(self, argv: Sequence[str], stdin: bytes = b"") -> bytes:
        """Run a command, as root's child."""
        whole = ("runuser", "-u", "postgres", "--", *argv)
        result = subprocess.run(whole, input=stdin, capture_output=True, check=False, cwd="/")
        if result.returncode:
            said = last_lines(result.stderr or result.stdout)
            raise UnderstudyError(where="this machine", found=f"`{argv[0]}` ended with {result.returncode}: {said}")
        return result.stdout


class There:
    """A machine over SSH."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def run(self, argv: Sequence[str], stdin: bytes = b"") -> bytes:
        """Run a command over the shared connection."""
        return self._shell.run(("runuser", "-u", "postgres", "--", *argv), stdin=stdin, timeout_seconds=1800).stdout


def take_backups(
    door: Door, server: Server, heartbeat: tuple[str, str], say: Say, lives: Sequence[Life] = LIVES
) -> None:
    """Let orders come in and take backups, the first of which is full.

    Args:
        door: the way to the server's machine.
        server: which one; its database has the sample shop's tables.
        heartbeat: the table and the column that tell how old the data is.
        say: is told each step.
        lives: what happens before each backup.
    """
    door.run(server.pgbackrest("stanza-create"))
    table, column = heartbeat
    for life in lives:
        say(f"{life.orders} orders, then a {life.backup} backup")
        if life.orders:
            door.run(server.psql(orders=str(life.orders)), ORDERS_SQL.encode())
        door.run(server.psql(table=table, column=column), HEARTBEAT_SQL.encode())
        door.run(server.pgbackrest(f"--type={life.backup}", "--start-fast", *SMALL, "backup"))


def grow(door: Door, server: Server, mebibytes: int) -> None:
    """Add tables with so much data that a restore takes a while; half of it is lost to compression.

    Args:
        door: the way to the server's machine.
        server: which one.
        mebibytes: of the tables, roughly; each has 64 MiB.
    """
    for number in range(-(-mebibytes // _TABLE_MIB)):
        door.run(server.psql(number=str(number), name=f"ballast_{number}"), GROW_SQL.encode())


def copied_repository(door: Door, server: Server) -> bytes:
    """Return the newest full backup, what builds on it, and its WAL, as a tar archive.

    The server's own repository stays as it is: a copy is trimmed.
    """
    copy = server.scratch
    newest = (f"--repo1-path={copy}", "--repo1-retention-full=1")
    try:
        door.run(("cp", "-a", "--", server.repository, copy))
        door.run(server.pgbackrest(*newest, "expire"))
        find = ("env", "--chdir=/", "find", copy)  # from root's home another user's `find` cannot work
        door.run((*find, "-name", "backup.history", "-prune", "-exec", "rm", "-r", "--", "{}", "+"))
        door.run((*find, "(", "-type", "l", "-o", "-name", "*.lock", ")", "-delete"))
        plain = ("--owner=0", "--group=0", "--mode=u=rwX,go=rX", "--sort=name")
        return door.run(("tar", "--create", f"--directory={copy}", *plain, "archive", "backup"))
    finally:
        door.run(("rm", "-rf", "--", copy))


def configured_repository(text: str) -> str:
    """Return the repository's directory as pgBackRest's configuration says it.

    >>> configured_repository("[global]\\nrepo1-path = /srv/pgbackrest\\n")
    '/srv/pgbackrest'
    """
    found = re.search(r"^repo1-path\s*=\s*(\S+)", text, re.MULTILINE)
    return found[1] if found else "/var/lib/pgbackrest"


@contextmanager
def short_lived_server(
    door: Door, directory: PurePosixPath, version: str, database: str, owner: str, stanza: str
) -> Iterator[Server]:
    """Give a new server that listens only on a socket in ``directory``, and end it.

    Args:
        door: the way to the machine.
        version: PostgreSQL's major version.
        owner: the role that owns the database.
        directory: an existing empty directory of the user ``postgres`` with a short path; the data stays in it.
        database: is made, owned by ``owner``.
        stanza: pgBackRest's name of the cluster.
    """
    data = directory / "data"
    server = Server(
        version=version,
        socket=str(directory),
        port=5432,
        database=database,
        configuration=str(directory / "pgbackrest.conf"),
        stanza=stanza,
        repository=str(directory / "repository"),
        scratch=str(directory / "copy"),
    )
    locale = ("--encoding=UTF8", "--locale=C.UTF-8")
    door.run((server.program("initdb"), f"--pgdata={data}", "--data-checksums", "--auth=peer", "--no-sync", *locale))
    for name, text in _files(server, directory).items():
        door.run(("tee", str(directory / name)), text.encode())
    control = (server.program("pg_ctl"), f"--pgdata={data}", "--wait", "--silent")
    door.run((*control, f"--log={directory / 'log'}", "start"))
    try:
        door.run(replace(server, database="postgres").psql(owner=owner, database=database), NEW_SQL.encode())
        yield server
    finally:
        door.run((*control, "--mode=fast", "stop"))


def _files(server: Server, directory: PurePosixPath) -> dict[str, str]:
    archive = " ".join(server.pgbackrest("archive-push", "%p"))
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(directory),
        "archive_mode": "on",
        "archive_command": archive,
        "fsync": "off",
    }
    return {
        "data/postgresql.conf": "".join(f"{name} = '{value}'\n" for name, value in settings.items()),
        "pgbackrest.conf": (
            f"[global]\nrepo1-path={directory}/repository\nlog-level-file=off\nlog-level-console=warn\n"
            f"lock-path={directory}/lock\ncompress-type=zst\nrepo1-retention-full=9\n"
            f"[{server.stanza}]\npg1-path={directory}/data\npg1-socket-path={directory}\n"
        ),
    }
