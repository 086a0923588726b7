"""A PostgreSQL store on a machine: filled, changed in place, filled anew, and never left without data."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from model.errors import UnderstudyError
from model.topology import Backup
from provisioners.outcome import ConnectionLost
from provisioners.shell import close_all
from provisioners.stores import postgresql
from provisioners.stores.kind import SeededStore
from provisioners.stores.repository import open_repository
from provisioners.stores.sample import Here, short_lived_server
from tests.stores.machines import PROJECT, SAMPLE, Said, StoreMachine, postgres_inputs

KIND = SeededStore(postgresql)
SEED = {"kind": "pgbackrest", "location": "samples/pgbackrest", "stanza": "shop"}
INIT = "SET ROLE shop; CREATE TABLE customers (id integer PRIMARY KEY); INSERT INTO customers VALUES (1), (2);"


def pinned(index: int = -1, seed: dict[str, str] = SEED, project: Path = PROJECT) -> dict[str, str]:
    repository = open_repository(Backup(**seed), project)
    label = repository.snapshots()[index].label
    return {"snapshot": label, "snapshot_digest": repository.digest(label)}


def changed(inputs: dict[str, Any], real: Any) -> dict[str, Any]:
    return {name: value for name, value in real.inputs.items() if inputs.get(name) != value}


def places(machine: StoreMachine) -> list[str]:
    return [name for name in machine.shell("ls", "/srv/postgresql").split() if name != "current"]


@pytest.fixture(scope="module")
def machine() -> Iterator[StoreMachine]:
    with StoreMachine("db1") as running:
        yield running
    close_all()


def test_a_cluster_of_a_locale_that_is_not_installed_here(machine: StoreMachine, tmp_path: Path) -> None:
    """The server starts, and refuses each connection: that is said, and not waited for."""
    with tempfile.TemporaryDirectory(prefix="us-") as name:
        place, door = Path(name), Here()
        shutil.chown(place, "postgres", "postgres")
        with short_lived_server(door, PurePosixPath(place), "15", "shop", "shop", "shop") as server:
            door.run(server.pgbackrest("stanza-create"))
            elsewhere = "UPDATE pg_database SET datcollate = 'xx_YY.UTF-8' WHERE datname = 'postgres'"
            door.run(server.psql(), elsewhere.encode())
            door.run(server.pgbackrest("--type=full", "--start-fast", "--pg1-database=shop", "backup"))
        shutil.copytree(place / "repository", tmp_path / "repository", symlinks=True)
    seed = {"kind": "pgbackrest", "location": "repository", "stanza": "shop"}
    pin = pinned(seed=seed, project=tmp_path)
    with pytest.raises(UnderstudyError, match=r"(?s)initialized with LC_COLLATE \"xx_YY.UTF-8\".*lets nobody in"):
        KIND.create(postgres_inputs(machine, seed, tmp_path, **pin), Said())
    assert places(machine) == []


@pytest.fixture(scope="module")
def restored(machine: StoreMachine) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs and outputs of a primary that was filled from the sample's newest snapshot."""
    said = Said()
    inputs = postgres_inputs(machine, SEED, PROJECT, **pinned())
    assert KIND.check(inputs) == ()
    identifier, outputs = KIND.create(inputs, said)
    assert identifier == "db1:shop"
    assert any(line.startswith("restoring 100 %: ") for line in said.lines)
    assert "passed: data checksums are on" in said.lines
    return inputs, outputs


def test_what_a_restore_tells(restored: tuple[dict[str, Any], dict[str, Any]]) -> None:
    inputs, outputs = restored
    assert outputs["snapshot"] == inputs["snapshot"]
    assert outputs["taken_at"].endswith("Z")
    assert outputs["data_age_seconds"] > 0
    assert outputs["restore_seconds"] > 0
    assert outputs["system_identifier"].isdigit()
    assert [check["name"] for check in outputs["checks"] if not check["ok"]] == []
    assert [check["name"] for check in outputs["checks"]] == [
        "server accepts connections",
        "data checksums are on",
        "table customers has rows",
        "table public.orders has rows",
        "table products has rows",
        "every table and index is readable (pg_amcheck)",
        "every page has its checksum (pg_checksums)",
        "heartbeat in heartbeat",
        "it is the backup's own cluster (system identifier)",
    ]


def test_restored_data_is_harmless(machine: StoreMachine, restored: object) -> None:
    assert machine.sql("SHOW archive_mode") == "off"
    assert machine.sql("SHOW archive_command") in ("", "(disabled)")
    assert machine.sql("SHOW restore_command") == ""
    assert machine.shell("grep", "-c", "^[^#]", "/srv/postgresql/current/postgresql.auto.conf", check=False) == "0"
    assert machine.sql("SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'") == "0", "prod has none"


def test_nothing_is_left_on_the_machine(machine: StoreMachine, restored: tuple[dict[str, Any], dict[str, Any]]) -> None:
    data_id = restored[1]["data_id"]
    assert places(machine) == [data_id]
    assert sorted(machine.shell("ls", f"/srv/postgresql/{data_id}").split()) == [
        "data",
        "key",
        "seed.json",
        "tablespaces",
    ]
    secrets = ("owner's", "SCRAM-SHA-256$4096")
    held = machine.shell("cat", f"/srv/postgresql/{data_id}/seed.json")
    assert not [secret for secret in secrets if secret in held]
    assert machine.shell("ls", "/var/lib/understudy-jobs") == ""


def test_the_owner_logs_in_with_the_stacks_password(machine: StoreMachine, restored: object) -> None:
    def login(password: str) -> int:
        words = ("chroot", str(machine.root), "env", f"PGPASSWORD={password}", "/usr/lib/postgresql/15/bin/psql")
        where = ("--host=/var/run/postgresql", "--username=shop", "--no-password", "-c", "SELECT 1", "shop")
        return subprocess.run((*words, *where), capture_output=True, check=False).returncode

    assert login("owner's: password") == 0
    assert login("another") == 2


def test_a_second_create_changes_nothing(
    machine: StoreMachine, restored: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    inputs, outputs = restored
    before = machine.shell("stat", "-c", "%i %Y", "/srv/postgresql/current/postmaster.pid")
    assert KIND.create(inputs, Said())[1] == outputs
    assert machine.shell("stat", "-c", "%i %Y", "/srv/postgresql/current/postmaster.pid") == before
    real = KIND.read("db1:shop", inputs, outputs, Said())
    assert real is not None
    assert changed(inputs, real) == {}
    assert real.outputs == outputs


def test_ports_and_passwords_change_in_place_and_the_sites_settings_are_left_to_their_service(
    machine: StoreMachine, restored: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    inputs, outputs = restored
    started = machine.sql("SELECT pg_postmaster_start_time()")
    wanted = {
        **inputs,
        "settings": {**inputs["settings"], "work_mem": "5MB"},
        "hba": [*inputs["hba"], "local all all reject"],
        "owner_password": "new",
    }
    assert KIND.update("db1:shop", inputs, wanted, outputs, Said()) == outputs
    assert machine.sql("SHOW work_mem") == "4MB"
    assert machine.sql("SHOW shared_buffers") == "16MB", "it began with that"
    assert machine.sql("SELECT pg_postmaster_start_time()") == started, "no restart where none is needed"
    KIND.update("db1:shop", wanted, {**inputs, "port": "5433"}, outputs, Said())
    assert machine.sql("SHOW port", port="5433") == "5433", "a restart where one is"
    KIND.update("db1:shop", {**inputs, "port": "5433"}, inputs, outputs, Said())
    assert machine.sql("SHOW port") == "5432"


def test_drift_is_seen_and_mended(machine: StoreMachine, restored: tuple[dict[str, Any], dict[str, Any]]) -> None:
    inputs, outputs = restored
    directory = machine.root / "etc" / "postgresql" / "15" / "main"
    with (directory / "postgresql.conf").open("a") as file:
        file.write("work_mem = 9MB\n")
    machine.sql("ALTER ROLE shop PASSWORD 'typed by hand'")
    real = KIND.read("db1:shop", inputs, outputs, Said())
    assert real is not None
    assert changed(inputs, real)["owner_password"] == "(another one)"
    machine.shell("systemctl", "stop", "postgresql@15-main.service")
    real = KIND.read("db1:shop", inputs, outputs, Said())
    assert real is not None
    assert changed(inputs, real) == {
        "configuration": "work_mem = 9MB",
        "running": False,
    }
    KIND.update("db1:shop", real.inputs, inputs, outputs, Said())
    real = KIND.read("db1:shop", inputs, outputs, Said())
    assert real is not None
    assert changed(inputs, real) == {}
    assert machine.sql("SHOW work_mem") == "4MB"


def test_another_snapshot_takes_the_place_of_the_old(
    machine: StoreMachine, restored: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    inputs, outputs = restored
    newest = int(machine.sql("SELECT count(*) FROM orders"))
    machine.sql("DELETE FROM orders")
    older = {**inputs, **pinned(0)}
    assert KIND.foresee(older, outputs) == {}
    assert KIND.foresee({**inputs, "settings": {}}, outputs) == outputs
    after = KIND.update("db1:shop", inputs, older, outputs, Said())
    assert after["snapshot"] == older["snapshot"]
    assert after["data_id"] != outputs["data_id"]
    assert 0 < int(machine.sql("SELECT count(*) FROM orders")) < newest
    assert places(machine) == [after["data_id"]]
    real = KIND.read("db1:shop", inputs, outputs, Said())
    assert real is not None
    assert changed(inputs, real) == {"snapshot": older["snapshot"]}, "another snapshot on the machine is drift"


def test_a_drill_restores_the_same_snapshot_anew(
    machine: StoreMachine, restored: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    inputs = restored[0]
    first = KIND.create(inputs, Said())[1]
    machine.sql("DELETE FROM orders")
    again = KIND.update("db1:shop", inputs, {**inputs, "drilled_at": "2026-11-23T02:30:00Z"}, first, Said())
    assert again["data_id"] != first["data_id"]
    assert int(machine.sql("SELECT count(*) FROM orders")) > 0


def test_new_data_with_which_the_server_does_not_start(
    machine: StoreMachine, restored: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    """What was checked in private could still not serve, as with a setting that the private server does not have."""
    inputs = restored[0]
    before = KIND.create(inputs, Said())[1]
    wanted = {**inputs, **pinned(0), "port": "no number"}
    with pytest.raises(UnderstudyError, match="it does not start with the new data"):
        KIND.update("db1:shop", inputs, wanted, before, Said())
    assert places(machine) == [before["data_id"]]
    KIND.update("db1:shop", wanted, inputs, before, Said())
    assert int(machine.sql("SELECT count(*) FROM orders")) > 0


def test_a_full_disk_is_seen_before_anything_is_restored(
    machine: StoreMachine, restored: tuple[dict[str, Any], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = restored[0]
    before = KIND.create(inputs, Said())[1]
    monkeypatch.setattr("provisioners.stores.seeding._SPARE_BYTES", 1 << 50)
    with pytest.raises(UnderstudyError, match=r"MiB are free; wanted \d+ MiB: the new data is restored beside the old"):
        KIND.update("db1:shop", inputs, {**inputs, "drilled_at": "full"}, before, Said())
    assert places(machine) == [before["data_id"]]


def test_data_that_is_gone_is_restored_by_the_next_up(
    machine: StoreMachine, restored: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    inputs = restored[0]
    outputs = KIND.create(inputs, Said())[1]
    machine.shell("systemctl", "stop", "postgresql@15-main.service")
    shutil.rmtree(machine.root / "srv" / "postgresql" / outputs["data_id"] / "data")
    assert KIND.read("db1:shop", inputs, outputs, Said()) is None
    KIND.create(inputs, Said())
    assert int(machine.sql("SELECT count(*) FROM orders")) > 0


@pytest.mark.parametrize("at", ["restoring 1", "checking", "reading every page", "all checks passed"])
def test_a_connection_that_drops(
    at: str, machine: StoreMachine, restored: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    """The restore goes on meanwhile on the machine, and the next call goes on with it."""
    inputs = {**restored[0], "drilled_at": f"drop at {at}"}
    dropped: list[str] = []

    def say(line: str) -> None:
        if line.startswith(at) and not dropped:
            dropped.append(line)
            machine.drop_sessions()

    outputs: dict[str, Any] = {}
    for _ in range(4):  # as the provider's server does
        try:
            outputs = KIND.create(inputs, say)[1]
            break
        except ConnectionLost:
            continue
    assert dropped
    assert places(machine) == [outputs["data_id"]]
    assert int(machine.sql("SELECT count(*) FROM orders")) > 0


def test_a_controller_that_dies(machine: StoreMachine, restored: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Whatever it had begun is found by the next one, and nothing is there twice."""
    inputs = {**restored[0], "drilled_at": "killed"}
    reached = threading.Event()

    class Killed(BaseException):
        pass

    def say(line: str) -> None:
        if line.startswith("recovering"):
            reached.set()
            raise Killed

    with pytest.raises(Killed):
        KIND.create(inputs, say)
    assert reached.is_set()
    assert len(places(machine)) == 2, "the old, which serves, and the new"
    assert int(machine.sql("SELECT count(*) FROM orders")) > 0
    other = {**restored[0], "drilled_at": "another pin meanwhile"}
    outputs = KIND.create(other, Said())[1]
    assert places(machine) == [outputs["data_id"]]
    time.sleep(0.5)
    left = machine.shell("sh", "-c", "ls -d /srv/postgresql/*/private 2>/dev/null || true")
    assert left == "", "the private server of the one that was begun is gone too"


def test_a_run_that_was_killed_and_is_not_wanted_any_more(
    machine: StoreMachine, restored: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    """The pin went back meanwhile: the data that serves is what is wanted, and the restore beside it ends."""

    class Killed(BaseException):
        pass

    def say(line: str) -> None:
        if line.startswith("restoring"):
            raise Killed

    outputs = KIND.create(restored[0], Said())[1]
    with pytest.raises(Killed):
        KIND.create({**restored[0], "drilled_at": "not wanted any more"}, say)
    assert KIND.create(restored[0], Said())[1] == outputs
    assert places(machine) == [outputs["data_id"]]
    assert machine.shell("ls", "/var/lib/understudy-jobs") == ""


def test_a_store_that_begins_empty(restored: object) -> None:
    with StoreMachine("db9") as machine:
        inputs = postgres_inputs(machine, {"kind": "init"}, PROJECT, init_sql=INIT)
        outputs = KIND.create(inputs, Said())[1]
        assert (outputs["snapshot"], outputs["taken_at"], outputs["data_age_seconds"]) == ("", "", None)
        assert machine.sql("SELECT count(*) FROM customers") == "2"
        machine.sql("INSERT INTO customers VALUES (3)")
        again = KIND.update("db9:shop", inputs, {**inputs, "init_sql": "DROP TABLE customers"}, outputs, Said())
        assert again == outputs
        assert machine.sql("SELECT count(*) FROM customers") == "3", "live data is not made anew"
        _live_data_is_kept_aside(machine, inputs, outputs)


def _live_data_is_kept_aside(machine: StoreMachine, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    wanted = {**inputs, "seed": SEED, **pinned()}
    filled = KIND.update("db9:shop", inputs, wanted, outputs, Said())
    assert set(places(machine)) == {outputs["data_id"], filled["data_id"]}, "it is nobody's copy, and stays"
    drilled = KIND.update("db9:shop", wanted, {**wanted, "drilled_at": "x"}, filled, Said())
    assert set(places(machine)) == {outputs["data_id"], drilled["data_id"]}
    shutil.rmtree(machine.root / "srv" / "postgresql" / drilled["data_id"])
    KIND.delete("db9:shop", wanted, drilled, Said())
    assert places(machine) == [outputs["data_id"]]


@pytest.mark.parametrize("form", ["custom", "plain", "directory"])
def test_a_dump_of_another_cluster(form: str, machine: StoreMachine, restored: object, tmp_path: Path) -> None:
    """The dump has roles that a new cluster does not, with names that need quoting."""
    source = KIND.create(restored[0], Said())[1] if isinstance(restored, tuple) else {}
    assert source
    # Since 15.20 PostgreSQL keeps a number at a column's options; of an older one here, pg_dump takes it for an option.
    machine.sql("UPDATE pg_attribute SET attoptions = NULL WHERE attoptions::text LIKE '{pg_attver=%'")
    machine.sql(
        """DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'clerk of "the" shop') THEN
           CREATE ROLE "clerk of ""the"" shop"; END IF; END $$;
           GRANT SELECT ON orders TO "clerk of ""the"" shop"; ALTER TABLE products OWNER TO "clerk of ""the"" shop";"""
    )
    target = machine.root / "tmp" / f"shop.{form}"
    words = ("chroot", "--userspec=postgres", str(machine.root), "/usr/lib/postgresql/15/bin/pg_dump")
    where = ("--host=/var/run/postgresql", f"--format={form}", f"--file=/tmp/shop.{form}", "shop")
    subprocess.run((*words, *where), check=True)
    (shutil.copytree if form == "directory" else shutil.copy)(target, tmp_path / f"shop.{form}")
    backup = Backup(kind="pg_dump", location=f"shop.{form}")
    repository = open_repository(backup, tmp_path)
    newest = repository.newest()
    with StoreMachine("db8") as other:
        seed = {"kind": "pg_dump", "location": f"shop.{form}"}
        pin = {"snapshot": newest.label, "snapshot_digest": repository.digest(newest.label)}
        said = Said()
        outputs = KIND.create(postgres_inputs(other, seed, tmp_path, **pin), said)[1]
        assert all(check["ok"] for check in outputs["checks"])
        assert any(line.startswith("restoring 100 %" if form == "plain" else "restoring: ") for line in said.lines)
        assert "checking: every table and index is readable (pg_amcheck)" in said.lines
        assert other.sql("SELECT count(*) FROM orders") == machine.sql("SELECT count(*) FROM orders")
        owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'products'"
        assert other.sql(owner) == 'clerk of "the" shop'


def test_names_that_are_hostile(machine: StoreMachine, restored: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """What stands in a file of the project is never a part of a statement or of a shell's line."""
    table = "x\"; DROP TABLE orders; --' $(touch /tmp/owned) `id` :name"
    inputs = {**restored[0], "drilled_at": "hostile", "expected_tables": [table]}
    with pytest.raises(UnderstudyError, match="1 of ") as caught:
        KIND.create(inputs, Said())
    assert "DROP TABLE orders; --' $(touch /tmp/owned) `id` :name\" does not exist" in str(caught.value)
    assert int(machine.sql("SELECT count(*) FROM orders")) > 0
    assert not (machine.root / "tmp" / "owned").exists()
    assert SAMPLE.exists()
