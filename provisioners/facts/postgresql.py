"""PostgreSQL: which servers run, what they hold, and who follows whom.

All is asked in sessions that may only read, end by themselves and wait for no lock. Passwords in settings are cut out
by the server, before they leave it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from model.facts import Database, Socket, Table, Upstream
from provisioners.facts import postgresql_sql as sql
from provisioners.facts.fact import Fact

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A server to ask: its port, and where known its version, name and directory. ``user`` runs it.

    Args:
        socket_directory: where its socket is; empty for where ``psql`` looks by itself.
        recovery: whether it is a replica; None where unknown.
    """

    port: int
    socket_directory: str = ""
    version: str = ""
    name: str = ""
    data_directory: str = ""
    user: str = "postgres"
    running: bool = True
    recovery: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server's settings say. ``upstream`` is where it would follow, if it is a replica."""

    version: str = ""
    name: str = ""
    data_directory: str = ""
    upstream: Upstream | None = field(default=None)
    stanza: str = ""


def parse_clusters(output: str) -> tuple[Cluster, ...]:
    """Return the clusters of ``pg_lsclusters --no-header``, as Debian and Ubuntu have them.

    >>> parse_clusters("15 main 5432 online,recovery postgres /srv/15/main /var/log/x.log")[0].running
    True

    Raises:
        ValueError: a port is not a number.
    """
    found = []
    for line in output.splitlines():
        words = line.split()
        if len(words) < 6 or words[0] == "Ver":
            continue
        version, name, port, status, user, directory = words[:6]
        found.append(
            Cluster(
                port=int(port),
                version=version,
                name=name,
                data_directory=directory,
                user="postgres" if user.startswith("<") else user,
                running=status.startswith("online"),
                recovery="recovery" in status if status.startswith("online") else None,
            )
        )
    return tuple(found)


def socket_directories(sockets: Sequence[Socket]) -> dict[int, str]:
    """Return the directory of each PostgreSQL socket by its port; a server need not listen on TCP.

    >>> socket_directories((Socket(path="/run/postgresql/.s.PGSQL.5432"),))
    {5432: '/run/postgresql'}

    Source: https://www.postgresql.org/docs/15/runtime-config-connection.html#GUC-UNIX-SOCKET-DIRECTORIES
    """
    found: dict[int, str] = {}
    for socket in sockets:
        match = re.fullmatch(r"(/.*)/\.s\.PGSQL\.(\d+)", socket.path)
        if match:
            found.setdefault(int(match[2]), match[1])
    return found


def _rows(output: str) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not a row")
            yield row


def major_version(number: str) -> str:
    """Return the version as PostgreSQL counts it.

    Raises:
        ValueError: it is no number.

    Source: https://www.postgresql.org/support/versioning/ (two parts before 10, one part since).

    >>> major_version("150008"), major_version("90624")
    ('15', '9.6')
    """
    value = int(number)
    return str(value // 10000) if value >= 100000 else f"{value // 10000}.{value // 100 % 100}"


def parse_conninfo(text: str) -> Upstream | None:
    """Return the server that a libpq connection string names, None where it names none over the network.

    Of several hosts the first counts.

    Source: https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-CONNSTRING

    >>> parse_conninfo("user=replicator host='db1' port=5433 sslmode=prefer")
    Upstream(host='db1', port=5433)
    """
    uri = re.match(r"^postgres(?:ql)?://(?:[^@/]*@)?(\[[^]]+\]|[^:/,?]+)(?::(\d+))?", text.strip())
    if uri:
        return Upstream(host=uri[1].strip("[]"), port=int(uri[2] or 5432))
    pairs = re.findall(r"(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))", text)
    values = {key: re.sub(r"\\(.)", r"\1", quoted) or plain for key, quoted, plain in pairs}
    host = (values.get("hostaddr") or values.get("host") or "").partition(",")[0]
    port = values.get("port", "5432").partition(",")[0]
    if not host or host.startswith(("/", "@")) or not port.isdigit():
        return None
    return Upstream(host=host, port=int(port))


def parse_settings(output: str) -> Settings:
    """Return what the settings say.

    Raises:
        ValueError: the output is not JSON, or the version is missing.
    """
    values = {row["name"]: row.get("setting") or "" for row in _rows(output)}
    if "server_version_num" not in values:
        raise ValueError("no version")
    return Settings(
        version=major_version(values["server_version_num"]),
        name=values.get("cluster_name", ""),
        data_directory=values.get("data_directory", ""),
        upstream=parse_conninfo(values.get("primary_conninfo", "")),
        stanza=values.get("archive_command", ""),
    )


def parse_replica(output: str) -> bool:
    """Return whether the server is a replica.

    Raises:
        ValueError: the output is not such an answer.
    """
    for row in _rows(output):
        if isinstance(row.get("replica"), bool):
            return bool(row["replica"])
    raise ValueError("no answer")


def parse_identifier(output: str) -> str:
    """Return the system identifier, which a primary and its replicas share.

    Raises:
        ValueError: the output is not such an answer.
    """
    return next((str(row["identifier"]) for row in _rows(output)), "")


def parse_receiver(output: str) -> Upstream | None:
    """Return the server from which this one streams now."""
    return next((parse_conninfo(row.get("conninfo") or "") for row in _rows(output)), None)


def parse_followers(output: str) -> tuple[str, ...]:
    """Return the addresses of the servers that stream from this one; one on the machine itself has none."""
    return tuple(dict.fromkeys(row["address"] for row in _rows(output) if row.get("address")))


def parse_databases(output: str) -> tuple[Database, ...]:
    """Return the databases, without their tables.

    Raises:
        ValueError: a row has no size.
    """
    return tuple(Database(name=row["name"], owner=row["owner"], size_bytes=int(row["bytes"])) for row in _rows(output))


def parse_tables(output: str) -> tuple[Table, ...]:
    """Return the tables of one database."""
    return tuple(
        Table(
            schema=row["schema"],
            name=row["name"],
            owner=row["owner"],
            filled=bool(row["filled"]),
            moments=tuple(row.get("moments") or ()),
        )
        for row in _rows(output)
    )


def _conninfo(text: str) -> str:
    r"""Return a value as a connection string quotes it.

    >>> _conninfo("o'neil")
    "'o\\'neil'"
    """
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


READ_ONLY = "-c default_transaction_read_only=on -c statement_timeout=15000 -c lock_timeout=2000"


def query(cluster: Cluster, statement: str, database: str = "postgres") -> tuple[str, ...]:
    """Return the command that asks a server one thing, in a session that may only read."""
    host = f"host={_conninfo(cluster.socket_directory)} " if cluster.socket_directory else ""
    rest = f"port={cluster.port} options={_conninfo(READ_ONLY)} connect_timeout=10"
    target = f"dbname={_conninfo(database)} {host}{rest}"
    return (
        "psql",
        "--no-psqlrc",
        "--no-password",
        "--quiet",
        "--tuples-only",
        "--no-align",
        f"--dbname={target}",
        f"--command={' '.join(statement.split())}",
    )


CLUSTERS = Fact(name="PostgreSQL clusters", argv=("pg_lsclusters", "--no-header"), parse=parse_clusters)


def _fact(
    cluster: Cluster, what: str, statement: str, parse: Callable[[str], T], database: str = "postgres"
) -> Fact[T]:
    name = f"PostgreSQL {what}, port {cluster.port}"
    return Fact(name=name, argv=query(cluster, statement, database), parse=parse, user=cluster.user)


def settings(cluster: Cluster) -> Fact[Settings | None]:
    """Return the question for a server's settings."""
    return _fact(cluster, "settings", sql.SETTINGS, parse_settings)


def replica(cluster: Cluster) -> Fact[bool | None]:
    """Return the question whether a server is a replica."""
    return _fact(cluster, "state", sql.STATE, parse_replica)


def identifier(cluster: Cluster) -> Fact[str]:
    """Return the question for the system identifier."""
    return _fact(cluster, "identifier", sql.IDENTIFIER, parse_identifier)


def receiver(cluster: Cluster) -> Fact[Upstream | None]:
    """Return the question for the server from which this one streams."""
    return _fact(cluster, "receiver", sql.RECEIVER, parse_receiver)


def followers(cluster: Cluster) -> Fact[tuple[str, ...]]:
    """Return the question for the servers that stream from this one."""
    return _fact(cluster, "replication", sql.FOLLOWERS, parse_followers)


def databases(cluster: Cluster) -> Fact[tuple[Database, ...]]:
    """Return the question for the databases."""
    return _fact(cluster, "databases", sql.DATABASES, parse_databases)


def tables(cluster: Cluster, database: str) -> Fact[tuple[Table, ...]]:
    """Return the question for the tables of one database."""
    return _fact(cluster, f"tables of {database}", sql.TABLES, parse_tables, database)
