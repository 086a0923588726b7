"""A damaged backup is red in every way, says what is wrong, and leaves the data that serves alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.errors import UnderstudyError
from model.snapshot import BadBackup
from model.topology import Backup
from provisioners.shell import close_all
from provisioners.stores import postgresql
from provisioners.stores.kind import SeededStore
from provisioners.stores.repository import open_repository
from tests.damage.ways import WAYS, Way, rewritten
from tests.stores.machines import SAMPLE, Said, StoreMachine, postgres_inputs

KIND = SeededStore(postgresql)
SEED = {"kind": "pgbackrest", "location": "repository", "stanza": "shop"}


def pin(project: Path, label: str = "") -> dict[str, str]:
    repository = open_repository(Backup(kind="pgbackrest", location="repository", stanza="shop"), project)
    snapshot = repository.inspect(label) if label else repository.newest()
    return {"snapshot": snapshot.label, "snapshot_digest": repository.digest(snapshot.label)}


@pytest.fixture(scope="module")
def serving() -> Iterator[tuple[StoreMachine, dict[str, Any]]]:
    """A machine that serves the sample's first snapshot."""
    with StoreMachine("db1") as machine:
        label = min(path.name for path in (SAMPLE / "backup" / "shop").iterdir() if path.is_dir())
        project = SAMPLE.parent
        inputs = postgres_inputs(machine, {**SEED, "location": "pgbackrest"}, project)
        repository = open_repository(Backup(kind="pgbackrest", location="pgbackrest", stanza="shop"), project)
        inputs |= {"snapshot": label, "snapshot_digest": repository.digest(label)}
        KIND.create(inputs, Said())
        yield machine, inputs
    close_all()


def attempt(machine: StoreMachine, inputs: dict[str, Any], project: Path, pinned: dict[str, str]) -> UnderstudyError:
    """Try to restore from a damaged repository; what served before must still."""
    before = machine.shell("readlink", "/srv/postgresql/current"), machine.sql("SELECT count(*) FROM orders")
    wanted = {**inputs, **pinned, "seed": SEED, "project_directory": str(project)}
    with pytest.raises(UnderstudyError) as caught:
        KIND.update("db1:shop", inputs, wanted, {}, Said())
    assert (machine.shell("readlink", "/srv/postgresql/current"), machine.sql("SELECT count(*) FROM orders")) == before
    places = machine.shell("ls", "/srv/postgresql").split()
    assert sorted(places) == sorted((before[0].split("/")[0], "current")), "a place was left behind"
    return caught.value


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_damaged_repository_is_red(way: Way, serving: tuple[StoreMachine, dict[str, Any]], tmp_path: Path) -> None:
    machine, inputs = serving
    shutil.copytree(SAMPLE, tmp_path / "repository")
    pinned = pin(tmp_path)
    way.damage(tmp_path / "repository", pinned["snapshot"])
    error = attempt(machine, inputs, tmp_path, pinned)
    for words in way.names:
        assert words in str(error), str(error)
    assert getattr(error, "flaw", None) is way.flaw, str(error)
    if way.flaw is None:
        assert "The old data still serves." in str(error)


def test_another_cluster_than_the_one_that_serves(serving: tuple[StoreMachine, dict[str, Any]], tmp_path: Path) -> None:
    machine, inputs = serving
    repository = tmp_path / "repository"
    shutil.copytree(SAMPLE, repository)
    pinned = pin(tmp_path)
    info = repository / "backup" / "shop" / "backup.info"
    identifier = info.read_text().partition("db-system-id=")[2].partition("\n")[0]
    for path in (info, repository / "archive" / "shop" / "archive.info"):
        rewritten(path, identifier, "7000000000000000001")
    rewritten(info.parent / pinned["snapshot"] / "backup.manifest", identifier, "7000000000000000001")
    error = attempt(machine, inputs, tmp_path, pin(tmp_path))
    assert isinstance(error, BadBackup)
    assert "it is of the cluster with the system identifier 7000000000000000001" in str(error)


def test_a_repository_that_is_not_there(serving: tuple[StoreMachine, dict[str, Any]], tmp_path: Path) -> None:
    machine, inputs = serving
    error = attempt(machine, inputs, tmp_path, {"snapshot": "x", "snapshot_digest": "0" * 64})
    assert "the backup is not there: there is no such file or directory" in str(error)


def test_a_snapshot_that_has_expired(serving: tuple[StoreMachine, dict[str, Any]], tmp_path: Path) -> None:
    machine, inputs = serving
    shutil.copytree(SAMPLE, tmp_path / "repository")
    error = attempt(machine, inputs, tmp_path, {"snapshot": "20200101-000000F", "snapshot_digest": "0" * 64})
    assert "20200101-000000F is not in it any more; the newest are: " in str(error)
