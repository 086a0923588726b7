"""Which machine speaks with which others through a tunnel, and what the fences of their hosts let through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import UnderstudyError
from model.placement import Accelerator, PlacedHost, PlacedMachine, Placement
from model.placing import CONTROL_NETWORKS
from model.topology import Access, Machine, Topology
from model.tunnels import (
    INNER_PORT,
    MOST_MACHINES,
    netdev_text,
    outer_port,
    pairs,
    ports_in_cloud,
    refuse_unfit,
    routes_text,
    speaks_first,
    tunnels,
    ways,
    ways_as_values,
    ways_between,
    ways_of,
)

TCG = Accelerator(kind="tcg", reason="tests")
NETWORK, CONTROL = IPv4Network("10.20.0.0/24"), IPv4Network("198.18.7.0/24")
KEYS = {name: f"{name * 43}=" for name in "abcd"}


def host(name: str, last: int = 0) -> PlacedHost:
    address = IPv4Address(f"192.0.2.{last}") if last else None
    return PlacedHost(name=name, access=Access(host=f"{name}.example"), accelerator=TCG, address=address)


def placement(on: Sequence[str], *hosts: PlacedHost, address: str = "192.0.2.1") -> Placement:
    """Place machines a, b, … on hosts of these names."""
    return Placement(
        control_network=CONTROL,
        accelerator=TCG,
        image="",
        machines=tuple(
            PlacedMachine(name=chr(ord("a") + at), host=where, control_address=CONTROL[10 + at])
            for at, where in enumerate(on)
        ),
        hosts=hosts,
        address=IPv4Address(address) if address else None,
    )


def topology(count: int) -> Topology:
    one = Machine(name="a", address=NETWORK[11], vcpus=1, memory_mib=512, system_disk_mib=2048, data_disk_mib=0)
    machines = (replace(one, name=chr(ord("a") + at), address=NETWORK[11 + at]) for at in range(count))
    return Topology(network=NETWORK, domain="shop.example", machines=tuple(machines))


CLOUD = PlacedHost(name="rented", kind="aws", region="eu-central-1")
GOOGLE = PlacedHost(name="google", kind="gcp", region="europe-west3")
CLOUDS = {CLOUD.name, GOOGLE.name}
SPREAD = placement(["here", "here", "rack", "desk"], host("desk", 3), host("rack", 2))


def test_the_files_of_a_machine() -> None:
    _, _, c, _ = tunnels(topology(4), SPREAD)
    assert (
        netdev_text(c, KEYS)
        == f"""\
[NetDev]
Name=us-tunnel
Kind=wireguard

[WireGuard]
PrivateKeyFile=/etc/systemd/network/us-tunnel.key
ListenPort=51820

[WireGuardPeer]
PublicKey={KEYS["a"]}
AllowedIPs=10.20.0.11/32
Endpoint=198.18.7.1:33216
PersistentKeepalive=25

[WireGuardPeer]
PublicKey={KEYS["b"]}
AllowedIPs=10.20.0.12/32
Endpoint=198.18.7.1:33217
PersistentKeepalive=25

[WireGuardPeer]
PublicKey={KEYS["d"]}
AllowedIPs=10.20.0.14/32
Endpoint=198.18.7.1:33219
PersistentKeepalive=25
"""
    )
    assert routes_text(c) == (
        "link set dev us-tunnel up\n"
        "route replace 10.20.0.11/32 dev us-tunnel src 10.20.0.13\n"
        "route replace 10.20.0.12/32 dev us-tunnel src 10.20.0.13\n"
        "route replace 10.20.0.14/32 dev us-tunnel src 10.20.0.13\n"
    )


@pytest.mark.parametrize("key", ["", "short", "A" * 44, f"{'A' * 42}\n=", f"{'A' * 43}=\nAllowedIPs=0.0.0.0/0"])
def test_what_is_no_key_comes_into_no_file(key: str) -> None:
    _, _, c, _ = tunnels(topology(4), SPREAD)
    with pytest.raises(ValueError, match="no key of WireGuard"):
        netdev_text(c, {**KEYS, "b": key})


def test_the_fence_of_a_host() -> None:
    found = ways(SPREAD, "here", {})
    assert found is not None
    assert ways_as_values(found) == {
        "address": "192.0.2.1",
        "own": [{"address": "198.18.7.10", "port": 33216}, {"address": "198.18.7.11", "port": 33217}],
        "far": [{"address": "192.0.2.2", "port": 33218}, {"address": "192.0.2.3", "port": 33219}],
    }
    assert ways_of(ways_as_values(found)) == found
    assert ways_between(SPREAD, "a", "c", {}) == (
        "UDP between 192.0.2.1 (here) port 33216 and 192.0.2.2 (rack) port 33218, both ways"
    )


@pytest.mark.parametrize("wrong", [None, [], {}, {"address": "x", "own": [], "far": []}, {"own": [{"port": 1}]}])
def test_what_is_no_way_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ways_of(wrong)


@pytest.mark.parametrize("port", [0, 65536, "22", True])
def test_what_is_no_port_is_refused(port: object) -> None:
    entry = [{"address": "192.0.2.1", "port": port}]
    with pytest.raises(ValueError, match="is no port"):
        ways_of({"address": "192.0.2.1", "own": entry, "far": []})


def test_the_files_of_a_rented_machine() -> None:
    placed = placement(["here", "rented"], CLOUD)
    _, there = tunnels(topology(2), placed)
    assert netdev_text(there, KEYS).startswith("[NetDev]\nName=us-tunnel\nKind=wireguard\nMTUBytes=1280\n\n")
    assert "ListenPort=33217\n" in netdev_text(there, KEYS)
    assert netdev_text(there, KEYS).endswith(f"[WireGuardPeer]\nPublicKey={KEYS['a']}\nAllowedIPs=10.20.0.11/32\n")
    assert ways_between(placed, "a", "b", {"b": IPv4Address("203.0.113.9")}) == (
        "UDP between 192.0.2.1 (here) port 33216 and 203.0.113.9 (rented) port 33217, both ways"
    )


def test_two_rented_machines_speak_with_each_other_at_their_public_addresses() -> None:
    placed = placement(["rented", "google"], GOOGLE, CLOUD)
    refuse_unfit("stage", placed)
    here, _ = tunnels(topology(2), placed)
    (peer,) = here.peers
    told = replace(here, peers=(replace(peer, endpoint=IPv4Address("203.0.113.9")),))
    assert netdev_text(told, KEYS).endswith(
        f"[WireGuardPeer]\nPublicKey={KEYS['b']}\nAllowedIPs=10.20.0.12/32\n"
        "Endpoint=203.0.113.9:33217\nPersistentKeepalive=25\n"
    )


def test_on_one_computer_there_are_none() -> None:
    for one in (placement(["here", "here"]), placement(["rack", "rack"], host("rack"))):
        assert (tunnels(topology(2), one), dict(pairs(topology(2), one)), ways(one, one.machines[0].host, {})) == (
            (),
            {},
            None,
        )
        refuse_unfit("stage", one)


@given(st.lists(st.sampled_from(["here", "rack", "desk", "rented", "google"]), min_size=1, max_size=12))
def test_each_speaks_with_all_that_are_elsewhere_and_each_host_knows_the_others(on: list[str]) -> None:
    known = {"desk": host("desk", 3), "rack": host("rack", 2), "rented": CLOUD, "google": GOOGLE}
    placed = placement(on, *(known[name] for name in sorted(set(on) - {"here"})))
    refuse_unfit("stage", placed)
    where = {machine.name: machine.host for machine in placed.machines}
    wanted = {name: {other for other in where if where[other] != at} for name, at in where.items()}
    spread = len(set(on)) > 1
    made = {each.name: each for each in tunnels(topology(len(on)), placed)}
    assert {name: {peer.name for peer in each.peers} for name, each in made.items()} == (wanted if spread else {})
    for name, each in made.items():
        on_computer = where[name] not in CLOUDS
        assert (each.gateway == CONTROL[1], each.port == INNER_PORT) == (on_computer, on_computer)
        assert (each.mtu == 1280) == bool(CLOUDS & set(on))
        assert netdev_text(each, dict.fromkeys(where, KEYS["a"])).count("Endpoint") == on_computer * len(each.peers)
        for peer in each.peers:
            assert speaks_first(placed, name, peer.name) == (on_computer or where[peer.name] in CLOUDS)
            assert speaks_first(placed, name, peer.name) or speaks_first(placed, peer.name, name)
    first, last = ports_in_cloud(placed) or (0, 0)
    assert (first > 0) == (spread and bool(CLOUDS & set(on)))
    for name, peers in pairs(topology(len(on)), placed).items():
        at = set(on) if where[name] not in CLOUDS else CLOUDS & set(on)
        assert {where[peer.name] for peer in peers} == at - {where[name]}
        assert {peer.name for peer in peers} >= {
            each for each, at in where.items() if at in CLOUDS and at != where[name]
        }
    if spread:
        asked = [peer.name for peers in pairs(topology(len(on)), placed).values() for peer in peers]
        assert set(asked) | set(pairs(topology(len(on)), placed)) == set(where)
    if spread:
        public = {name: IPv4Address(f"203.0.113.{ord(name)}") for name, at in where.items() if at in CLOUDS}
        rented = {(public[name], made[name].port) for name in public}
        assert all(first <= port <= last for _, port in rented)
        fences = {name: fence for name in set(on) - CLOUDS if (fence := ways(placed, name, public))}
        for name, fence in fences.items():
            theirs = {(each.address, port) for at, each in fences.items() if at != name for _, port in each.own}
            theirs |= rented
            assert set(fence.far) == theirs
            ports = [port for _, port in (*fence.own, *fence.far)]
            assert len(set(ports)) == len(ports) == len(on)


_PLACES = st.tuples(st.integers(0, 511), st.integers(0, MOST_MACHINES - 1))


@given(_PLACES, _PLACES)
def test_no_two_machines_of_a_host_have_one_port(one: tuple[int, int], other: tuple[int, int]) -> None:
    networks = list(CONTROL_NETWORKS.subnets(new_prefix=24))
    first, second = (outer_port(networks[network][10 + at]) for network, at in (one, other))
    assert (first == second) == (one == other)
    assert 32768 <= first < 65536


UNFIT: dict[str, tuple[Placement, str]] = {
    "no address of another": (
        placement(["here", "rack"], host("rack")),
        "Capacity.yaml: hosts.rack.address: nothing; wanted the IPv4 address at which here reach rack",
    ),
    "no address of this one towards a cloud": (
        placement(["here", "rented"], CLOUD, address=""),
        "Capacity.yaml: hosts.here.address: nothing; wanted the IPv4 address with which here goes to rented",
    ),
    "no address of this one": (
        placement(["here", "rack"], host("rack", 2), address=""),
        "Capacity.yaml: hosts.here.address: nothing; .*`./run understudy place -s stage`",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_cannot_be_one_network_is_told(case: str) -> None:
    placed, told = UNFIT[case]
    with pytest.raises(UnderstudyError, match=told):
        refuse_unfit("stage", placed)


def test_more_machines_than_there_are_ports_are_told() -> None:
    placed = placement(["here", "rack"], host("rack", 2))
    one, other = placed.machines
    last = replace(other, control_address=CONTROL[10 + MOST_MACHINES])
    with pytest.raises(UnderstudyError, match=r"b beyond the first 64 addresses of 198\.18\.7\.0/24"):
        refuse_unfit("stage", replace(placed, machines=(one, last)))
