"""A stack on this computer and in a cloud as a graph: one network, in which the rented machines never speak first."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from model.placement import PlacedHost
from tests.components.conftest import MakeSite, place, site_maker
from tests.components.doubles import Graph, run

HERE, THERE = ("lb", "db1"), ("app1", "app2", "db2")
PORTS = (33216, 33279)
CLOUD = (
    "config:\n  understudy:cloud: {ssh_from: [203.0.113.7/32], project: shop-dr, "
    "subscription: 00000000-0000-4000-8000-000000000000MORE}\n"
)
REGIONS = {"aws": "eu-central-1", "gcp": "europe-west3", "azure": "germanywestcentral"}
MACHINES = {"aws": "Instance", "gcp": "Instance", "azure": "LinuxVirtualMachine"}
SIZES = {"aws": "t3.small", "gcp": "e2-small", "azure": "Standard_B2s"}


def mixed(make_site: MakeSite, directory: Path, kind: str, more: str = "") -> Graph:
    rented = PlacedHost(name="rented", kind=kind, region=REGIONS[kind])
    place(directory, "stage", cloud=rented, size=SIZES[kind], here=HERE)
    return run(make_site("stage", {"Pulumi.stage.yaml": {"config:\n": CLOUD.replace("MORE", more)}}), directory)


@pytest.fixture(scope="module", params=REGIONS)
def stage(
    untouched: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[str, Graph]:
    directory = tmp_path_factory.mktemp("project")
    shutil.copytree(untouched, directory, dirs_exist_ok=True)
    return request.param, mixed(site_maker(directory), directory, request.param)


def test_each_machine_is_where_it_was_placed(stage: tuple[str, Graph]) -> None:
    kind, graph = stage
    assert set(graph.of("Domain")) == set(graph.of("Boot")) == set(HERE)
    assert set(graph.of(MACHINES[kind])) == set(graph.of("FirstContact")) == set(THERE)


def test_the_fence_here_knows_the_rented_machines_by_their_public_addresses(stage: tuple[str, Graph]) -> None:
    _, graph = stage
    fence = graph.one("Fence", "fence")
    contacts = {name: graph.one("FirstContact", name).inputs["connection"]["address"] for name in THERE}
    assert [each["address"] for each in fence.inputs["ways"]["far"]] == [contacts[name] for name in sorted(THERE)]
    assert fence.inputs["ways"]["address"] == "10.1.1.1"
    assert {each["port"] for each in fence.inputs["ways"]["own"]} <= {*range(PORTS[0], PORTS[1] + 1)}


def test_a_rented_machine_waits_at_its_own_port_for_those_that_speak_first(stage: tuple[str, Graph]) -> None:
    _, graph = stage
    ways = graph.one("Fence", "fence").inputs["ways"]["far"]
    told = {name: graph.one("Tunnel", f"{name}:tunnel").inputs for name in (*HERE, *THERE)}
    assert [told[name]["port"] for name in sorted(THERE)] == [each["port"] for each in ways]
    for name in THERE:
        assert "gateway" not in told[name]
        assert {peer["name"] for peer in told[name]["peers"]} == set(HERE)
    for name in HERE:
        assert "port" not in told[name]
        assert told[name]["gateway"].endswith(".1")
        assert {peer["name"] for peer in told[name]["peers"]} == set(THERE)


def test_tunnels_come_in_from_where_the_computers_are_and_nothing_more_goes_out(stage: tuple[str, Graph]) -> None:
    kind, graph = stage
    rule = tunnels_in(kind, graph)
    assert rule == {"from": ["203.0.113.7/32"], "protocol": "udp", "ports": PORTS}
    before = graph.before(graph.one(MACHINES[kind], "db2"))
    assert {"aws": "SecurityGroupRule tunnels-rented-203.0.113.7-32", "gcp": "Firewall tunnels-rented"}.get(
        kind, "NetworkSecurityGroup fence-rented"
    ) in before


def test_the_computers_may_be_elsewhere(make_site: MakeSite, project: Path, stage: tuple[str, Graph]) -> None:
    kind, _ = stage
    graph = mixed(make_site, project, kind, ", tunnels_from: [198.51.100.0/24]")
    assert tunnels_in(kind, graph)["from"] == ["198.51.100.0/24"]


def test_the_addresses_that_fences_name_outlive_a_stop_of_the_machine(stage: tuple[str, Graph]) -> None:
    kind, graph = stage
    if kind == "aws":
        assert set(graph.of("Eip")) == set(graph.of("EipAssociation")) == set(THERE)
        for name in THERE:
            assert f"EipAssociation {name}" in graph.before(graph.one("FirstContact", name))
    elif kind == "gcp":
        assert set(graph.of("Address")) == set(THERE)
    else:
        assert {each.inputs["allocationMethod"] for each in graph.of("PublicIp").values()} == {"Static"}


def test_an_address_that_was_there_before_stays(stage: tuple[str, Graph]) -> None:
    """It belonged to its machine's component; Google's has another name now, and so is another one."""
    _, graph = stage
    machine = next(item.urn for item in graph.resources if item.type.endswith(":Machine") and item.name == "db2")
    for each in (*graph.of("Eip").values(), *graph.of("PublicIp").values()):
        (was,) = each.aliases
        assert was.startswith("urn:pulumi:stage::understudy::")
        assert was.split("::", 2)[2] == machine.replace("::db2", f"${each.type}::{each.name}").split("::", 2)[2]


def test_what_goes_through_a_tunnel_fits_into_every_clouds_packets(stage: tuple[str, Graph]) -> None:
    _, graph = stage
    assert {each.inputs["mtu"] for each in graph.of("Tunnel").values()} == {1280}


def test_all_that_machines_do_with_each_other_waits_until_they_answer_each_other(stage: tuple[str, Graph]) -> None:
    _, graph = stage
    (asked,) = [graph.one("TunnelCheck", "tunnels").inputs["machines"]]
    assert [{peer["name"] for peer in each["peers"]} for each in asked] == [{*THERE}] * len(HERE)
    for kind in ("Service", "PostgresReplica", "HttpCheck"):
        for item in graph.of(kind).values():
            assert "TunnelCheck tunnels" in graph.before(item), item.name
    peers = [each["peers"] for each in graph.one("TunnelCheck", "tunnels").inputs["machines"]]
    assert all(" and " in peer["way"] and "None" not in peer["way"] for each in peers for peer in each)


def tunnels_in(kind: str, graph: Graph) -> dict[str, Any]:
    """Return the rule of a cloud's fence that lets tunnels in."""
    if kind == "aws":
        (rule,) = (each.inputs for name, each in graph.of("SecurityGroupRule").items() if name.startswith("tunnels-"))
        assert (rule["type"], rule["securityGroupId"]) == ("ingress", "fence-rented-id")
        between = (rule["fromPort"], rule["toPort"])
        return {"from": rule["cidrBlocks"], "protocol": rule["protocol"], "ports": between}
    if kind == "gcp":
        rule = graph.one("Firewall", "tunnels-rented").inputs
        ((allowed,), direction) = rule["allows"], rule["direction"]
        assert direction == "INGRESS"
        ports = tuple(map(int, allowed["ports"][0].split("-")))
        return {"from": rule["sourceRanges"], "protocol": allowed["protocol"], "ports": ports}
    rules = graph.one("NetworkSecurityGroup", "fence-rented").inputs["securityRules"]
    (rule,) = (each for each in rules if each["name"] == "tunnels")
    assert (rule["direction"], rule["access"]) == ("Inbound", "Allow")
    taken = [each["priority"] for each in rules if each["direction"] == "Inbound"]
    assert len(taken) == len(set(taken))
    ports = tuple(map(int, rule["destinationPortRanges"][0].split("-")))
    return {"from": rule["sourceAddressPrefixes"], "protocol": rule["protocol"].lower(), "ports": ports}
