"""A stack in two clouds, or two regions of one, as a graph: one network, and each fence opens to the other alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import pytest

from model.placement import PlacedHost
from tests.components.conftest import place, site_maker
from tests.components.doubles import Graph, run
from tests.components.test_mixed import CLOUD, MACHINES, PORTS, REGIONS, SIZES

ONE, OTHER = ("app1", "db1", "lb"), ("app2", "db2")
MAY_REACH = {"10.20.0.0/24"}
PAIRS = tuple(combinations_with_replacement(REGIONS, 2))


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def stage(
    untouched: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[tuple[str, str], Graph]:
    directory = tmp_path_factory.mktemp("project")
    shutil.copytree(untouched, directory, dirs_exist_ok=True)
    one, other = request.param
    near, far = (
        PlacedHost(name=name, kind=kind, region=REGIONS[kind])
        for name, kind in zip(("near", "far"), (one, other), strict=True)
    )
    place(directory, "stage", cloud=near, size=SIZES[one], elsewhere=dict.fromkeys(OTHER, (far, SIZES[other])))
    return request.param, run(
        site_maker(directory)("stage", {"Pulumi.stage.yaml": {"config:\n": CLOUD.replace("MORE", "")}}), directory
    )


def addresses(graph: Graph, names: Iterable[str]) -> set[str]:
    """Return how machines are reached."""
    return {graph.one("FirstContact", name).inputs["connection"]["address"] for name in names}


def test_each_is_spoken_to_at_its_public_address_and_port(stage: tuple[tuple[str, str], Graph]) -> None:
    _, graph = stage
    ports = {name: graph.one("Tunnel", f"{name}:tunnel").inputs["port"] for name in (*ONE, *OTHER)}
    assert len(addresses(graph, ports)) == len(set(ports.values())) == 5
    for names, others in ((ONE, OTHER), (OTHER, ONE)):
        for name in names:
            told = graph.one("Tunnel", f"{name}:tunnel").inputs
            assert "gateway" not in told
            assert {peer["name"]: ({peer["endpoint"]}, peer["port"]) for peer in told["peers"]} == {
                other: (addresses(graph, [other]), ports[other]) for other in others
            }


def test_each_fence_opens_to_the_others_machines_alone(stage: tuple[tuple[str, str], Graph]) -> None:
    kinds, graph = stage
    for host, kind, others in (("near", kinds[0], OTHER), ("far", kinds[1], ONE)):
        theirs = {f"{address}/32" for address in addresses(graph, others)}
        assert passing(graph, kind, host, "in", "udp") == (theirs, {PORTS})
        assert passing(graph, kind, host, "out", "udp") == (theirs, {PORTS})
        for other in ("tcp", "icmp"):
            assert passing(graph, kind, host, "out", other) == (set(), set())


def test_every_machine_waits_for_its_whole_fence(stage: tuple[tuple[str, str], Graph]) -> None:
    kinds, graph = stage
    fences = ("SecurityGroupRule", "Firewall", "NetworkSecurityGroup")
    for host, kind, names in (("near", kinds[0], ONE), ("far", kinds[1], OTHER)):
        fence = {f"{sort} {name}" for sort in fences for name in graph.of(sort) if host in name.split("-")}
        assert fence
        for name in names:
            assert fence <= graph.before(graph.one(MACHINES[kind], name))


def test_all_that_machines_do_with_each_other_waits_until_they_answer_each_other(
    stage: tuple[tuple[str, str], Graph],
) -> None:
    _, graph = stage
    asked = graph.one("TunnelCheck", "tunnels").inputs["machines"]
    assert {each["connection"]["name"]: {peer["name"] for peer in each["peers"]} for each in asked} == {
        **{name: {*OTHER} for name in ONE},
        **{name: {*ONE} for name in OTHER},
    }
    for kind in ("Service", "PostgresReplica", "HttpCheck"):
        for item in graph.of(kind).values():
            assert "TunnelCheck tunnels" in graph.before(item), item.name


def test_no_two_things_in_a_project_have_one_name(stage: tuple[tuple[str, str], Graph]) -> None:
    _, graph = stage
    named = [
        (each.type, each.inputs["name"])
        for each in graph.resources
        if each.type.startswith("gcp:") and "name" in each.inputs
    ]
    assert len(named) == len(set(named))
    groups = [each.inputs["name"] for each in graph.of("ResourceGroup").values()]
    assert len(groups) == len(set(groups))


def passing(graph: Graph, kind: str, host: str, way: str, protocol: str) -> tuple[set[str], set[tuple[int, int]]]:
    """Return which networks a fence lets through, but its own, and at which ports; rules for one protocol alone."""
    found = [rule for rule in rules(graph, kind, host) if rule["way"] == way and rule["protocol"] == protocol]
    networks = {network for rule in found for network in rule["networks"]}
    return networks - MAY_REACH, {ports for rule in found for ports in rule["ports"]}


def rules(graph: Graph, kind: str, host: str) -> list[dict[str, Any]]:
    """Return what a cloud's fence lets through, in one form."""
    if kind == "aws":
        found = (
            each.inputs
            for each in graph.of("SecurityGroupRule").values()
            if each.inputs["securityGroupId"] == f"fence-{host}-id"
        )
        return [
            {
                "way": {"ingress": "in", "egress": "out"}[rule["type"]],
                "protocol": rule["protocol"],
                "networks": rule.get("cidrBlocks", []),
                "ports": [(rule["fromPort"], rule["toPort"])],
            }
            for rule in found
        ]
    if kind == "gcp":
        every = (each.inputs for name, each in graph.of("Firewall").items() if name.endswith(f"-{host}"))
        return [
            {
                "way": {"INGRESS": "in", "EGRESS": "out"}[rule["direction"]],
                "protocol": allowed["protocol"],
                "networks": rule.get("sourceRanges", rule.get("destinationRanges")),
                "ports": [between(text) for text in allowed.get("ports", [])],
            }
            for rule in every
            for allowed in rule.get("allows", [])
        ]
    inside = graph.one("NetworkSecurityGroup", f"fence-{host}").inputs["securityRules"]
    for direction in ("Inbound", "Outbound"):
        taken = [rule["priority"] for rule in inside if rule["direction"] == direction]
        assert len(taken) == len(set(taken))
    far = {"Inbound": "source", "Outbound": "destination"}
    return [
        {
            "way": {"Inbound": "in", "Outbound": "out"}[rule["direction"]],
            "protocol": rule["protocol"].lower(),
            "networks": rule.get(f"{far[rule['direction']]}AddressPrefixes")
            or [rule[f"{far[rule['direction']]}AddressPrefix"]],
            "ports": [between(text) for text in rule.get("destinationPortRanges", [])],
        }
        for rule in inside
        if rule["access"] == "Allow"
    ]


def between(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)
