"""A stack on another computer as a graph: all is made there, nothing here, and its machines are reached through it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from model.errors import UnderstudyError
from model.placement import Accelerator, PlacedHost
from model.topology import Access
from tests.components.conftest import MakeSite, place, site_maker
from tests.components.doubles import Graph, run

FIVE = {"lb", "app1", "app2", "db1", "db2"}
KEY = "ssh-ed25519 AAAArack"
RACK = PlacedHost(
    name="rack1",
    access=Access(host="10.1.1.2", port=2222, user="admin", sudo=True, jump="gate"),
    host_key=KEY,
    accelerator=Accelerator(kind="kvm", reason="it works there"),
)
URI = "qemu+ssh://admin@10.1.1.2:2222/system?as=rack1&key=ssh-ed25519+AAAArack&jump=gate&sudo=yes"


@pytest.fixture(scope="module")
def stage(untouched: Path) -> Graph:
    place(untouched, "stage", cloud=RACK, size="")
    return run(site_maker(untouched)("stage"), untouched)


def test_every_act_on_a_host_is_one_on_that_host(stage: Graph) -> None:
    assert set(stage.of("Domain")) == set(stage.of("Boot")) == FIVE
    for kind in ("Boot", "Fence", "Template", "WarmStart"):
        for name, item in stage.of(kind).items():
            assert (item.inputs["host"], item.inputs["host_uri"]) == ("rack1", URI), name
    assert {item.inputs["uri"] for item in stage.of("libvirt").values()} == {URI}


def test_its_names_are_not_those_of_this_computer(stage: Graph) -> None:
    """The same stack may have been here: what it had here goes, and is not taken for what it has there."""
    for kind in ("Fence", "Pool", "Network", "Template", "libvirt"):
        for name, item in stage.of(kind).items():
            assert name.endswith("-rack1"), item.type
    for domain in stage.of("Domain").values():
        assert {"Fence fence-rack1", "Network mirror-rack1", "Network control-rack1"} <= stage.before(domain)


def test_a_machine_is_reached_through_its_host_whose_key_is_known(stage: Graph) -> None:
    for name, boot in stage.of("Boot").items():
        connection = boot.inputs["connection"]
        assert (connection["jump"], connection["jump_key"]) == ("gate,admin@10.1.1.2:2222", KEY)
        assert connection["domain"] == f"{URI}#stage-{name}"
    assert {service.inputs["connection"]["jump"] for service in stage.of("Service").values()} == {
        "gate,admin@10.1.1.2:2222"
    }


def test_processors_are_run_as_that_host_can(stage: Graph) -> None:
    assert {template.inputs["accelerator"] for template in stage.of("Template").values()} == {"kvm"}
    assert {domain.inputs["type"] for domain in stage.of("Domain").values()} == {"kvm"}


def test_what_is_on_this_computer_has_no_word_of_hosts(make_site: MakeSite, project: Path) -> None:
    """A stack that was made before there were other hosts finds nothing to do."""
    here = run(make_site("stage"), project)
    for kind in ("Boot", "Fence", "Template", "WarmStart"):
        for item in here.of(kind).values():
            assert "host" not in item.inputs
            assert item.inputs.get("host_uri") == ("qemu:///system" if kind == "Boot" else None)
    assert all("jump_key" not in boot.inputs["connection"] for boot in here.of("Boot").values())


NEAR = replace(RACK, address=IPv4Address("10.1.1.2"))


@pytest.fixture(scope="module")
def spread(untouched: Path) -> Graph:
    place(untouched, "stage", cloud=NEAR, size="", here=("lb", "db1"))
    return run(site_maker(untouched)("stage"), untouched)


def test_each_computer_has_what_its_machines_stand_on(spread: Graph) -> None:
    assert set(spread.of("Fence")) == {"fence", "fence-rack1"}
    hosts = {name: boot.inputs.get("host", "here") for name, boot in spread.of("Boot").items()}
    assert hosts == {"lb": "here", "db1": "here", "app1": "rack1", "app2": "rack1", "db2": "rack1"}


def test_each_fence_lets_through_what_leads_to_the_other_computer(spread: Graph) -> None:
    here, there = (spread.one("Fence", name).inputs["ways"] for name in ("fence", "fence-rack1"))
    assert (here["address"], there["address"]) == ("10.1.1.1", "10.1.1.2")
    assert [{**each, "address": "10.1.1.2"} for each in there["own"]] == here["far"]
    assert [{**each, "address": "10.1.1.1"} for each in here["own"]] == there["far"]


def test_each_machine_has_a_tunnel_to_those_on_the_other_computer_and_no_others(spread: Graph) -> None:
    tunnels = spread.of("Tunnel")
    peers = {name: {peer["name"] for peer in tunnel.inputs["peers"]} for name, tunnel in tunnels.items()}
    there = {"app1", "app2", "db2"}
    assert peers == {f"{name}:tunnel": {"lb", "db1"} if name in there else there for name in FIVE}
    for name, tunnel in tunnels.items():
        assert not {"port", "mtu"} & set(tunnel.inputs), "else all would be begun anew by an update"
        assert "tunnel_key" in tunnel.secret
        assert tunnel.deleted_with.endswith(f"::{name.partition(':')[0]}")


def test_all_that_machines_do_with_each_other_waits_until_they_answer_each_other(spread: Graph) -> None:
    for kind in ("Service", "PostgresReplica", "HttpCheck"):
        for item in spread.of(kind).values():
            assert "TunnelCheck tunnels" in spread.before(item), item.name
    assert {f"Tunnel {name}:tunnel" for name in FIVE} <= spread.before(spread.one("TunnelCheck", "tunnels"))


def test_on_one_computer_there_is_no_word_of_tunnels(stage: Graph) -> None:
    assert not [item for item in stage.resources if "unnel" in item.type or "Wireguard" in item.type]
    assert all("ways" not in fence.inputs for fence in stage.of("Fence").values())


def test_a_computer_whose_address_nobody_told_is_refused(make_site: MakeSite, project: Path) -> None:
    place(project, "stage", cloud=replace(RACK, address=None), size="", here=("lb", "db1"))
    with pytest.raises(
        UnderstudyError, match=r"Capacity\.yaml: hosts\.rack1\.address: nothing; wanted the IPv4 address"
    ):
        make_site("stage")
