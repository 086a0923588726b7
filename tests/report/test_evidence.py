"""Evidence as values: what counts as green, one line a drill, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import UnderstudyError
from model.evidence import (
    Check,
    Drill,
    Restore,
    document_from,
    document_values,
    drawn_arrows,
    drawn_machines,
    drill_from_line,
    drill_line,
    to_values,
)
from model.evidence.records import drill_from_values
from model.topology import Access, Machine, Store, Topology
from tests.report.values import CHECKS, PAGES, document, drill, restore

TEXTS = st.text(max_size=20)
SECONDS = st.none() | st.floats(min_value=0, max_value=1e9, allow_nan=False)
CHECK = st.builds(Check, name=TEXTS, ok=st.booleans(), detail=TEXTS, seconds=SECONDS, ran=st.booleans())
RESTORE = st.builds(
    Restore,
    store=TEXTS,
    engine=TEXTS,
    version=TEXTS,
    machine=TEXTS,
    snapshot=TEXTS,
    taken_at=TEXTS,
    data_age_seconds=SECONDS,
    restore_seconds=SECONDS,
    checks=st.lists(CHECK, max_size=3).map(tuple),
    system_identifier=TEXTS,
)
DRILL = st.builds(
    Drill,
    at=TEXTS,
    stack=TEXTS,
    recovery_seconds=SECONDS,
    restores=st.lists(RESTORE, max_size=2).map(tuple),
    checks=st.lists(CHECK, max_size=2).map(tuple),
    fault=TEXTS,
)


@given(DRILL)
def test_a_drill_survives_its_line(original: Drill) -> None:
    line = drill_line(original)
    assert "\n" not in line
    assert drill_from_line(line) == original
    assert json.loads(line)["ok"] is original.ok


def read(**more: Any) -> Drill:
    return drill_from_values(drill(7, **more))


def test_a_whole_drill_is_green() -> None:
    assert read().ok
    assert read().data_age_seconds == 93.0


@pytest.mark.parametrize(
    "change",
    [
        {"fault": "db1 could not be reached"},
        {"recovery_seconds": None},
        {"restores": []},
        {"restores": [restore(checks=[])]},
        {"restores": [restore(data_age_seconds=None)]},
        {"restores": [restore(restore_seconds=None)]},
        {"restores": [restore(), restore(checks=[{**CHECKS[0], "ok": False}])]},
        {"restores": [restore(checks=[{**CHECKS[0], "ran": False}])]},
        {"checks": [{**PAGES[0], "ok": False}]},
        {"checks": [PAGES[0], {**PAGES[1], "ran": False}]},
    ],
)
def test_anything_missing_or_wrong_makes_a_drill_red(change: dict[str, Any]) -> None:
    assert not read(**change).ok


def test_the_age_of_the_data_is_the_oldest_and_unknown_where_any_is() -> None:
    assert read(restores=[restore(), restore(data_age_seconds=500)]).data_age_seconds == 500
    assert read(restores=[restore(), restore(data_age_seconds=None)]).data_age_seconds is None


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("", "no JSON"),
        ("[]", "no mapping"),
        ("[" * 100_000, "no JSON"),
        (json.dumps({"ok": True, **drill(7, fault="broken")}), "ok: True"),
        (json.dumps({"ok": "yes", **drill(7)}), "ok: yes"),
        (json.dumps(drill(7)), "ok: None"),
        (json.dumps({"ok": True, **drill(7, at=7)}), "drill.at"),
        (json.dumps({"ok": True, **drill(7), "colour": 1}), "unknown: colour"),
        (json.dumps({"ok": True, **drill(7, recovery_seconds=True)}), "drill.recovery_seconds"),
        ('{"ok":false,"at":"x","stack":"s","recovery_seconds":NaN}', "drill.recovery_seconds"),
        ('{"ok":false,"stack":"s","recovery_seconds":null}', "no at"),
        (json.dumps({"ok": True, **drill(7, checks=[{"name": "x", "ok": 1}])}), "drill.checks.0.ok"),
        (json.dumps({"ok": True, **drill(7, restores=[3])}), "drill.restores.0"),
    ],
)
def test_a_line_that_is_no_drill_is_refused_with_its_place(line: str, named: str) -> None:
    with pytest.raises(UnderstudyError) as caught:
        drill_from_line(line)
    assert named in str(caught.value)


def test_numbers_may_come_as_pulumi_writes_them() -> None:
    values = document()
    values["machines"][0]["vcpus"] = 2.0
    assert document_from(values).machines[0].vcpus == 2
    values["machines"][0]["vcpus"] = 2.5
    with pytest.raises(UnderstudyError, match=r"document\.machines\.0\.vcpus"):
        document_from(values)


def test_a_document_survives_plain_values() -> None:
    read_back = document_from(document())
    assert document_from(to_values(read_back)) == read_back


def topology() -> Topology:
    def machine(name: str, last: int, *services: str, existing: Access | None = None) -> Machine:
        return Machine(
            name=name,
            address=IPv4Address(f"10.20.0.{last}"),
            vcpus=1,
            memory_mib=512,
            system_disk_mib=8192,
            data_disk_mib=0,
            services=services,
            existing=existing,
        )

    shop = Store(
        name="shop", engine="postgresql", version="15", database="shop", owner="shop", primary="db1", replicas=("db2",)
    )
    machines = (
        machine("lb", 10, "haproxy"),
        machine("app1", 21, "app"),
        machine("app2", 22, "app"),
        machine("worker", 23, "mailer"),
        machine("db1", 31, "heartbeat", "pgbackrest", existing=Access(host="db1")),
        machine("db2", 32),
    )
    return Topology(network=IPv4Network("10.20.0.0/24"), domain="shop.example", machines=machines, stores=(shop,))


def test_roles_and_spares_come_from_the_topology() -> None:
    drawn = {machine["name"]: machine for machine in drawn_machines(topology())}
    assert {name: machine["roles"] for name, machine in drawn.items()} == {
        "lb": ["load balancer"],
        "app1": ["application"],
        "app2": ["application"],
        "worker": ["mailer"],
        "db1": ["primary"],
        "db2": ["replica"],
    }
    assert [name for name, machine in drawn.items() if machine["spare"]] == ["app2"]
    assert [name for name, machine in drawn.items() if machine["existing"]] == ["db1"]


def test_arrows_go_from_the_balancer_to_the_work_to_the_store_to_its_replica() -> None:
    arrows = [(arrow["source"], arrow["target"], arrow["kind"], arrow["spare"]) for arrow in drawn_arrows(topology())]
    assert arrows == [
        ("lb", "app1", "requests", False),
        ("lb", "app2", "requests", True),
        ("lb", "worker", "requests", False),
        ("app1", "db1", "queries", False),
        ("app2", "db1", "queries", True),
        ("worker", "db1", "queries", False),
        ("db1", "db2", "replication", False),
    ]


def test_machines_that_do_several_things_have_all_their_arrows() -> None:
    whole = topology()
    services = {"db1": ("app", "pgbackrest", "mailer"), "db2": ("haproxy",)}
    both = tuple(replace(each, services=services[each.name]) for each in whole.machines if each.name in services)
    arrows = drawn_arrows(replace(whole, machines=both))
    assert [(each["source"], each["target"], each["kind"]) for each in arrows] == [
        ("db2", "db1", "requests"),
        ("db1", "db2", "replication"),
    ]


def test_what_is_known_of_a_machine_is_added_to_what_the_topology_tells() -> None:
    values = document_values(topology(), stack="stage", machines={"lb": {"host": "desk", "started": "warm"}})
    machine = document_from(values).machines[0]
    assert (machine.host, machine.started, machine.address) == ("desk", "warm", "10.20.0.10")
