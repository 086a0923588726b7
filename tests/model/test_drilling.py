"""What a drill reads out of Pulumi's output and state."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from model.drilling import attempted, environment_checks, fault_in, held_pin, holds, restore_of
from model.errors import UnderstudyError
from model.placement import PinnedSeed
from model.topology import Store

STORE = Store(name="shop", engine="postgresql", version="15", database="shop", owner="shop", primary="db1", backup=None)
PIN = PinnedSeed(
    store="shop",
    snapshot="20261124-032202F",
    taken_at=datetime(2026, 11, 24, 3, 22, 10, tzinfo=UTC),
    repository_digest="ab" * 32,
    drilled_at=datetime(2026, 11, 25, 2, 30, tzinfo=UTC),
)

# As Pulumi 3.259 prints it.
TWO_ERRORS = """\
@ updating....
 ~  understudy:index:PostgresPrimary shop updating (41s) restoring 66 %
 ~  understudy:index:PostgresPrimary shop **updating failed** error: db1: the backup 20261124-032202F cannot be restored
    pulumi:pulumi:Stack understudy-stage running error: update failed
    pulumi:pulumi:Stack understudy-stage **failed** 1 error
Diagnostics:
  pulumi:pulumi:Stack (understudy-stage):
    error: update failed

  understudy:index:PostgresPrimary (shop):
    error: db1: the backup 20261124-032202F cannot be restored (restore)
      damaged in the repository: pg_data/base/5/1259

  understudy:index:HttpCheck (front):
    error: lb: http://localhost/: 503, wanted 200

Outputs:
    accelerator: "tcg: a test"

Resources:
    60 unchanged

Duration: 48s
"""
RESTORE = "db1: the backup 20261124-032202F cannot be restored (restore) damaged in the repository: pg_data/base/5/1259"
REFUSED = """\
Understudy: the stage.
Pulumi.prod.yaml: machines.db1.memmory: found an unknown key; allowed: memory
"""
NO_STATE = "error: could not create stack: failed to load checkpoint: unexpected end of JSON input\n"


@pytest.mark.parametrize(
    ("printed", "fault"),
    [
        (
            TWO_ERRORS,
            f"{RESTORE}; lb: http://localhost/: 503, wanted 200",
        ),
        (
            REFUSED,
            "Understudy: the stage. Pulumi.prod.yaml: machines.db1.memmory: found an unknown key; allowed: memory",
        ),
        (NO_STATE, "could not create stack: failed to load checkpoint: unexpected end of JSON input"),
        ("error: a\nerror: a\nerror: update failed\n", "a"),
        ("", ""),
    ],
)
def test_the_fault_is_what_pulumi_says_went_wrong(printed: str, fault: str) -> None:
    assert fault_in(printed) == fault


def test_a_fault_is_never_longer_than_a_page() -> None:
    assert len(fault_in("error: " + "x" * 10_000)) == 4000


def state(**inputs: Any) -> dict[str, Any]:
    given = {
        "store": "shop",
        "snapshot": PIN.snapshot,
        "snapshot_digest": PIN.repository_digest,
        "drilled_at": "2026-11-25T02:30:00Z",
        **inputs,
    }
    outputs = {"taken_at": "2026-11-24T03:22:10Z", "data_age_seconds": 9, "restore_seconds": 2.5, **given}
    holder = {"type": "understudy:index:PostgresPrimary", "inputs": given, "outputs": outputs}
    other = {"type": "understudy:index:Password", "inputs": {"store": "shop"}}
    return {"version": 3, "deployment": {"resources": [other, holder]}}


@pytest.mark.parametrize(
    ("inputs", "held"),
    [
        ({}, True),
        ({"snapshot": "20261123-032202F"}, False),
        ({"snapshot_digest": "cd" * 32}, False),
        ({"drilled_at": "2026-11-24T02:30:00Z"}, False),
        ({"drilled_at": None}, False),
        ({"store": "other"}, False),
    ],
)
def test_the_state_holds_a_pin_only_where_all_of_it_is_the_same(inputs: dict[str, Any], held: bool) -> None:
    assert holds(state(**inputs), PIN) is held


@pytest.mark.parametrize("deployment", [{}, {"deployment": None}, {"deployment": {"resources": None}}])
def test_a_state_without_anything_holds_nothing(deployment: dict[str, Any]) -> None:
    assert not holds(deployment, PIN)
    assert restore_of(deployment, STORE) is None
    assert held_pin(deployment, "shop") is None
    assert environment_checks(deployment) == ()


def test_what_a_store_holds_is_read_back_as_the_pin_that_filled_it() -> None:
    assert held_pin(state(), "shop") == PIN
    assert held_pin(state(drilled_at=""), "shop") == replace(PIN, drilled_at=None)
    assert held_pin(state(), "other") is None
    assert held_pin(state(snapshot=""), "shop") is None


def test_a_restore_is_read_out_of_the_state() -> None:
    restore = restore_of(state(), STORE)
    assert restore is not None
    assert (restore.snapshot, restore.snapshot_digest) == (PIN.snapshot, PIN.repository_digest)
    assert (restore.data_age_seconds, restore.restore_seconds, restore.machine) == (9.0, 2.5, "db1")
    assert not restore.green, "it has no checks"
    assert restore_of(state(snapshot=""), STORE) is None


def test_a_refused_restore_keeps_its_checks_and_has_no_end() -> None:
    checks = [{"name": "accepts connections", "ok": False, "detail": "refused", "seconds": 1.0, "ran": True}]
    restore = attempted(STORE, {"snapshot": PIN.snapshot, "checks": checks, "key": "more than a record has"})
    assert (restore.snapshot, restore.restore_seconds, restore.data_age_seconds) == (PIN.snapshot, None, None)
    assert [check.green for check in restore.checks] == [False]
    with pytest.raises(UnderstudyError, match="store shop"):
        attempted(STORE, {"snapshot": 5})


def test_the_checks_of_pages_and_replicas_are_the_environment_s() -> None:
    page = {
        "type": "understudy:index:HttpCheck",
        "urn": "urn:pulumi:stage::understudy::understudy:index:HttpCheck::front",
        "outputs": {"detail": "503", "seconds": 2},
    }
    replica = {
        "type": "understudy:index:PostgresReplica",
        "urn": "urn:pulumi:stage::understudy::understudy:index:PostgresReplica::shop-db2",
        "outputs": {"connection": {"name": "db2"}, "checks": [{"name": "it follows", "ok": True, "ran": False}]},
    }
    found = environment_checks({"deployment": {"resources": [page, replica]}})
    assert [(check.name, check.green) for check in found] == [("front", False), ("db2: it follows", False)]
