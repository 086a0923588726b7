"""Stores that are filled from dumps and plain files, on a machine with its real systemd, before and after a reboot."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from bench.site import Site
from model import names
from provisioners.hypervisor.virsh import Virsh
from provisioners.shell import close_all, connect
from provisioners.stores import mariadb
from provisioners.stores.kind import SeededStore
from provisioners.stores.sample import Here, short_lived_server
from tests.stores.machines import PROJECT, Said, StoreMachine, mariadb_inputs
from tests.vm import drill_timer
from tests.vm.adopting import running

pytestmark = pytest.mark.vm

NEWS = """
CREATE TABLE heartbeat (beat_at datetime(6) PRIMARY KEY);
INSERT INTO heartbeat VALUES (UTC_TIMESTAMP(6));
CREATE TABLE orders (id integer PRIMARY KEY, note text);
INSERT INTO orders SELECT seq, REPEAT('x', 99) FROM seq_1_to_2000;
CREATE EVENT ended ON SCHEDULE EVERY 1 SECOND DO DELETE FROM orders;
"""
LEDGER = """
CREATE TABLE heartbeat (beat_at timestamptz PRIMARY KEY);
INSERT INTO heartbeat VALUES (now());
CREATE TABLE entries AS SELECT n AS id, md5(n::text) AS text FROM generate_series(1, 3000) AS n;
"""
LOOK = """
cd /
mariadb --batch --skip-column-names news -e 'SELECT COUNT(*), SUM(LENGTH(note)) FROM orders'
runuser -u postgres -- psql -XAtc 'SELECT count(*), count(DISTINCT text) FROM entries' ledger
cd /srv/files/papers && find . -type f -printf '%P %m %u\\n' | sort && sha256sum large | cut -c 1-64
systemctl is-active mariadb.service postgresql@15-main.service
systemctl is-enabled mariadb.service postgresql@15-main.service
systemctl show --property=FragmentPath,DropInPaths,NRestarts mariadb.service
"""


def dumps(folder: Path) -> None:
    """Take a dump of a real server of each engine, as a prod's nightly jobs do."""
    with StoreMachine("prod1") as machine:
        inputs = mariadb_inputs(machine, {"kind": "init"}, PROJECT, init_sql=NEWS, expected_tables=[])
        SeededStore(mariadb).create(inputs, Said())
        machine.mariadb("SET GLOBAL event_scheduler = OFF")
        words = ("--no-defaults", "--socket=/run/mysqld/mysqld.sock", "--single-transaction", "--events", "shop")
        (folder / "news.sql.gz").write_bytes(gzip.compress(machine.shell("mysqldump", *words).encode() + b"\n"))
    close_all()
    place = Path(tempfile.mkdtemp(prefix="us-"))
    shutil.chown(place, "postgres", "postgres")
    try:
        with short_lived_server(Here(), PurePosixPath(place), "15", "ledger", "clerk", "ledger") as server:
            Here().run(server.psql(), LEDGER.encode())
            where = (f"--host={server.socket}", "--dbname=ledger", "--format=custom")
            (folder / "ledger.dump").write_bytes(Here().run((server.program("pg_dump"), *where)))
    finally:
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    folder = site.directory / "backups"
    (folder / "papers").mkdir(parents=True)
    dumps(folder)
    (folder / "papers" / "large").write_bytes(b"papers\n" * 100_000)
    (folder / "papers" / "plan of 2026").write_text("a plan")
    (folder / "papers" / "plan of 2026").chmod(0o640)
    database = {"primary": "db1", "owner": "clerk"}
    stores = {
        "news": {
            **database,
            "engine": "mariadb",
            "version": "10.11",
            "database": "news",
            "expected_tables": ["orders"],
            "heartbeat": {"table": "heartbeat", "column": "beat_at"},
            "backup": {"kind": "mysqldump", "path": "backups/news.sql.gz"},
        },
        "ledger": {
            **database,
            "engine": "postgresql",
            "version": 15,
            "database": "ledger",
            "expected_tables": ["entries"],
            "heartbeat": {"table": "heartbeat", "column": "beat_at"},
            "backup": {"kind": "pg_dump", "path": "backups/ledger.dump"},
        },
        "papers": {
            "engine": "files",
            "database": "papers",
            "owner": "www-data",
            "primary": "db1",
            "backup": {"kind": "files", "path": "backups/papers"},
        },
    }
    machines = {"db1": site.configuration(site.prod)["machines"]["db1"]}
    site.configure(site.prod, machines=machines, services={}, stores=stores, pages={})
    yield site
    site.end(site.stage)


@pytest.fixture(scope="module")
def stage(site: Site) -> dict[str, Any]:
    site.pulumi("up", site.stage)
    return site.outputs(site.stage)


def looked(site: Site) -> list[str]:
    """Return what lies and runs on the machine."""
    return site.ssh(site.stage, "db1", "bash", "-c", LOOK).splitlines()


def test_each_store_says_what_it_holds(site: Site, stage: dict[str, Any]) -> None:
    seeds, checks = stage["seeds"], stage["checks"]
    assert set(seeds) == {"news", "ledger", "papers"}
    assert {name: seeds[name]["snapshot"] for name in ("news", "ledger")} == {
        "news": "news.sql.gz",
        "ledger": "ledger.dump",
    }
    assert all(0 < seeds[name]["data_age_seconds"] < 900 for name in ("news", "ledger"))
    told = {(store, name): said for store in seeds for name, said in checks[store].items()}
    assert {key: said for key, said in told.items() if not said.startswith("ok")} == {}
    assert {
        ("news", "every table and index is readable (CHECK TABLE)"),
        ("news", "table orders has rows"),
        ("ledger", "table entries has rows"),
        ("papers", "every file is as in the backup (SHA-256)"),
    } <= set(told)
    assert Path(stage["report"]).is_file()


def test_a_second_up_would_change_nothing(site: Site, stage: dict[str, Any]) -> None:
    site.pulumi("preview", site.stage, "--expect-no-changes", "--refresh")


def test_all_of_it_serves_before_and_after_a_reboot(site: Site, stage: dict[str, Any]) -> None:
    before = looked(site)
    assert before[:4] == ["2000\t198000", "3000|3000", "large 644 www-data", "plan of 2026 640 www-data"]
    assert before[5:9] == ["active", "active", "enabled", "enabled"]
    assert "DropInPaths=/etc/systemd/system/mariadb.service.d/understudy.conf" in before
    assert "NRestarts=0" in before
    asked = ("cat", "/proc/sys/kernel/random/boot_id")
    boot = site.ssh(site.stage, "db1", *asked).splitlines()[-1]
    Virsh().run("reboot", names.domain(site.stage, "db1"))
    deadline = time.monotonic() + 180
    while boot in (said := site.ssh(site.stage, "db1", *asked, code=None)) or len(said.strip()) != len(boot):
        assert time.monotonic() < deadline, said
    site.ssh(site.stage, "db1", "systemctl", "is-system-running", "--wait", code=None)
    assert looked(site) == before
    site.pulumi("preview", site.stage, "--expect-no-changes", "--refresh")


def test_systemd_takes_the_timer_of_a_drill_and_starts_it(site: Site, stage: dict[str, Any]) -> None:
    """On this machine, since systemd need not run where the tests do."""
    ways = running(site, site.stage)
    with connect(ways.connections[0], ways.private_key, print) as shell:
        drill_timer.prepare(shell)
        drill_timer.do(shell, "install")
        wait = 'until [ -e "$1" ]; do sleep 0.2; done'
        shell.run(("sh", "-c", wait, "sh", drill_timer.NOTED), timeout_seconds=120)
        verified = shell.run(("systemd-analyze", "verify", *drill_timer.UNITS), check=False)
        assert "understudy" not in verified.stderr.decode()
        states = shell.run(("systemctl", "is-enabled", drill_timer.UNITS[1])).text
        drill_timer.do(shell, "remove")
        noted = shell.get(drill_timer.NOTED).decode().splitlines()
        left = shell.run(("systemctl", "list-unit-files", "--no-legend", "understudy-drill-*"), check=False).text
    project = drill_timer.PROJECT
    assert noted == [project, f"{project}/run understudy drill -s stage", "file:///srv/my state"]
    assert (states, left) == ("enabled", "")
