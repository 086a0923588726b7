"""What a change document says of risk, hour and what users will notice where nobody has said it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from model.change import Step
from model.change.document import Part
from model.change.foreseen import FILL_IN, away, risks, when, who_else
from model.topology import Machine, Store, Topology


def machine(name: str, at: int, *services: str) -> Machine:
    """Return a machine with services."""
    return Machine(
        name=name,
        address=IPv4Address(f"10.20.0.{at}"),
        vcpus=1,
        memory_mib=512,
        system_disk_mib=8192,
        data_disk_mib=0,
        services=services,
    )


SHOP = Store(
    name="shop", engine="postgresql", version="15", database="shop", owner="shop", primary="db1", replicas=("db2",)
)
TOPOLOGY = Topology(
    network=IPv4Network("10.20.0.0/24"),
    domain="shop.example",
    machines=(machine("lb", 10, "haproxy"), machine("app1", 21, "app"), machine("app2", 22, "app"), machine("db1", 31)),
    stores=(SHOP,),
)


def part(name: str, *undo: Step, seconds: float | None = None) -> Part:
    """Return a part on the machine that its name begins with."""
    return Part(name=name, machine=name.partition(":")[0], effect="", steps=(), undo=undo, undo_seconds=seconds)


def test_who_goes_on_while_one_machine_does_not() -> None:
    assert who_else(TOPOLOGY, "lb", "haproxy") == "No other machine has haproxy."
    assert who_else(TOPOLOGY, "app1", "app") == "app2 has app too, and goes on."
    assert who_else(TOPOLOGY, "lb", "app") == who_else(TOPOLOGY, "none", "app") == ""


def test_a_machine_that_is_away() -> None:
    assert away(TOPOLOGY, "app2") == (
        "app2 is away until it has booted again.",
        "Its app: app1 has app too, and goes on.",
    )
    assert (
        "cannot be written meanwhile: db1 is its primary, and its replica db2 can only be read."
        in away(TOPOLOGY, "db1")[1]
    )
    alone = replace(TOPOLOGY, stores=(replace(SHOP, replicas=()),))
    assert "and it has no replica." in away(alone, "db1")[1]
    assert "a replica less meanwhile; its primary db1 goes on." in away(TOPOLOGY, "db2")[1]


def test_risks_are_what_is_known_and_what_a_person_has_to_add() -> None:
    by_hand = Step(name="tapes", command="Fetch them.", place="person")
    found = risks(TOPOLOGY, (part("lb:haproxy", seconds=9.6), part("db1:cron", by_hand)))
    assert found[:-1] == (
        "It touches 2 machines: lb, db1.",
        "The store shop lies on db1.",
        "The way back of lb:haproxy was rehearsed: about 10 seconds.",
        "Nobody has rehearsed yet: db1:cron.",
        "db1:cron is not taken back by commands alone.",
    )
    assert found[-1].startswith(f"{FILL_IN}: ")
    assert len(risks(TOPOLOGY, ())) == 1


def test_when_something_is_away_a_person_chooses_the_hour() -> None:
    assert when(("lb is away until it has booted again.",)).startswith(f"{FILL_IN}: ")
