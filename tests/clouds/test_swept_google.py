"""What a killed run left at Google is swept: what has the stack's name and was being made, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import pytest

from cli.rented import swept_clouds
from model.errors import UnderstudyError
from model.rented import mark
from model.state import rented
from provisioners.clouds import google_account
from provisioners.clouds.google_account import Account
from provisioners.clouds.google_sweep import sweep
from tests.clouds.compute import Compute, done, serve_compute

STACK = "understudy/dr/a2ad7316"
OWNER, OTHER = mark(STACK), "understudy-dr-00000000"
ZONE, REGION = "zones/europe-west3-a", "regions/europe-west3"
KNOWN = (f"db1/{OWNER}-db1-data", "db1", "db1-address", "db1-data", "fence-ssh", "subnet", "network")
ALL = [
    *("machine db1", "address db1-address", "disk db1-data"),
    *("rule fence-ssh", "subnet subnet", "network network"),
]


@pytest.fixture
def compute(monkeypatch: pytest.MonkeyPatch) -> Iterator[Compute]:
    monkeypatch.setattr(google_account, "_LOOK_SECONDS", 0)
    with serve_compute() as found:
        make(found, OWNER)
        make(found, OTHER)
        found.status = "RUNNING"
        yield found


def make(compute: Compute, owner: str) -> None:
    """Make one of everything, as Google tells of it."""

    def put(place: str, kind: str, what: str, **told: Any) -> None:
        compute.kept[f"{place}/{kind}/{owner}-{what}"] = {"name": f"{owner}-{what}", **told}

    disks = f"http://compute/v1/projects/shop/{ZONE}/disks/{owner}-db1"
    plugs = [
        {"boot": True, "autoDelete": True, "deviceName": "persistent-disk-0", "source": disks},
        {"boot": False, "deviceName": "data", "source": f"{disks}-data"},
    ]
    put("global", "networks", "network")
    put(REGION, "subnetworks", "subnet")
    put(REGION, "addresses", "db1-address")
    put("global", "firewalls", "fence-ssh")
    put(ZONE, "instances", "db1", disks=plugs)
    put(ZONE, "disks", "db1")
    put(ZONE, "disks", "db1-data")


def account_of(compute: Compute) -> Account:
    return Account(project="shop", token="a-token", address=compute.address.rstrip("/"))


def swept(compute: Compute, *known: str, begun: Collection[str] = (), act: bool = True) -> list[str]:
    state = replace(
        rented({}, "gcp"),
        names=frozenset(f"{OWNER}-{name}" for name in known if "/" not in name),
        identifiers=frozenset(f"projects/shop/{ZONE}/instances/{OWNER}-{name}" for name in known if "/" in name),
        begun=frozenset(f"{OWNER}-{name}" for name in begun),
    )
    found = sweep(account_of(compute), OWNER, state, print, act=act)
    return [line.replace(f"{OWNER}-", "").removesuffix(" in Google shop") for line in found]


def names(compute: Compute, owner: str) -> Collection[str]:
    return {each["name"].removeprefix(f"{owner}-") for each in compute.kept.values() if owner in each["name"]}


def test_what_no_state_knows_goes_in_the_order_in_which_google_lets_it_go(compute: Compute) -> None:
    others = names(compute, OTHER)
    assert swept(compute, begun=KNOWN) == ALL
    assert [path.rpartition("/")[2].removeprefix(f"{OWNER}-") for path, _ in compute.acts if "detach" not in path] == [
        line.partition(" ")[2] for line in ALL
    ]
    assert names(compute, OWNER) == set()
    assert names(compute, OTHER) == others


def test_what_another_computers_state_may_have_stays(compute: Compute, capsys: pytest.CaptureFixture[str]) -> None:
    before = dict(compute.kept)
    assert swept(compute) == []
    assert (compute.kept, compute.acts) == (before, [])
    told = capsys.readouterr().out.splitlines()
    assert len(told) == len(ALL)
    assert "it stays. If no other computer has it in a state either" in told[0]


def test_where_it_may_only_be_named_all_stays(compute: Compute) -> None:
    before = dict(compute.kept)
    assert swept(compute, act=False) == ALL
    assert (compute.kept, compute.acts) == (before, [])


def test_what_the_state_knows_stays_with_its_system_disk(compute: Compute) -> None:
    before = dict(compute.kept)
    assert swept(compute, *KNOWN) == []
    assert (compute.kept, compute.acts) == (before, [])


def test_a_disk_that_a_known_machine_has_is_unplugged_first(compute: Compute) -> None:
    assert swept(compute, "db1", "db1-address", "fence-ssh", "subnet", "network", begun=["db1-data"]) == [
        "disk db1-data"
    ]
    machine, disk = f"{ZONE}/instances/{OWNER}-db1", f"{ZONE}/disks/{OWNER}-db1-data"
    assert [path for path, _ in compute.acts] == [f"{machine}/detachDisk", disk]


def test_a_plug_that_the_state_does_not_know_is_pulled(compute: Compute) -> None:
    before = dict(compute.kept)
    assert swept(compute, *KNOWN[1:]) == []
    assert swept(compute, *KNOWN[1:], begun=["db1", "db1-data"]) == ["plug on db1 of db1-data"]
    assert compute.acts == [(f"{ZONE}/instances/{OWNER}-db1/detachDisk", {})]
    assert compute.kept == before


def test_what_google_does_not_do_is_told_in_its_words(compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(project: str, within: str) -> tuple[int, dict[str, Any]]:
        code, told = done(project, within, "delete")
        return code, {**told, "error": {"errors": [{"code": "RESOURCE_IN_USE", "message": "somebody has it"}]}}

    monkeypatch.setattr(compute, "removed", refused)
    with pytest.raises(UnderstudyError, match="RESOURCE_IN_USE: somebody has it"):
        swept(compute, begun=KNOWN)


def test_what_is_still_in_the_making_is_waited_for(compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    removed, refusals = compute.removed, [True, True]

    def not_yet(project: str, within: str) -> tuple[int, dict[str, Any]]:
        if refusals and refusals.pop():
            errors = [{"reason": "resourceNotReady", "message": f"{within} is not ready"}]
            return 400, {"error": {"code": 400, "message": "not ready", "errors": errors}}
        return removed(project, within)

    monkeypatch.setattr(compute, "removed", not_yet)
    assert swept(compute, begun=KNOWN) == ALL


def test_an_act_without_an_end_is_given_up(compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_account, "_ACT_SECONDS", 0.1)
    monkeypatch.setattr(compute, "waited", lambda project, thing: done(project, thing, "delete", "RUNNING"))
    with pytest.raises(UnderstudyError, match="takes too long"):
        swept(compute, begun=KNOWN)


def test_the_projects_of_the_state_are_looked_at(compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"type": "gcp:compute/instance:Instance", "id": "x", "inputs": {"name": f"{OWNER}-db1"}}
    provider = {"type": "pulumi:providers:gcp", "id": "p", "inputs": {"project": "shop", "region": "europe-west3"}}
    state = {"deployment": {"resources": [known, provider]}}
    monkeypatch.setattr(google_account, "log_in", lambda *_: account_of(compute))
    found = swept_clouds(STACK, state, None, print, act=False)
    assert [line.split()[0] for line in found] == ["address", "disk", "rule", "subnet", "network"]
    making = {"type": "gcp:compute/disk:Disk", "inputs": {"name": f"{OWNER}-db1-data"}}
    state["deployment"]["pending_operations"] = [{"type": "creating", "resource": making}]
    (line,) = swept_clouds(STACK, state, None, print, act=True)
    assert line.startswith("disk ")
    said: list[str] = []
    monkeypatch.setattr(google_account, "log_in", lambda *_: None)
    assert swept_clouds(STACK, state, None, said.append, act=True) == []
    assert said == ["Google shop: its plugin alone can use these credentials; left-overs are not looked for"]
