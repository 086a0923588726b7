"""Real servers are asked: PostgreSQL with a replica, and MariaDB."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from model.facts import Server, Table, Upstream
from model.mirror import Reading
from model.topology import Access
from provisioners.facts import mariadb, postgresql
from provisioners.facts.ask import Asking, read_host
from provisioners.facts.gather import gather
from provisioners.facts.portrait import paint
from provisioners.outcome import Result
from tests.doubles.sshd import free_port

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
HERE = Access(host="here")
SECRET = "zqx'jkv\\2"


def run(argv: Sequence[str]) -> Result:
    done = subprocess.run(argv, capture_output=True, check=False, cwd="/")
    return Result(argv=tuple(argv), stdout=done.stdout, stderr=done.stderr, code=done.returncode)


def succeed(*argv: str) -> str:
    done = run(argv)
    assert done.code == 0, done.stderr.decode()
    return done.text


@dataclass(frozen=True)
class Pair:
    """A primary and its replica, both on this host."""

    folder: Path
    primary: int
    replica: int

    def as_postgres(self, program: str, *arguments: str) -> str:
        return succeed("runuser", "-u", "postgres", "--", str(PROGRAMS / program), *arguments)

    def sql(self, port: int, statement: str, database: str = "postgres") -> str:
        return self.as_postgres("psql", "-h", str(self.folder), "-p", str(port), "-d", database, "-Atqc", statement)

    def start(self, name: str, port: int) -> None:
        settings = self.folder / name / "postgresql.auto.conf"
        own = f"port = {port}\nunix_socket_directories = '{self.folder}'\nlisten_addresses = '127.0.0.1'\n"
        own += "shared_buffers = '16MB'\nfsync = off\nmax_connections = 20\narchive_mode = on\n"
        own += "archive_command = 'true pgbackrest --stanza=shop archive-push %p'\n"
        settings.write_text(settings.read_text() + own)
        log = str(self.folder / f"{name}.log")
        self.as_postgres("pg_ctl", "-D", str(self.folder / name), "-l", log, "-w", "start")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    folder = Path(tempfile.mkdtemp(prefix="understudy-facts-", dir="/tmp"))
    shutil.chown(folder, "postgres", "postgres")
    folder.chmod(0o755)
    servers = Pair(folder=folder, primary=free_port(), replica=free_port())
    try:
        servers.as_postgres("initdb", "-D", str(folder / "one"), "-A", "trust", "--data-checksums")
        servers.start("one", servers.primary)
        for statement in ("CREATE ROLE shop LOGIN", "CREATE DATABASE shop OWNER shop"):
            servers.sql(servers.primary, statement)
        for statement in (
            "SET ROLE shop; CREATE TABLE orders (id int, placed_at timestamptz); INSERT INTO orders VALUES (1, now())",
            "SET ROLE shop; CREATE TABLE heartbeat (beat_at timestamptz); INSERT INTO heartbeat VALUES (now())",
            'SET ROLE shop; CREATE TABLE "Empty; DROP" (x int)',
            "CREATE UNLOGGED TABLE scratch AS SELECT 1; CREATE VIEW seen AS SELECT 1; CREATE SCHEMA crm",
            "CREATE TABLE crm.parts (x int) PARTITION BY RANGE (x)",
            "CREATE TABLE crm.parts_1 PARTITION OF crm.parts FOR VALUES FROM (0) TO (9)",
            "INSERT INTO crm.parts VALUES (1)",
        ):
            servers.sql(servers.primary, statement, "shop")
        secret = SECRET.replace("\\", "\\\\").replace("'", "\\'")
        source = f"host=127.0.0.1 port={servers.primary} user=postgres password='{secret}'"
        servers.as_postgres(
            "pg_basebackup", "-D", str(folder / "two"), "-d", source, "-R", "-c", "fast", "-X", "stream"
        )
        servers.start("two", servers.replica)
        deadline = time.monotonic() + 30
        while "streaming" not in servers.sql(servers.primary, "SELECT state FROM pg_stat_replication"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield servers
    finally:
        for name in ("two", "one"):
            stop = (str(PROGRAMS / "pg_ctl"), "-D", str(folder / name), "-m", "immediate", "stop")
            run(("runuser", "-u", "postgres", "--", *stop))
        shutil.rmtree(folder)


def servers_of(pair: Pair) -> dict[int, Server]:
    facts = read_host(HERE, run)
    return {server.port: server for server in facts.servers if server.port in (pair.primary, pair.replica)}


def test_a_primary_and_its_replica_tell_all(pair: Pair) -> None:
    found = servers_of(pair)
    primary, replica = found[pair.primary], found[pair.replica]
    assert (primary.version, primary.replica, primary.stanza) == ("15", False, "shop")
    assert primary.followers == ("127.0.0.1",)
    assert primary.data_directory == str(pair.folder / "one")
    assert (replica.replica, replica.upstream) == (True, Upstream(host="127.0.0.1", port=pair.primary))
    assert primary.identifier == replica.identifier != ""
    assert primary.mount
    for server in (primary, replica):
        assert [database.name for database in server.databases] == ["postgres", "shop"]
        shop = server.databases[1]
        assert shop.owner == "shop"
        assert shop.size_bytes > 5_000_000
        assert shop.tables == (
            Table(schema="crm", name="parts_1", owner="postgres", filled=True),
            Table(schema="public", name="Empty; DROP", owner="shop", filled=False),
            Table(schema="public", name="heartbeat", owner="shop", filled=True, moments=("beat_at",)),
            Table(schema="public", name="orders", owner="shop", filled=True, moments=("placed_at",)),
        )


def test_passwords_do_not_leave_the_server(pair: Pair) -> None:
    assert "zqx" in pair.sql(pair.replica, "SHOW primary_conninfo")
    printed = []

    def recording(argv: tuple[str, ...]) -> Result:
        result = run(argv)
        printed.append(result.stdout + result.stderr)
        return result

    gather(HERE, Asking(HERE, recording).answer)
    assert b"primary_conninfo" in b"".join(printed)
    leaks = [output for output in printed if b"zqx" in output or b"jkv" in output]
    assert leaks == []


@pytest.mark.parametrize(
    "conninfo", ["host=db1 password=hunter2", "password = 'hun ter' host=db1", "postgresql://me:hunter2@db1/x"]
)
def test_passwords_in_any_notation_do_not_leave_the_server(pair: Pair, conninfo: str) -> None:
    quoted = conninfo.replace("'", "''")
    pair.sql(pair.primary, f"ALTER SYSTEM SET primary_conninfo = '{quoted}'")
    try:
        pair.sql(pair.primary, "SELECT pg_reload_conf()")
        deadline = time.monotonic() + 10
        while "db1" not in pair.sql(pair.primary, "SHOW primary_conninfo"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        cluster = postgresql.Cluster(port=pair.primary, socket_directory=str(pair.folder))
        output = Asking(HERE, run).answer(postgresql.settings(cluster))
        assert "hun" not in output
        settings = postgresql.parse_settings(output)
        assert settings.upstream is not None
        assert settings.upstream.host == "db1"
    finally:
        pair.sql(pair.primary, "ALTER SYSTEM RESET primary_conninfo")
        pair.sql(pair.primary, "SELECT pg_reload_conf()")


def test_a_session_cannot_write(pair: Pair) -> None:
    cluster = postgresql.Cluster(port=pair.primary, socket_directory=str(pair.folder))
    argv = postgresql.query(cluster, "CREATE TABLE mine (x int)", "shop")
    result = run(("runuser", "-u", "postgres", "--", *argv))
    assert result.code != 0
    assert b"read-only transaction" in result.stderr


def test_a_database_with_a_strange_name_is_asked(pair: Pair) -> None:
    name = 'it\'s \\ a "shop" ; port=1'
    pair.sql(pair.primary, 'CREATE DATABASE "it\'s \\ a ""shop"" ; port=1"')
    try:
        found = servers_of(pair)[pair.primary]
        assert name in [database.name for database in found.databases]
    finally:
        pair.sql(pair.primary, 'DROP DATABASE "it\'s \\ a ""shop"" ; port=1"')


def test_without_the_right_to_become_postgres_the_reason_is_told(pair: Pair) -> None:
    nobody = Access(host="here", user="nobody")

    def as_nobody(argv: tuple[str, ...]) -> Result:
        return run(("runuser", "-u", "nobody", "--", *argv))

    facts = read_host(nobody, as_nobody)
    server = next(server for server in facts.servers if server.port == pair.primary)
    assert (server.version, server.databases, server.replica) == ("", (), None)
    (unread,) = [each for each in facts.unread if each.fact == f"PostgreSQL settings, port {pair.primary}"]
    assert 'role "nobody" does not exist' in unread.reason


@pytest.fixture(scope="module")
def socket() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="understudy-facts-", dir="/tmp"))
    data, path = folder / "data", str(folder / "sock")
    options = ("--no-defaults", f"--datadir={data}", "--user=root", "--innodb-buffer-pool-size=16M", "--skip-log-bin")
    succeed("mariadb-install-db", *options[:3], "--auth-root-authentication-method=normal", "--skip-test-db")
    port = free_port()
    network = (f"--socket={path}", f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={folder / 'pid'}")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(("mariadbd", *options, *network), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while run(("mysql", f"--socket={path}", "--execute=SELECT 1")).code != 0:
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for statement in (
            "CREATE DATABASE my_shop; CREATE USER shop@'%'; GRANT ALL ON `my\\_shop`.* TO shop@'%'",
            "CREATE TABLE my_shop.orders (id int, placed_at datetime, seen timestamp)",
            "INSERT INTO my_shop.orders (id) VALUES (1)",
            "CREATE TABLE my_shop.empty (id int); CREATE VIEW my_shop.v AS SELECT 1; ANALYZE TABLE my_shop.orders",
        ):
            succeed("mysql", f"--socket={path}", f"--execute={statement}")
        yield path
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder)


def test_mariadb_tells_all(socket: str) -> None:
    data = str(Path(socket).parent / "data")
    facts = read_host(HERE, run)
    (server,) = [each for each in facts.servers if each.data_directory == data]
    assert (server.replica, server.upstream, server.followers) == (False, None, ())
    assert server.mount
    assert not [each for each in facts.unread if "MariaDB" in each.fact]
    assert (server.engine, server.version, server.flavour) == ("mariadb", "10.11", "")
    (shop,) = server.databases
    assert (shop.name, shop.owner) == ("my_shop", "shop")
    assert shop.size_bytes > 0
    assert shop.tables == (
        Table(schema="my_shop", name="empty", owner="", filled=False),
        Table(schema="my_shop", name="orders", owner="", filled=True, moments=("placed_at", "seen")),
    )


def test_a_session_of_mariadb_cannot_write(socket: str) -> None:
    result = run(mariadb.query("CREATE TABLE my_shop.mine (x int)", socket))
    assert result.code != 0
    assert b"READ ONLY" in result.stderr


def painted() -> dict[tuple[str, str], Reading]:
    portrait = paint("here", IPv4Address("10.0.0.1"), Asking(HERE, run).answer)
    # A server of another test, in that test's own mount namespace, is among this host's processes, too.
    elsewhere = ("/var/run/postgresql", "/run/mysqld")
    unread = [each for each in portrait.unread if "database" in each.fact]
    assert not [each for each in unread if not any(place in each.reason for place in elsewhere)]
    return {(reading.area, reading.key): reading for reading in portrait.readings}


def test_a_portrait_has_what_the_servers_have(pair: Pair) -> None:
    pair.sql(pair.primary, "CREATE EXTENSION pg_trgm; CREATE COLLATION german (provider=icu, locale='de')", "shop")
    pair.sql(pair.primary, "ALTER ROLE shop IN DATABASE shop SET search_path = 'zqxjkv'")
    pair.sql(pair.primary, "ALTER SYSTEM SET work_mem = '7MB'; ")
    pair.sql(pair.primary, "SELECT pg_reload_conf()")
    try:
        found = painted()
        here = f"postgresql {pair.primary}"
        databases = {key: reading for (area, key), reading in found.items() if area == "databases"}
        assert databases[f"{here} server"].value == "runs"
        assert databases[f"{here} version"].value.startswith("15.")
        assert databases[f"{here} is a replica"].value == "false"
        assert databases[f"postgresql {pair.replica} is a replica"].value == "true"
        assert databases[f"{here} checksums"].value == "on"
        assert databases[f"{here} role shop"].value == "login"
        assert databases[f"{here} role postgres"].value == "superuser login replication createdb createrole"
        assert databases[f"{here} settings of role shop in shop"].digest
        assert databases[f"{here} database shop"].value.startswith("UTF8 ")
        assert "owner shop" in databases[f"{here} database shop"].value
        assert (databases[f"{here} size of shop"].amount or 0) > 5_000_000
        assert databases[f"{here} shop extension pg_trgm"].value == "1.6"
        assert f"{here} postgres extension pg_trgm" not in databases
        assert databases[f"{here} shop collation german"].value
        assert databases[f"{here} who may connect (pg_hba)"].value.endswith(" rules")
        settings = {key: reading for (area, key), reading in found.items() if area == "database settings"}
        assert settings[f"{here} work_mem"].value == "7168"
        assert settings[f"{here} archive_command"].value == ""
        assert settings[f"{here} archive_command"].digest != settings[f"{here} restore_command"].digest
        assert len(settings) > 300
        assert "zqx" not in repr(found)
        assert "jkv" not in repr(found)
    finally:
        pair.sql(pair.primary, "ALTER SYSTEM RESET work_mem")
        pair.sql(pair.primary, "DROP EXTENSION pg_trgm; DROP COLLATION german", "shop")
        pair.sql(pair.primary, "ALTER ROLE shop IN DATABASE shop RESET search_path")


def test_a_portrait_has_what_mariadb_has(socket: str) -> None:
    succeed("mysql", f"--socket={socket}", "--execute=SET GLOBAL init_connect = \"SET @a = 'zqxjkv'\"")
    found = painted()
    (name,) = (key.removesuffix(" database my_shop") for _, key in found if key.endswith(" database my_shop"))
    assert found["databases", f"{name} version"].value == "mariadb 10.11"
    assert found["databases", f"{name} database my_shop"].value == "latin1 latin1_swedish_ci"
    assert (found["databases", f"{name} size of my_shop"].amount or 0) > 0
    assert found["database settings", f"{name} innodb_buffer_pool_size"].value == str(16 << 20)
    assert found["database settings", f"{name} init_connect"].value == ""
    assert found["database settings", f"{name} init_connect"].digest
    assert "zqx" not in repr(found)
