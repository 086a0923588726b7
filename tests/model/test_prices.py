"""Prices: tables with their sources, the cheapest type that fits, a month's cost, and the budget."""

from __future__ import annotations

import random
from datetime import date
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from components.price_tables import estimates, read_price_table, refuse_expensive, rentable
from components.strict_yaml import parse
from model.capacity import CLOUDS, InstanceType
from model.environment import Environment
from model.errors import ConfigurationError, UnderstudyError
from model.placement import Accelerator, PlacedHost, PlacedMachine, Placement
from model.prices import cheapest, read_prices
from model.topology import Machine, Topology

ROOT = Path(__file__).parents[2]
RENTED = PlacedHost(name="rented", kind="aws", region="eu-central-1")


def machine(name: str = "db1", vcpus: int = 2, memory_mib: int = 1024, data_disk_mib: int = 2048) -> Machine:
    return Machine(
        name=name,
        address=IPv4Address("10.20.0.31"),
        vcpus=vcpus,
        memory_mib=memory_mib,
        system_disk_mib=8192,
        data_disk_mib=data_disk_mib,
    )


def placed(instance_type: str = "t3.micro", host: PlacedHost = RENTED) -> tuple[Environment, Placement]:
    topology = Topology(network=IPv4Network("10.20.0.0/24"), domain="shop.example", machines=(machine(),))
    place = PlacedMachine(
        name="db1", host=host.name, control_address=IPv4Address("198.18.7.10"), instance_type=instance_type
    )
    placement = Placement(
        control_network=IPv4Network("198.18.7.0/24"),
        accelerator=Accelerator(kind="tcg", reason="tests"),
        image="",
        machines=(place,),
        hosts=(host,),
    )
    return Environment(stack="dr", topology=topology), placement


@pytest.mark.parametrize("kind", sorted(CLOUDS))
def test_each_table_names_its_sources_and_larger_is_never_cheaper(kind: str) -> None:
    table = read_price_table(ROOT, kind)
    assert len(table.regions) >= 5
    for name, region in table.regions.items():
        assert region.source.startswith("github.com/"), name
        assert region.date == "" or date.fromisoformat(region.date) > date(2026, 1, 1)
        types = table.types(name)
        assert types, name
        for one in types:
            doubled = [each for each in types if each.vcpus >= 2 * one.vcpus and each.memory_mib >= 2 * one.memory_mib]
            assert all(each.price_per_month > one.price_per_month for each in doubled), one.name


def test_the_cheapest_that_fits_among_many() -> None:
    chance = random.Random(5)
    for _ in range(300):
        types = [
            InstanceType(
                name=f"t{at}",
                vcpus=chance.choice((1, 2, 4, 8)),
                memory_mib=chance.choice((512, 2048, 8192)),
                architecture=chance.choice(("x86_64", "aarch64")),
                price_per_month=chance.randint(1, 30),
            )
            for at in range(8)
        ]
        asked = machine(vcpus=chance.choice((1, 3, 8)), memory_mib=chance.choice((256, 2048, 9000)))
        found = cheapest(types, asked)
        fitting = [
            each
            for each in types
            if each.architecture == "x86_64" and each.vcpus >= asked.vcpus and each.memory_mib >= asked.memory_mib
        ]
        assert (found in fitting) if fitting else found is None
        assert all(found is not None and found.price_per_month <= each.price_per_month for each in fitting)


def test_a_month_of_one_machine() -> None:
    environment, placement = placed()
    line = estimates(ROOT, environment, placement)["rented"]
    total = (0.012 + 0.005) * 730 + (10 + 2) * 0.0952
    assert line.startswith(f"about {total:.2f} USD a month for 1 machine that always runs; ")


def test_what_the_source_does_not_tell_is_said() -> None:
    host = PlacedHost(name="rented", kind="gcp", region="europe-west3")
    environment, placement = placed("e2-small", host)
    line = estimates(ROOT, environment, placement)["rented"]
    assert line.startswith(f"about {0.021584 * 730:.2f} USD")
    assert "without disks and addresses; by prices of 2026-08-03" in line


def test_a_budget_is_kept() -> None:
    environment, placement = placed("t3.large")
    refuse_expensive(ROOT, environment, placement, RENTED, 75.0)
    with pytest.raises(UnderstudyError, match=r"about 74\.87 a month; most of it for db1 \(t3\.large\)") as caught:
        refuse_expensive(ROOT, environment, placement, RENTED, 74.0)
    assert "at most 74.00, the budget of rented in Capacity.yaml" in str(caught.value)


def test_an_unknown_region_and_an_unknown_type_say_what_to_type() -> None:
    with pytest.raises(UnderstudyError, match=r"eu-middle-1: no prices for it.*one of ca-central-1, eu-central-1"):
        rentable(ROOT, "aws", "eu-middle-1")
    environment, placement = placed("x9.huge")
    with pytest.raises(UnderstudyError, match=r"db1: x9\.huge: no price for it.*prices --refresh aws eu-central-1"):
        estimates(ROOT, environment, placement)


TABLE = """
currency: USD
sizes: {t: {vcpus: 1, memory: 1GiB, architecture: x86_64}}
regions: {r: {source: s, date: "2026-07-20", hour: {t: 0.1}}}
"""


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("USD", "dollars", "currency"),
        ("1GiB", "1024", "sizes.t.memory"),
        ("x86_64", "i386", "sizes.t.architecture"),
        ("2026-07-20", "July", "regions.r.date"),
        ("{t: 0.1}", "{t: 0}", "regions.r.hour.t"),
        ("{t: 0.1}", "{t: free}", "regions.r.hour.t"),
        ("{t: 0.1}", "{u: 0.1}", "regions.r.hour.u"),
        ("source: s, ", "", "regions.r.source"),
        ("hour: {t: 0.1}", "hour: {t: 0.1}, disk: 1", "regions.r.disk"),
    ],
)
def test_faults_of_a_table_are_named(old: str, new: str, key: str) -> None:
    values: Any = parse("prices/x.yaml", TABLE)[0]
    assert read_prices("prices/x.yaml", values).types("r")[0].price_per_month == pytest.approx(73)
    assert old in TABLE
    with pytest.raises(ConfigurationError) as caught:
        read_prices("prices/x.yaml", parse("prices/x.yaml", TABLE.replace(old, new))[0])
    assert [fault.key for fault in caught.value.faults] == [key]
