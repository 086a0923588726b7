"""What a lock file fixes is decided from values alone, and what was fixed stays."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from model.placing import (
    CONTROL_NETWORKS,
    Host,
    built_machines,
    decide_control_network,
    decide_machines,
    decide_shortages,
)
from model.topology import Access, Machine

NETWORK = IPv4Network("198.18.7.0/24")
NAMES = st.lists(st.from_regex(r"\A[a-z][a-z0-9]{0,5}\Z"), unique=True, max_size=20)


def machine(name: str, *, memory_mib: int = 512, data_disk_mib: int = 0) -> Machine:
    return Machine(
        name=name,
        address=IPv4Address("10.20.0.10"),
        vcpus=1,
        memory_mib=memory_mib,
        system_disk_mib=8192,
        data_disk_mib=data_disk_mib,
    )


@given(st.text(min_size=1), st.sets(st.integers(0, 511), max_size=40))
def test_a_control_network_overlaps_none_that_is_taken(stack: str, indices: set[int]) -> None:
    subnets = list(CONTROL_NETWORKS.subnets(new_prefix=24))
    taken = [subnets[index] for index in indices]
    network = decide_control_network(stack, taken)
    assert network is not None
    assert network.prefixlen == 24
    assert network.subnet_of(CONTROL_NETWORKS)
    assert not any(network.overlaps(other) for other in taken)


def test_a_larger_network_that_is_taken_is_left_out() -> None:
    network = decide_control_network("stage", [IPv4Network("198.18.0.0/16")])
    assert network is not None
    assert network.subnet_of(IPv4Network("198.19.0.0/16"))
    assert decide_control_network("stage", [CONTROL_NETWORKS]) is None


@given(NAMES, NAMES)
def test_machines_keep_their_addresses_and_new_ones_get_free_ones(first: list[str], second: list[str]) -> None:
    before = decide_machines([machine(name) for name in first], NETWORK, ())
    after = decide_machines([machine(name) for name in second], NETWORK, before or ())
    assert before is not None
    assert after is not None
    assert [place.name for place in after] == sorted(second)
    addresses = [place.control_address for place in after]
    assert len(set(addresses)) == len(addresses)
    assert all(NETWORK[10] <= address <= NETWORK[254] for address in addresses)
    earlier = {place.name: place for place in before}
    assert all(place == earlier[place.name] for place in after if place.name in earlier)


def test_another_network_gives_other_addresses() -> None:
    before = decide_machines([machine("lb")], IPv4Network("198.18.9.0/24"), ())
    after = decide_machines([machine("lb")], NETWORK, before or ())
    assert after is not None
    assert after[0].control_address == NETWORK[10]


def test_more_machines_than_addresses() -> None:
    assert decide_machines([machine(f"m{index}") for index in range(246)], NETWORK, ()) is None
    assert decide_machines([machine(f"m{index}") for index in range(245)], NETWORK, ()) is not None


def test_what_is_short_is_said() -> None:
    host = Host(memory_mib=8192, free_memory_mib=4096, disk_mib=100_000, free_disk_mib=50_000)
    machines = [machine("lb"), machine("db1", memory_mib=1024, data_disk_mib=2048)]
    assert decide_shortages(machines, host) == ()
    short = decide_shortages(machines, replace(host, free_memory_mib=2000, free_disk_mib=12_000))
    assert [text.partition(":")[0] for text in short] == ["memory", "disk"]
    assert "2048 MiB for 2 machines" in short[0]
    assert "2000 MiB are free" in short[0]


def test_the_owners_share_is_left() -> None:
    host = Host(memory_mib=20_000, free_memory_mib=2768, disk_mib=1000, free_disk_mib=100_000)
    assert decide_shortages([machine("lb")], host) == ()
    assert len(decide_shortages([machine("lb")], replace(host, free_memory_mib=2767))) == 1


def test_of_a_machine_that_is_there_only_what_it_gets_more_is_counted() -> None:
    full = Host(memory_mib=8192, free_memory_mib=100, disk_mib=100_000, free_disk_mib=100)
    lb, db1 = machine("lb"), machine("db1", memory_mib=1024, data_disk_mib=2048)
    there = {"lb": {"memory_mib": 512}, "db1": {"memory_mib": 1024, "data_disk_mib": 2048}}
    assert decide_shortages([lb, db1], full, there) == ()
    assert decide_shortages([lb, replace(db1, memory_mib=512)], full, there) == ()
    (short,) = decide_shortages([lb, replace(db1, memory_mib=65536)], full, there)
    assert short.startswith("memory: 64512 MiB for 1 machine and 819 MiB left")
    (short,) = decide_shortages([lb, replace(db1, data_disk_mib=4096)], full, there)
    assert short.startswith("disk: 2048 MiB for 1 machine and ")
    new = decide_shortages([lb, db1], full, {"lb": there["lb"]})
    assert new == decide_shortages([db1], full)
    assert len(new) == 2


def test_existing_machines_are_not_built() -> None:
    there = replace(machine("db1"), existing=Access(host="db1.example"))
    assert built_machines([machine("lb"), there]) == (machine("lb"),)
