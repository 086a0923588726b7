"""A stack on another computer as a graph: all is made there, nothing here, and its machines are reached through it."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.placement import Accelerator, PlacedHost
from model.topology import Access
from tests.components.conftest import MakeSite, place
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


@pytest.fixture
def stage(make_site: MakeSite, project: Path) -> Graph:
    place(project, "stage", cloud=RACK, size="")
    return run(make_site("stage"), project)


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
