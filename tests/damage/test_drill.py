"""A drill pins the newest snapshot as it lies there, after the damage: that too is red in every way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.drill import newest_pin
from model.errors import UnderstudyError
from model.evidence import Drill, Restore
from model.placement import PinnedSeed
from model.snapshot import BadBackup, Flaw
from model.topology import Backup, Store
from provisioners.shell import close_all
from tests.damage.test_damage import KIND, SEED
from tests.damage.ways import WAYS, Way
from tests.stores.machines import SAMPLE, Said, StoreMachine, postgres_inputs

STORE = Store(
    name="shop",
    engine="postgresql",
    version="15",
    database="shop",
    owner="shop",
    primary="db1",
    backup=Backup(kind="pgbackrest", location="repository", stanza="shop"),
)
BEGAN = datetime(2026, 11, 25, 2, 30, tzinfo=UTC)
CHANGED = next(way for way in WAYS if "checksum and all" in way.name)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(SAMPLE, tmp_path / "repository")
    return tmp_path


@pytest.fixture(scope="module")
def serving() -> Iterator[tuple[StoreMachine, dict[str, Any]]]:
    """A machine that serves the sample's newest snapshot, as a drill has filled it the night before."""
    with StoreMachine("db1") as machine:
        inputs = postgres_inputs(machine, {**SEED, "location": SAMPLE.name}, SAMPLE.parent)
        store = replace(STORE, backup=Backup(kind="pgbackrest", location=SAMPLE.name, stanza="shop"))
        inputs |= asked(newest_pin(SAMPLE.parent, store, BEGAN.replace(day=24), (), ()))
        KIND.create(inputs, Said())
        yield machine, inputs
    close_all()


def asked(pin: PinnedSeed) -> dict[str, str]:
    """Return what a resource is given of a pin."""
    drilled_at = f"{pin.drilled_at:%Y-%m-%dT%H:%M:%SZ}"
    return {"snapshot": pin.snapshot, "snapshot_digest": pin.repository_digest, "drilled_at": drilled_at}


def drill(inputs: dict[str, Any], project: Path, way: Way) -> None:
    """Damage the repository, pin what lies there now as a drill does, and restore it."""
    before = newest_pin(project, STORE, BEGAN, (), ())
    way.damage(project / "repository", before.snapshot)
    pin = newest_pin(project, STORE, BEGAN, (before,), ())
    KIND.update("db1:shop", inputs, wanted(inputs, project, pin), {}, Said())


def wanted(inputs: dict[str, Any], project: Path, pin: PinnedSeed) -> dict[str, Any]:
    return {**inputs, **asked(pin), "seed": SEED, "project_directory": str(project)}


def drilled_before(pin: PinnedSeed) -> Drill:
    """Return a drill of the night before that restored what a pin names."""
    restore = Restore(
        store="shop",
        engine="postgresql",
        version="15",
        machine="db1",
        snapshot=pin.snapshot,
        taken_at=f"{pin.taken_at:%Y-%m-%dT%H:%M:%SZ}",
        snapshot_digest=pin.repository_digest,
    )
    return Drill(at="2026-11-24T02:30:00Z", stack="stage", restores=(restore,))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_drill_of_a_damaged_repository_is_red(
    way: Way, serving: tuple[StoreMachine, dict[str, Any]], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, inputs = serving
    attempts, newest = project / "attempts", newest_pin(project, STORE, BEGAN, (), ()).snapshot
    attempts.touch()
    monkeypatch.setenv("UNDERSTUDY_ATTEMPTS", str(attempts))
    before = machine.shell("readlink", "/srv/postgresql/current"), machine.sql("SELECT count(*) FROM orders")
    with pytest.raises(UnderstudyError) as caught:
        drill(inputs, project, way)
    for words in way.names:
        assert words.replace("that was pinned", "that was pinned or drilled before") in str(caught.value)
    tried = [json.loads(line)["snapshot"] for line in attempts.read_text().splitlines()]
    assert tried == ([newest] if way.flaw is None else []), (
        "what only the restore could find is a restore that was tried"
    )
    assert (machine.shell("readlink", "/srv/postgresql/current"), machine.sql("SELECT count(*) FROM orders")) == before


def test_a_drill_remembers_what_it_drilled(project: Path) -> None:
    """Also where the lock file has another snapshot by now."""
    before = newest_pin(project, STORE, BEGAN, (), ())
    assert newest_pin(project, STORE, BEGAN, (), (drilled_before(before),)) == before
    CHANGED.damage(project / "repository", before.snapshot)
    with pytest.raises(BadBackup, match="not the one that was pinned or drilled before") as caught:
        newest_pin(project, STORE, BEGAN, (), (drilled_before(before),))
    assert caught.value.flaw is Flaw.DAMAGED


def test_a_change_that_a_person_has_pinned_again_is_meant(project: Path) -> None:
    before = newest_pin(project, STORE, BEGAN, (), ())
    CHANGED.damage(project / "repository", before.snapshot)
    again = newest_pin(project, STORE, BEGAN, (), ())
    assert again.repository_digest != before.repository_digest
    assert newest_pin(project, STORE, BEGAN, (again,), (drilled_before(before),)) == again


def test_what_was_changed_before_anybody_looked_passes_as_far_as_its_data_is_good(
    serving: tuple[StoreMachine, dict[str, Any]], project: Path
) -> None:
    """Out of reach, and said so: who can write the repository can write all of its checksums."""
    _, inputs = serving
    label = newest_pin(project, STORE, BEGAN, (), ()).snapshot
    CHANGED.damage(project / "repository", label)
    first = newest_pin(project, STORE, BEGAN, (), ())
    outputs = KIND.update("db1:shop", inputs, wanted(inputs, project, first), {}, Said())
    assert all(check["ok"] for check in outputs["checks"])
