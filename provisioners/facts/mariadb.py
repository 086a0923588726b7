"""MariaDB and MySQL: which server runs, what it holds, and whom it follows. All sessions only read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from model.facts import Database, Server, Table, Upstream
from provisioners.facts.fact import ROOT, Fact

T = TypeVar("T")

SERVER_QUERY = "SELECT VERSION(), @@port, @@datadir"
SIZES_QUERY = """
SELECT schema_name, COALESCE(SUM(data_length + index_length), 0)
FROM information_schema.schemata LEFT JOIN information_schema.tables ON table_schema = schema_name
WHERE schema_name NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys')
GROUP BY schema_name ORDER BY schema_name
"""
TABLES_QUERY = """
SELECT t.table_schema, t.table_name, t.table_rows, COALESCE(GROUP_CONCAT(c.column_name ORDER BY ordinal_position), '')
FROM information_schema.tables t LEFT JOIN information_schema.columns c ON c.table_schema = t.table_schema
AND c.table_name = t.table_name AND c.data_type IN ('timestamp', 'datetime')
WHERE t.table_type = 'BASE TABLE'
AND t.table_schema NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys')
GROUP BY t.table_schema, t.table_name, t.table_rows ORDER BY t.table_schema, t.table_name LIMIT 500
"""
GRANTS_QUERY = "SELECT Db, User FROM mysql.db WHERE Insert_priv = 'Y' ORDER BY Db, User"
REPLICA_QUERY = "SHOW SLAVE STATUS"
NEWER_REPLICA_QUERY = "SHOW REPLICA STATUS"
"""MySQL 8.4 knows only this one, MariaDB before 10.5 only the other."""
FOLLOWERS_QUERY = "SELECT host FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'"

_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\\\": "\\", "\\0": "\0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a server says it is."""

    version: str
    port: int
    data_directory: str
    flavour: str


def rows_of(output: str, columns: int) -> Iterator[list[str]]:
    r"""Give the rows of ``--batch`` output, whose tabs and line ends are escaped.

    Raises:
        ValueError: a row has another number of columns.
    """
    for line in output.splitlines():
        words = [re.sub(r"\\[tn\\0]", lambda match: _ESCAPES[match[0]], word) for word in line.split("\t")]
        if len(words) != columns:
            raise ValueError(f"{len(words)} columns, not {columns}")
        yield words


def major_version(text: str) -> str:
    """Return the first two numbers of a version.

    Raises:
        ValueError: it has none.

    >>> major_version("10.11.6-MariaDB-0+deb12u1")
    '10.11'
    """
    match = re.match(r"^(?:5\.5\.5-)?(\d+\.\d+)", text)
    if match is None:
        raise ValueError("no version")
    return match[1]


def parse_server(output: str) -> Identity:
    """Return what the server says it is.

    Raises:
        ValueError: the output is not such an answer.
    """
    ((version, port, directory),) = rows_of(output, 3)
    flavour = "" if "mariadb" in version.lower() else "mysql"
    return Identity(
        version=major_version(version), port=int(port), data_directory=directory.rstrip("/"), flavour=flavour
    )


def parse_sizes(output: str) -> tuple[Database, ...]:
    """Return the databases with their sizes, without owners and tables.

    Raises:
        ValueError: the output is not such an answer.
    """
    return tuple(Database(name=name, owner="", size_bytes=int(float(size))) for name, size in rows_of(output, 2))


def parse_tables(output: str) -> tuple[Table, ...]:
    """Return the tables; ``schema`` is the database. Whether one has rows is the engine's estimate.

    Raises:
        ValueError: the output is not such an answer.
    """
    return tuple(
        Table(
            schema=schema,
            name=name,
            owner="",
            filled=rows not in ("0", "NULL"),
            moments=tuple(moment for moment in moments.split(",") if moment),
        )
        for schema, name, rows, moments in rows_of(output, 4)
    )


def parse_grants(output: str) -> tuple[tuple[str, str], ...]:
    r"""Return pairs of database and user who may write there.

    >>> parse_grants("my\\\\_shop\tshop\n")
    (('my_shop', 'shop'),)
    """
    return tuple((database.replace("\\_", "_"), user) for database, user in rows_of(output, 2) if user)


def parse_replica(output: str) -> Upstream | None:
    """Return the server that this one follows, None where it follows none.

    Args:
        output: of ``SHOW SLAVE STATUS`` or ``SHOW REPLICA STATUS`` in vertical form.
    """
    values: dict[str, str] = {}
    for line in output.splitlines():
        key, separator, value = line.partition(":")
        if separator:
            values.setdefault(key.strip(), value.strip())
    host = values.get("Master_Host") or values.get("Source_Host") or ""
    port = values.get("Master_Port") or values.get("Source_Port") or "3306"
    return Upstream(host=host, port=int(port)) if host else None


def parse_followers(output: str) -> tuple[str, ...]:
    """Return the hosts that stream from this server; MariaDB writes each with its port."""
    return tuple(dict.fromkeys(line.rpartition(":")[0] or line for line in output.split()))


def query(statement: str, socket: str = "", *, vertical: bool = False) -> tuple[str, ...]:
    """Return the command that asks the server one thing, in a session that may only read.

    Args:
        statement: one statement.
        socket: path of the server's socket; empty for the usual one.
        vertical: whether each column comes on a line of its own.
    """
    where = (f"--socket={socket}",) if socket else ()
    form = ("--vertical",) if vertical else ("--batch", "--skip-column-names")
    return (
        "mysql",
        *where,
        *form,
        "--connect-timeout=10",
        "--init-command=SET SESSION TRANSACTION READ ONLY",
        f"--execute={' '.join(statement.split())}",
    )


def _fact(what: str, argv: tuple[str, ...], parse: Callable[[str], T]) -> Fact[T]:
    return Fact(name=f"MariaDB {what}", argv=argv, parse=parse, user=ROOT)


def identity(socket: str = "") -> Fact[Identity | None]:
    """Return the question for what the server is."""
    return _fact("server", query(SERVER_QUERY, socket), parse_server)


def sizes(socket: str = "") -> Fact[tuple[Database, ...]]:
    """Return the question for the databases."""
    return _fact("databases", query(SIZES_QUERY, socket), parse_sizes)


def tables(socket: str = "") -> Fact[tuple[Table, ...]]:
    """Return the question for the tables of all databases."""
    return _fact("tables", query(TABLES_QUERY, socket), parse_tables)


def grants(socket: str = "") -> Fact[tuple[tuple[str, str], ...]]:
    """Return the question for who may write in which database."""
    return _fact("users", query(GRANTS_QUERY, socket), parse_grants)


def replica(socket: str = "") -> Fact[Upstream | None]:
    """Return the question for the server that this one follows."""
    return _fact("replication", query(REPLICA_QUERY, socket, vertical=True), parse_replica)


def newer_replica(socket: str = "") -> Fact[Upstream | None]:
    """Return the same question in the words of newer servers."""
    return _fact("replication", query(NEWER_REPLICA_QUERY, socket, vertical=True), parse_replica)


def followers(socket: str = "") -> Fact[tuple[str, ...]]:
    """Return the question for the servers that stream from this one."""
    return _fact("followers", query(FOLLOWERS_QUERY, socket), parse_followers)


def server(
    found: Identity,
    databases: tuple[Database, ...],
    every_table: tuple[Table, ...],
    writers: tuple[tuple[str, str], ...],
) -> Server:
    """Return the server as its answers describe it; who follows whom comes apart."""
    whole = []
    for database in databases:
        users = {user for name, user in writers if name == database.name}
        whole.append(
            Database(
                name=database.name,
                owner=users.pop() if len(users) == 1 else "",
                size_bytes=database.size_bytes,
                tables=tuple(table for table in every_table if table.schema == database.name),
            )
        )
    return Server(
        engine="mariadb",
        port=found.port,
        version=found.version,
        data_directory=found.data_directory,
        databases=tuple(whole),
        flavour=found.flavour,
    )
