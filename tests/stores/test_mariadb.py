"""A MariaDB store on a machine: filled from real dumps, changed in place, filled anew, never left without data."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.errors import UnderstudyError
from model.mariadb import SITE_PATH, STORE_PATH, UNIT
from model.snapshot import BadBackup, Flaw
from model.topology import Backup
from provisioners.shell import close_all
from provisioners.stores import mariadb
from provisioners.stores.kind import SeededStore
from provisioners.stores.repository import open_repository
from tests.stores.machines import PROJECT, Said, StoreMachine, mariadb_inputs

KIND = SeededStore(mariadb)
INIT = r"""
CREATE TABLE heartbeat (beat_at datetime(6) PRIMARY KEY);
CREATE TABLE customers (id integer PRIMARY KEY, name varchar(60), picture blob, born timestamp NULL);
CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer REFERENCES customers (id), note text);
CREATE TABLE old_log (line text) ENGINE=Aria;
CREATE TABLE sessions (id integer) ENGINE=MEMORY;
CREATE TABLE `odd ``name` (`a b` integer);
INSERT INTO heartbeat VALUES (UTC_TIMESTAMP(6));
INSERT INTO customers VALUES (1, 'Zoë \\ O''Neil', x'0D0A001A0D5C215C6C0A', '2026-11-23 02:30:07'),
    (2, '🦉', NULL, NULL);
INSERT INTO orders SELECT seq, 1 + seq % 2, REPEAT('x', 99) FROM seq_1_to_2000;
CREATE USER 'clerk''s'@'10.20.0.%' IDENTIFIED BY 'clerk', shop@localhost IDENTIFIED BY 'prod''s own';
GRANT SELECT ON shop.* TO 'clerk''s'@'10.20.0.%', shop@localhost;
CREATE DEFINER='clerk''s'@'10.20.0.%' SQL SECURITY DEFINER VIEW newest AS SELECT max(id) AS id FROM orders;
CREATE DEFINER=shop@localhost VIEW few AS SELECT * FROM customers;
CREATE TRIGGER noted BEFORE INSERT ON orders FOR EACH ROW SET NEW.note = COALESCE(NEW.note, 'none');
CREATE EVENT ended ON SCHEDULE EVERY 1 SECOND DO DELETE FROM orders;
"""


def dump(machine: StoreMachine, target: Path, *options: str) -> None:
    """Let mysqldump write a file, as a prod's nightly job does."""
    words = ("--socket=/run/mysqld/mysqld.sock", "--single-transaction", "--routines", "--events", *options)
    text = machine.shell("mysqldump", "--no-defaults", *words)
    data = f"{text}\n".encode()
    target.write_bytes(gzip.compress(data) if target.suffix == ".gz" else data)


def seed(path: str) -> dict[str, str]:
    return {"kind": "mysqldump", "location": path}


def pinned(project: Path, path: str) -> dict[str, Any]:
    """Return the inputs that say which dump."""
    repository = open_repository(Backup(kind="mysqldump", location=path), project)
    label = repository.newest().label
    return {"seed": seed(path), "snapshot": label, "snapshot_digest": repository.digest(label)}


def changed(inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    """Return what a refresh finds to be other than wanted."""
    real = KIND.read("db1:shop", inputs, outputs, Said())
    assert real is not None
    return {name: value for name, value in real.inputs.items() if inputs.get(name) != value}


def places(machine: StoreMachine) -> set[str]:
    return set(machine.shell("ls", "/srv/mariadb").split()) - {"current"}


def logged_in(machine: StoreMachine, password: str) -> str:
    """Return as whom the owner is known with a password, or the refusal."""
    return machine.mariadb("SELECT CURRENT_USER()", "--user=shop", f"--password={password}", check=False)


@pytest.fixture(scope="module")
def prod() -> Iterator[StoreMachine]:
    """A machine whose database began empty, and has lived since."""
    with StoreMachine("prod1") as machine:
        inputs = mariadb_inputs(machine, {"kind": "init"}, PROJECT, init_sql=INIT, expected_tables=[])
        assert KIND.check(inputs) == ()
        _, outputs = KIND.create(inputs, Said())
        assert [check["name"] for check in outputs["checks"]] == list(mariadb.ALWAYS)
        assert (outputs["snapshot"], outputs["data_age_seconds"]) == ("", None)
        machine.mariadb("INSERT INTO customers VALUES (3, 'since', NULL, NULL)")
        assert KIND.update("prod1:shop", inputs, {**inputs, "init_sql": "DROP TABLE customers"}, outputs, Said())
        assert machine.mariadb("SELECT count(*) FROM customers") == "3", "live data is not made anew"
        yield machine
    close_all()


@pytest.fixture(scope="module")
def project(prod: StoreMachine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with dumps of that database."""
    directory = tmp_path_factory.mktemp("project")
    dump(prod, directory / "shop.sql", "shop")
    dump(prod, directory / "all.sql.gz", "--all-databases")
    return directory


@pytest.fixture(scope="module")
def machine() -> Iterator[StoreMachine]:
    with StoreMachine("db1") as running:
        yield running


@pytest.fixture(scope="module")
def restored(machine: StoreMachine, project: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs and outputs of a server that was filled from the plain dump."""
    said = Said()
    inputs = {**mariadb_inputs(machine, {}, project), **pinned(project, "shop.sql")}
    assert KIND.check(inputs) == ()
    identifier, outputs = KIND.create(inputs, said)
    assert identifier == "db1:shop"
    assert any(line.startswith("restoring ") for line in said.lines)
    return inputs, outputs


Restored = tuple[dict[str, Any], dict[str, Any]]


def test_what_a_restore_tells(restored: Restored) -> None:
    outputs = restored[1]
    assert (outputs["snapshot"], outputs["unit"]) == ("shop.sql", UNIT)
    assert 0 <= outputs["data_age_seconds"] < 900
    assert outputs["restore_seconds"] > 0
    assert [check["name"] for check in outputs["checks"] if not check["ok"]] == []
    assert [check["name"] for check in outputs["checks"]] == [
        "server accepts connections",
        "table customers has rows",
        "table shop.orders has rows",
        "every table and index is readable (CHECK TABLE)",
        "heartbeat in heartbeat",
    ]


def test_every_byte_is_there(prod: StoreMachine, machine: StoreMachine, restored: Restored) -> None:
    question = "SELECT *, HEX(picture) FROM customers ORDER BY id; CHECKSUM TABLE orders, `odd ``name`, old_log; "
    assert machine.mariadb(question) == prod.mariadb(question)
    assert machine.mariadb("SELECT max(id) FROM newest") == "2000", "its definer is there"
    machine.mariadb("INSERT INTO orders (id) VALUES (0)")
    assert machine.mariadb("SELECT note FROM orders WHERE id = 0; DELETE FROM orders WHERE id = 0") == "none"


def test_restored_data_is_harmless(machine: StoreMachine, restored: Restored) -> None:
    assert machine.mariadb("SELECT @@event_scheduler, @@skip_networking") == "OFF\t1"
    refused = machine.mariadb("SELECT 1", "--user=clerk's", "--password=clerk", check=False)
    assert "Access denied" in refused, "a definer that the dump only names logs in nowhere"


def test_nothing_is_left_on_the_machine(machine: StoreMachine, restored: Restored) -> None:
    place = restored[1]["data_id"]
    assert places(machine) == {place}
    assert machine.shell("ls", f"/srv/mariadb/{place}").split() == ["data", "key", "seed.json"]
    assert "owner's" not in machine.shell("cat", f"/srv/mariadb/{place}/seed.json")
    assert machine.shell("ls", "/var/lib/understudy-jobs") == ""


def test_the_owner_logs_in_with_the_stacks_password(machine: StoreMachine, restored: Restored) -> None:
    assert logged_in(machine, restored[0]["owner_password"]).startswith("shop@")
    assert "Access denied" in logged_in(machine, "prod's own")
    assert "Access denied" in logged_in(machine, "")


def test_a_second_create_changes_nothing(machine: StoreMachine, restored: Restored) -> None:
    inputs, outputs = restored
    server = machine.shell("cat", f"/run/fake-systemd/{UNIT}.pid")
    assert KIND.create(inputs, Said())[1] == outputs
    assert machine.shell("cat", f"/run/fake-systemd/{UNIT}.pid") == server, "no restart"
    assert changed(inputs, outputs) == {}


def test_passwords_change_in_place_and_the_sites_settings_are_left_to_their_service(
    machine: StoreMachine, restored: Restored
) -> None:
    inputs, outputs = restored
    server = machine.shell("cat", f"/run/fake-systemd/{UNIT}.pid")
    wanted = {**inputs, "settings": {"max_connections": "42"}, "owner_password": "new \\ 'n'"}
    assert KIND.update("db1:shop", inputs, wanted, outputs, Said()) == outputs
    assert machine.mariadb("SELECT @@max_connections, @@innodb_log_file_size") == f"151\t{4 << 20}", (
        "it began with that"
    )
    assert machine.shell("cat", f"/run/fake-systemd/{UNIT}.pid") == server
    assert logged_in(machine, wanted["owner_password"]).startswith("shop@")
    assert "Access denied" in logged_in(machine, inputs["owner_password"])
    assert changed(wanted, outputs) == {}
    KIND.update("db1:shop", wanted, inputs, outputs, Said())


def test_what_was_in_one_file_before_is_in_two_now_without_a_restart(machine: StoreMachine, restored: Restored) -> None:
    inputs, outputs = restored
    site, store = (machine.root / path.lstrip("/") for path in (SITE_PATH, STORE_PATH))
    began, server = site.read_text(), machine.shell("cat", f"/run/fake-systemd/{UNIT}.pid")
    store.write_text(began + store.read_text().partition("[mariadbd]\n")[2])
    site.unlink()
    KIND.update("db1:shop", inputs, inputs, outputs, Said())
    assert site.read_text() == began
    assert "skip_networking" not in store.read_text()
    assert machine.shell("cat", f"/run/fake-systemd/{UNIT}.pid") == server


def test_drift_is_seen_and_mended(machine: StoreMachine, restored: Restored) -> None:
    inputs, outputs = restored
    with (machine.root / STORE_PATH.lstrip("/")).open("a") as file:
        file.write("max_connections=7\n")
    machine.mariadb("SET PASSWORD FOR shop@'%' = PASSWORD('typed by hand')")
    assert changed(inputs, outputs) == {"configuration": "max_connections = 7", "owner_password": "(another one)"}
    machine.shell("systemctl", "stop", UNIT)
    assert changed(inputs, outputs)["running"] is False
    KIND.update("db1:shop", inputs, inputs, outputs, Said())
    assert changed(inputs, outputs) == {}
    assert machine.mariadb("SELECT @@max_connections") == "151"
    assert logged_in(machine, inputs["owner_password"]).startswith("shop@")


def refused(machine: StoreMachine, inputs: dict[str, Any], **more: Any) -> UnderstudyError:
    """Try to fill it with something else; what served before must still."""
    before = machine.shell("readlink", "/srv/mariadb/current"), machine.mariadb("SELECT count(*) FROM orders")
    with pytest.raises(UnderstudyError) as caught:
        KIND.update("db1:shop", inputs, {**inputs, **more}, {}, Said())
    after = machine.shell("readlink", "/srv/mariadb/current"), machine.mariadb("SELECT count(*) FROM orders")
    assert after == before
    assert places(machine) == {before[0].partition("/")[0]}, "a place was left behind"
    until = time.monotonic() + 20  # it was killed, and ends when the kernel comes to it
    while machine.shell("sh", "-c", "ps -C mariadbd -o stat= | grep -vc Z") != "1":
        assert time.monotonic() < until, "the private server is gone"
        time.sleep(0.1)
    return caught.value


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("damage", "flaw", "found"),
    [
        (_cut, Flaw.DAMAGED, "cut short"),
        (lambda data: data.replace(b"10.11.", b"11.4."), Flaw.OTHER_VERSION, "version 11.4"),
        (lambda data: data.replace(b"-- MariaDB dump", b"-- a dump"), Flaw.DAMAGED, "does not begin"),
        (lambda data: data + b"-- Dump completed\n", Flaw.DAMAGED, "not the one that was pinned"),
        (lambda data: b"", Flaw.DAMAGED, "empty: the file has no content"),
    ],
)
def test_a_bad_dump_is_refused_before_anything_is_made(
    damage: Any, flaw: Flaw, found: str, machine: StoreMachine, restored: Restored, project: Path, tmp_path: Path
) -> None:
    path = tmp_path / "shop.sql"
    path.write_bytes(damage((project / "shop.sql").read_bytes()))
    error = refused(machine, restored[0], project_directory=str(tmp_path), drilled_at=found)
    assert isinstance(error, BadBackup)
    assert (error.flaw, found in str(error)) == (flaw, True), str(error)


def test_a_dump_that_breaks_off_in_the_middle_names_its_line(
    machine: StoreMachine, restored: Restored, project: Path, tmp_path: Path
) -> None:
    """Its end is there, but a table in its middle is spoilt."""
    text = (project / "shop.sql").read_text()
    (tmp_path / "shop.sql.gz").write_bytes(gzip.compress(text.replace("INSERT INTO `orders`", "INSRT", 1).encode()))
    more = {**pinned(tmp_path, "shop.sql.gz"), "project_directory": str(tmp_path)}
    error = refused(machine, restored[0], **more)
    assert "cannot be restored (restore): ERROR 1064 (42000) at line" in str(error)
    assert "The old data still serves." in str(error)


def test_data_that_is_not_good_is_red(machine: StoreMachine, restored: Restored, project: Path, tmp_path: Path) -> None:
    """An empty table, one that is missing, names that are hostile, and a view that leads nowhere: each is named."""
    text = (project / "shop.sql").read_text()
    bad = "CREATE TABLE gone (a int); CREATE VIEW broken AS SELECT a FROM gone; DROP TABLE gone; DELETE FROM heartbeat;"
    (tmp_path / "shop.sql").write_text(text.replace("-- Dump completed", f"{bad}\n-- Dump completed"))
    hostile = "x`; DROP TABLE orders; --' $(touch /tmp/owned) `id`"
    more = {
        **pinned(tmp_path, "shop.sql"),
        "project_directory": str(tmp_path),
        "expected_tables": ["customers", "old_log", "payments", hostile],
    }
    error = str(refused(machine, restored[0], **more))
    assert "5 of 7 checks failed" in error
    assert "table old_log has rows: it is empty" in error
    assert "table payments has rows: ERROR 1146" in error
    assert "DROP TABLE orders; --' $(touch /tmp/owned) `id`' doesn't exist" in error
    assert "shop.broken" in error
    assert "there is no heartbeat: the table is empty" in error
    assert not (machine.root / "tmp" / "owned").exists()


def test_a_dump_of_a_whole_server(machine: StoreMachine, restored: Restored, project: Path) -> None:
    """It brings prod's own accounts: root's stays the machine's, the owner's password is the stack's everywhere."""
    inputs, outputs = restored
    machine.mariadb("DELETE FROM orders")
    wanted = {**inputs, **pinned(project, "all.sql.gz")}
    after = KIND.update("db1:shop", inputs, wanted, outputs, Said())
    assert all(check["ok"] for check in after["checks"])
    assert places(machine) == {after["data_id"]} != {outputs["data_id"]}
    assert changed(inputs, outputs) == {"snapshot": "all.sql.gz"}
    assert "Access denied" in logged_in(machine, "prod's own")
    assert logged_in(machine, inputs["owner_password"]) == "shop@localhost"
    machine.shell("systemctl", "restart", UNIT)
    assert machine.mariadb("SELECT max(id) FROM newest") == "2000"
    assert changed(wanted, after) == {}
