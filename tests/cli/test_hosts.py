"""Another host is made ready for machines, or the error says what to type; what a killed run left there is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from cli import hosts
from cli.hosts import make_ready, others, swept
from model.errors import UnderstudyError
from model.host_uri import LOCAL, host_uri
from model.placement import Accelerator, PlacedHost, PlacedMachine, Placement
from model.topology import Access
from provisioners import this_computer
from provisioners.shell import close_all
from tests.doubles.sshd import Machine

TCG = Accelerator(kind="tcg", reason="tests")


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    with Machine("rack1") as machine:
        machine.known_to_user(tmp_path / "home")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setattr(hosts, "copy_image", lambda *_: None)
        yield machine
    close_all()


def placement(rack: Machine, network: str = "198.19.251.0/24") -> Placement:
    host = PlacedHost(name="rack1", access=Access(host="127.0.0.1", port=rack.port), accelerator=TCG)
    return Placement(
        control_network=IPv4Network(network), accelerator=TCG, image="0123456789ab", machines=(), hosts=(host,)
    )


def ready(rack: Machine, **more: Any) -> None:
    make_ready("stage", placement(rack, **more), Path("/nowhere"), lambda _: None)


def test_a_host_that_lacks_something_gets_the_line_to_type(rack: Machine) -> None:
    for name in ("nft", "virt-ssh-helper"):
        rack.inside("bash", "-c", 'rm -f $(type -aP "$0")', name)
    line = rf"Type: ssh -t -p {rack.port} root@127.0.0.1 apt-get install --yes libvirt-daemon nftables"
    with pytest.raises(UnderstudyError, match=rf"host rack1: it has no virt-ssh-helper, nft; .*{line}"):
        ready(rack)


def test_a_host_whose_libvirt_does_not_run(rack: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    rack.program("virsh", "exit 1")
    with pytest.raises(UnderstudyError, match=r"Try: ssh -t -p \d+ root@127.0.0.1 systemctl enable --now libvirtd"):
        ready(rack)


def test_a_host_that_has_the_control_network_already(rack: Machine) -> None:
    rack.program("virsh", "echo 9.0.0")
    card, known = next((card, each) for card, each in this_computer.networks() if card != "lo")
    with pytest.raises(UnderstudyError, match=rf"control_network: {known}, but host rack1 has {known} on {card}"):
        ready(rack, network=str(known))
    ready(rack)


def test_each_host_is_swept_of_what_the_state_does_not_have_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that moved is known on one of two, and left over on the other. Hosts that the state alone has count."""
    made = (PlacedHost(name=name, access=Access(host=f"{name}.example"), accelerator=TCG) for name in ("rack1", "old"))
    rack, old = map(host_uri, made)
    provider = {"type": "pulumi:providers:libvirt", "urn": "urn::rack", "id": "1", "inputs": {"uri": rack}}
    domain = {"type": "libvirt:index/domain:Domain", "provider": "urn::rack::1", "outputs": {"name": "stage-db1"}}
    fence = {"type": "understudy:index:Fence", "inputs": {"host": "old", "host_uri": old}}
    asked: dict[str, list[Any]] = {}

    class Door:
        def __init__(self, uri: str) -> None:
            self.uri = uri

        def call(self, name: str, *arguments: Any, say: Callable[[str], None]) -> list[str]:
            asked[self.uri] = json.loads(json.dumps((name, *arguments)))
            return ["machine stage-db2"]

    monkeypatch.setattr(hosts, "door", Door)
    state = {"deployment": {"resources": [provider, domain, fence]}}
    found = swept("stage", "mark", state, None, print, act=True)
    assert found == ["machine stage-db2", "machine stage-db2 on old", "machine stage-db2 on rack1"]
    none: dict[str, Any] = {"domains": [], "networks": [], "pools": [], "volumes": [], "fenced": False}
    assert asked == {
        LOCAL: ["sweep", "stage", "mark", none, True],
        old: ["sweep", "stage", "mark", {**none, "fenced": True}, True],
        rack: ["sweep", "stage", "mark", {**none, "domains": ["stage-db1"]}, True],
    }


def test_clouds_are_no_hosts_to_make_ready() -> None:
    rented = PlacedHost(name="rented", kind="aws", region="eu-central-1")
    only = Placement(
        control_network=IPv4Network("198.19.251.0/24"), accelerator=TCG, image="", machines=(), hosts=(rented,)
    )
    assert others(only) == others(None) == ()


def test_where_all_is_rented_this_computers_libvirt_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(uri: str) -> None:
        raise AssertionError(f"{uri} was asked")

    monkeypatch.setattr(hosts, "door", refused)
    rented = PlacedHost(name="rented", kind="aws", region="eu-central-1")
    only = Placement(
        control_network=IPv4Network("198.18.7.0/24"),
        accelerator=TCG,
        image="",
        machines=(PlacedMachine(name="db1", host="rented", control_address=IPv4Address("198.18.7.10")),),
        hosts=(rented,),
    )
    assert swept("dr", "mark", {"deployment": {}}, only, print, act=True) == []
    fence = {"type": "understudy:index:Fence", "inputs": {}}
    with pytest.raises(AssertionError, match="qemu:///system was asked"):
        swept("dr", "mark", {"deployment": {"resources": [fence]}}, only, print, act=True)
