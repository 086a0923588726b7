"""Backups that are whole, of data that is not: the restore works, and the checks are red and say why."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from model.errors import UnderstudyError
from provisioners.shell import close_all
from provisioners.stores import postgresql
from provisioners.stores.kind import SeededStore
from provisioners.stores.sample import Here, Server, short_lived_server
from tests.damage.test_damage import pin
from tests.stores.machines import Said, StoreMachine, postgres_inputs

KIND = SeededStore(postgresql)
SEED = {"kind": "pgbackrest", "location": "repository", "stanza": "shop"}
TABLES = """
SET ROLE shop;
CREATE TABLE heartbeat (beat_at timestamptz PRIMARY KEY);
CREATE TABLE customers (id integer PRIMARY KEY, name text);
CREATE TABLE products (id integer PRIMARY KEY, name text);
CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer, product_id integer, quantity integer);
INSERT INTO heartbeat VALUES (now());
INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 2000) n;
INSERT INTO products VALUES (1, 'Brass lantern');
INSERT INTO orders SELECT n, n, 1, 1 FROM generate_series(1, 2000) n;
"""


def corrupted(server: Server, directory: Path, relation: str) -> None:
    """Flip a byte in the first page of a relation, behind the back of the stopped server."""
    found = Here().run(server.psql(), f"SELECT pg_relation_filepath('{relation}');".encode()).decode()
    name = next(word for word in found.split() if word.startswith("base/"))
    control = (server.program("pg_ctl"), f"--pgdata={directory}/data", "--wait", "--silent")
    Here().run((*control, "--mode=fast", "stop"))
    path = directory / "data" / name
    content = bytearray(path.read_bytes())
    content[8000] ^= 0xFF
    path.write_bytes(content)
    Here().run((*control, f"--log={directory}/log", "start"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A project with a repository, and the labels of its snapshots by what is wrong with their data."""
    root = tmp_path_factory.mktemp("project")
    directory = Path(tempfile.mkdtemp(prefix="us-"))
    shutil.chown(directory, "postgres", "postgres")
    door, labels = Here(), {}
    try:
        with short_lived_server(door, PurePosixPath(directory), "15", "shop", "shop", "shop") as server:

            def backup(name: str, kind: str = "incr", *options: str) -> None:
                quickly = ("--start-fast", "--archive-timeout=60", "--compress-level=1")
                door.run(server.pgbackrest(f"--type={kind}", *quickly, *options, "backup"))
                stored = (path.name for path in (directory / "repository/backup/shop").iterdir() if path.is_dir())
                labels[name] = max(label for label in stored if label[0].isdigit())

            def sql(text: str) -> None:
                door.run(server.psql(), f"SET ROLE shop; {text}".encode())

            door.run(server.psql(), TABLES.encode())
            door.run(server.pgbackrest("stanza-create"))
            backup("good", "full")
            sql("DELETE FROM customers;")
            backup("a table is empty")
            sql("INSERT INTO customers VALUES (1, 'one'); ALTER TABLE products RENAME TO goods;")
            backup("a table is missing")
            sql("ALTER TABLE goods RENAME TO products; DELETE FROM heartbeat;")
            backup("no heartbeat")
            sql("INSERT INTO heartbeat VALUES (now() + interval '1 day');")
            backup("a heartbeat of tomorrow")
            sql("DELETE FROM heartbeat; INSERT INTO heartbeat VALUES (now());")
            corrupted(server, directory, "orders")
            backup("a page is bad, and pgBackRest saw it")
            backup("a page is bad, and nobody saw it", "full", "--no-checksum-page")
            shutil.copytree(directory / "repository", root / "repository", symlinks=True)
        yield root, labels
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def machine() -> Iterator[StoreMachine]:
    """A machine without data."""
    with StoreMachine("db1") as running:
        yield running
    close_all()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a table is empty", ("1 of ", "table customers has rows: it is empty")),
        ("a table is missing", ('table products has rows: relation "products" does not exist',)),
        ("no heartbeat", ("heartbeat in heartbeat: there is no heartbeat: the table is empty",)),
        ("a heartbeat of tomorrow", ("s in the future: a clock is wrong",)),
        ("a page is bad, and pgBackRest saw it", ("pages failed their checksum when it was taken: pg_data/base/",)),
        ("a page is bad, and nobody saw it", ("(pg_amcheck): ", "(pg_checksums): ", "checksum verification failed")),
    ],
)
def test_bad_data_is_red(
    name: str, words: tuple[str, ...], project: tuple[Path, dict[str, str]], machine: StoreMachine
) -> None:
    root, labels = project
    inputs = postgres_inputs(machine, SEED, root)
    try:
        inputs |= pin(root, labels[name])
    except UnderstudyError as error:
        found = str(error)
        inputs |= {"snapshot": labels[name], "snapshot_digest": "0" * 64}
    with pytest.raises(UnderstudyError) as caught:
        KIND.create(inputs, Said())
    found = str(caught.value)
    for word in words:
        assert word in found, found
    assert machine.shell("ls", "/srv/postgresql") == "" or "saw it" in name


def test_without_damage_it_is_green(project: tuple[Path, dict[str, str]], machine: StoreMachine) -> None:
    """Or the others would be red for another reason."""
    root, labels = project
    inputs = postgres_inputs(machine, SEED, root) | pin(root, labels["good"])
    outputs = KIND.create(inputs, Said())[1]
    assert all(check["ok"] for check in outputs["checks"])
    assert 0 <= outputs["data_age_seconds"] < 600
    assert machine.sql("SELECT count(*) FROM customers") == "2000"
