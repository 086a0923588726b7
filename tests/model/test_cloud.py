"""What a stack says of clouds, and what of a plan of addresses they cannot hold."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from model.cloud import CloudSettings, read_cloud, refuse_plan
from model.errors import UnderstudyError
from model.readers import Place
from tests.model.test_prices import machine


def read(value: Any) -> tuple[CloudSettings, list[str]]:
    place = Place("Pulumi.dr.yaml", ("cloud",), [])
    return read_cloud(place, value), [fault.key for fault in place.faults]


def test_all_of_it() -> None:
    found, faults = read({"ssh_from": ["203.0.113.7/32", "198.51.100.9"], "cost_centre": "4711", "project": "shop-dr"})
    assert faults == []
    assert found.ssh_from == (IPv4Network("203.0.113.7/32"), IPv4Network("198.51.100.9/32"))
    assert (found.cost_centre, found.project) == ("4711", "shop-dr")


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({}, "cloud.ssh_from"),
        ({"ssh_from": ["0.0.0.0/0"]}, "cloud.ssh_from.0"),
        ({"ssh_from": ["office"]}, "cloud.ssh_from.0"),
        ({"ssh_from": ["203.0.113.7/24"]}, "cloud.ssh_from.0"),
        ({"ssh_from": [], "cost_centre": "Über"}, "cloud.cost_centre"),
        ({"ssh_from": [], "project": "x"}, "cloud.project"),
        ({"ssh_from": [], "subscription": "Shop"}, "cloud.subscription"),
        ({"ssh_from": [], "region": "eu"}, "cloud.region"),
        ({"ssh_from": [], "tunnels_from": ["0.0.0.0/0"]}, "cloud.tunnels_from.0"),
        ({"ssh_from": [], "open": {"lb": 80}}, "cloud.open.lb"),
        ({"ssh_from": [], "open": {"lb": [0]}}, "cloud.open.lb.0"),
        ({"ssh_from": [], "open": {"lb": [22, 80]}}, "cloud.open.lb"),
    ],
)
def test_faults(value: object, key: str) -> None:
    assert read(value)[1] == [key]


@pytest.mark.parametrize(
    ("kind", "network", "address", "told"),
    [
        ("aws", "10.0.0.0/12", "10.0.0.10", "/16 to /28"),
        ("aws", "10.0.0.0/29", "10.0.0.5", "/16 to /28"),
        ("aws", "10.20.0.0/24", "10.20.0.3", "10.20.0.4 to 10.20.0.254"),
        ("gcp", "10.20.0.0/24", "10.20.0.254", "10.20.0.2 to 10.20.0.253"),
        ("azure", "10.20.0.0/24", "10.20.0.1", "10.20.0.4 to 10.20.0.254"),
    ],
)
def test_what_a_cloud_keeps(kind: str, network: str, address: str, told: str) -> None:
    asked = replace(machine(), address=IPv4Address(address))
    with pytest.raises(UnderstudyError) as caught:
        refuse_plan(kind, IPv4Network(network), (asked,), "Pulumi.prod.yaml")
    assert told in str(caught.value)


@pytest.mark.parametrize(("kind", "address"), [("aws", "10.20.0.4"), ("aws", "10.20.0.254"), ("gcp", "10.20.0.2")])
def test_what_it_holds(kind: str, address: str) -> None:
    asked = replace(machine(), address=IPv4Address(address))
    refuse_plan(kind, IPv4Network("10.20.0.0/24"), (asked,), "Pulumi.prod.yaml")
