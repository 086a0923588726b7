"""The disk of a store's machine is full: the error says so, the old data serves, and with room the next run works."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.errors import UnderstudyError
from provisioners.shell import close_all
from provisioners.stores import mariadb, postgresql
from provisioners.stores.kind import SeededStore
from tests.model.test_dumps import MARIADB
from tests.stores import test_mariadb
from tests.stores.machines import PROJECT, Said, StoreMachine, mariadb_inputs, postgres_inputs
from tests.stores.test_postgresql import SEED, pinned

KIND = SeededStore(postgresql)
BALLAST = "srv/ballast"


@pytest.fixture(scope="module")
def machine() -> Iterator[StoreMachine]:
    with StoreMachine("db1") as running:
        inside = ("nsenter", f"--target={running._server()}", "--mount", "--root")
        subprocess.run((*inside, "mount", "-t", "tmpfs", "-o", "size=500m", "tmpfs", "/srv"), check=True)
        # On a fast computer it would be done before the disk is full.
        running.program("pgbackrest", 'case "$*" in *\\ restore) sleep 2 ;; esac; exec /usr/bin/pgbackrest "$@"')
        yield running
    close_all()


@pytest.fixture(scope="module")
def serving(machine: StoreMachine) -> tuple[dict[str, Any], dict[str, Any]]:
    inputs = postgres_inputs(machine, SEED, PROJECT, **pinned(0))
    return inputs, KIND.create(inputs, Said())[1]


def fill(machine: StoreMachine, left_mib: int) -> None:
    """Let somebody else fill the disk, but for so much; all of it, where something else is being written meanwhile."""
    size = shutil.disk_usage(machine.root / "srv").free - (left_mib << 20)
    if machine.shell("sh", "-c", f"fallocate -l {size} /{BALLAST} 2>&1", check=False):
        machine.shell("dd", "if=/dev/zero", f"of=/{BALLAST}", "bs=1M", check=False)


@pytest.mark.parametrize(
    ("at", "left_mib", "where"),
    [
        ("looking at the backup", 0, "understudy-store_begin"),
        ("sending the backup", 1, "tar --extract"),
        ("restoring", 8, "it cannot be restored ("),
    ],
)
def test_it_becomes_full(
    at: str, left_mib: int, where: str, machine: StoreMachine, serving: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    inputs, outputs = serving
    before = machine.shell("ls", "/srv/postgresql")
    rows = machine.sql("SELECT count(*) FROM orders")

    def say(line: str) -> None:
        if line.startswith(at) and not (machine.root / BALLAST).exists():
            fill(machine, left_mib)

    wanted = {**inputs, **pinned()}
    try:
        with pytest.raises(UnderstudyError) as caught:
            KIND.update("db1:shop", inputs, wanted, outputs, say)
    finally:
        (machine.root / BALLAST).unlink(missing_ok=True)
    assert where in str(caught.value)
    assert "No space left on device" in str(caught.value)
    assert machine.shell("ls", "/srv/postgresql") == before, "a part of the new data was left"
    assert machine.sql("SELECT count(*) FROM orders") == rows


def test_with_room_the_next_run_works(machine: StoreMachine, serving: tuple[dict[str, Any], dict[str, Any]]) -> None:
    inputs, outputs = serving
    rows = int(machine.sql("SELECT count(*) FROM orders"))
    after = KIND.update("db1:shop", inputs, {**inputs, **pinned()}, outputs, Said())
    assert after["snapshot"] != outputs["snapshot"]
    assert int(machine.sql("SELECT count(*) FROM orders")) > rows


def test_mariadb_does_not_wait_for_room(machine: StoreMachine, tmp_path: Path) -> None:
    """It would for ever, where a table is Aria's or MyISAM's; InnoDB's own words are of a full table."""
    rows = "INSERT INTO big SELECT seq, REPEAT('x', 1000) FROM seq_1_to_60000;"
    sql = f"CREATE TABLE big (id integer, line text) ENGINE=Aria; {rows}\n-- Dump completed\n"
    (tmp_path / "shop.sql").write_bytes(MARIADB + sql.encode())
    inputs = {**mariadb_inputs(machine, {}, tmp_path), **test_mariadb.pinned(tmp_path, "shop.sql")}

    def say(line: str) -> None:
        if line == "restoring":
            fill(machine, 8)

    try:
        with pytest.raises(UnderstudyError) as caught:
            SeededStore(mariadb).create(inputs, say)
    finally:
        (machine.root / BALLAST).unlink(missing_ok=True)
    assert "Disk is full writing './shop/big.MAD'" in str(caught.value)
    assert "the disk of /srv/mariadb is full" in str(caught.value)
    assert machine.shell("ls", "/srv/mariadb") == ""
