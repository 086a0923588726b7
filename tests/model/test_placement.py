"""The lock file's value: what is written is read again, and what is wrong with it is told."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.strict_yaml import dump, parse
from model.errors import ConfigurationError
from model.placement import (
    Accelerator,
    OwnImage,
    PinnedSeed,
    PlacedHost,
    PlacedMachine,
    Placement,
    as_values,
    is_label,
    read_placement,
)
from model.topology import Access

FILE = "Placement.stage.lock.yaml"
EXAMPLE = Placement(
    control_network=IPv4Network("198.18.7.0/24"),
    accelerator=Accelerator(kind="tcg", reason="/dev/kvm is slower than no /dev/kvm"),
    image="0123456789ab",
    machines=(
        PlacedMachine(name="db1", host="here", control_address=IPv4Address("198.18.7.10")),
        PlacedMachine(name="lb", host="here", control_address=IPv4Address("198.18.7.11")),
    ),
    seeds=(
        PinnedSeed(
            store="shop",
            snapshot="20261123-020000F",
            taken_at=datetime(2026, 11, 23, 2, 0, 11, tzinfo=UTC),
            repository_digest="ab" * 32,
        ),
    ),
)

NAMES = st.from_regex(r"\A[a-z]([a-z0-9-]{0,10}[a-z0-9])?\Z")
HEX = st.text("0123456789abcdef", min_size=12, max_size=64)
TIMES = st.integers(0, 32_472_144_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


WITH_HOSTS = replace(
    EXAMPLE,
    hosts=(
        PlacedHost(
            name="desk",
            access=Access(host="desk.example", port=2222, user="admin", sudo=True, jump="gate.example"),
            host_key="ssh-ed25519 AAAA",
            accelerator=Accelerator(kind="kvm", reason="a guest started in 0.5 s"),
        ),
        PlacedHost(name="rented", kind="aws", region="eu-central-1"),
    ),
    machines=(
        PlacedMachine(name="db1", host="desk", control_address=IPv4Address("198.18.7.10")),
        PlacedMachine(name="lb", host="rented", control_address=IPv4Address("198.18.7.11"), instance_type="t3.medium"),
    ),
)


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    network = draw(
        st.integers(0, 511).map(lambda index: IPv4Network((int(IPv4Address("198.18.0.0")) + index * 256, 24)))
    )
    names = sorted(draw(st.sets(NAMES, max_size=6)))
    numbers = draw(st.permutations(range(10, 255)))
    stores = sorted(draw(st.sets(NAMES, max_size=3)))
    return Placement(
        control_network=network,
        accelerator=Accelerator(
            kind=draw(st.sampled_from(["tcg", "kvm"])), reason=draw(st.text(max_size=40).filter(str.isprintable))
        ),
        image=draw(st.just("") | HEX),
        own_image=draw(
            st.none()
            | st.builds(
                OwnImage,
                source=st.sampled_from(["mine.qcow2", "/images/a.raw", "https://images.example/debian?arch=amd64"]),
                disk_mib=st.integers(1, 1 << 20),
            )
        ),
        machines=tuple(
            PlacedMachine(name=name, host="here", control_address=network[number])
            for name, number in zip(names, numbers, strict=False)
        ),
        seeds=tuple(
            PinnedSeed(
                store=store,
                snapshot=draw(st.text(max_size=40).filter(is_label)),
                taken_at=draw(TIMES),
                repository_digest=draw(HEX),
                drilled_at=draw(st.none() | TIMES),
            )
            for store in stores
        ),
    )


def test_other_hosts_are_written_and_read_again() -> None:
    values, faults = parse(FILE, dump(as_values(WITH_HOSTS)))
    assert faults == ()
    assert read_placement(FILE, values) == WITH_HOSTS
    desk = WITH_HOSTS.host("desk")
    assert desk is not None
    assert (desk.connection.address, desk.connection.port, desk.connection.sudo) == ("desk.example", 2222, True)
    assert WITH_HOSTS.host("here") is None


def test_a_file_of_one_host_stays_as_it_always_was() -> None:
    values: Any = as_values(EXAMPLE)
    assert values["version"] == 1
    assert list(values) == ["version", "control_network", "accelerator", "image", "machines", "seeds"]
    assert values["machines"]["lb"] == {"host": "here", "control_address": "198.18.7.11"}


@settings(max_examples=200)
@given(placements())
def test_what_is_written_is_read_again(placement: Placement) -> None:
    text = dump(as_values(placement))
    values, faults = parse(FILE, text)
    assert faults == ()
    assert read_placement(FILE, values) == placement


def test_the_order_is_fixed() -> None:
    turned = Placement(
        control_network=EXAMPLE.control_network,
        accelerator=EXAMPLE.accelerator,
        image=EXAMPLE.image,
        machines=EXAMPLE.machines[::-1],
        seeds=EXAMPLE.seeds,
    )
    assert dump(as_values(turned)) == dump(as_values(EXAMPLE))


def test_times_are_written_in_utc() -> None:
    east = EXAMPLE.seeds[0].taken_at.astimezone(timezone(timedelta(hours=2)))
    seed = PinnedSeed(store="shop", snapshot="a", taken_at=east, repository_digest="ab" * 8)
    values: Any = as_values(
        Placement(
            control_network=EXAMPLE.control_network,
            accelerator=EXAMPLE.accelerator,
            image="",
            machines=(),
            seeds=(seed,),
        )
    )
    assert values["seeds"]["shop"]["taken_at"] == "2026-11-23T02:00:11Z"


WRONG: list[tuple[tuple[str, ...], Any, str, str]] = [
    (("version",), 3, "version", "from 1 to 2"),
    (("hosts",), {}, "hosts", "one of accelerator"),
    (("control_network",), "198.18.7.0/23", "control_network", "an IPv4 network"),
    (("control_network",), "198.18.6.0/23", "control_network", "/24"),
    (("accelerator",), "tcg", "accelerator", "a mapping with the keys kind, reason"),
    (("accelerator", "kind"), "xen", "accelerator.kind", "one of kvm, tcg"),
    (("accelerator", "reason"), "two\nlines", "accelerator.reason", "one line"),
    (("image",), "latest", "image", "12 to 64 hex digits"),
    (("own_image",), "mine.qcow2", "own_image", "a mapping with the keys source, disk_mib"),
    (("own_image",), {"source": "ftp://a/b c", "disk_mib": 1}, "own_image.source", "a path"),
    (("own_image",), {"source": "a", "disk_mib": 0}, "own_image.disk_mib", "from 1"),
    (("machines", "db1"), None, "machines.db1", "a mapping"),
    (("machines", "db1", "host"), "there", "machines.db1.host", "one of here"),
    (
        ("machines", "db1", "control_address"),
        "198.18.8.10",
        "machines.db1.control_address",
        "198.18.7.10 to 198.18.7.254",
    ),
    (
        ("machines", "db1", "control_address"),
        "198.18.7.1",
        "machines.db1.control_address",
        "198.18.7.10 to 198.18.7.254",
    ),
    (("machines", "db1", "control_address"), "198.18.7.255", "machines.db1.control_address", "198.18.7.10"),
    (("machines", "lb", "control_address"), "198.18.7.10", "machines.lb.control_address", "an address of its own"),
    (("machines", "LB"), {"host": "here", "control_address": "198.18.7.20"}, "machines.LB", "a machine's name"),
    (("machines", "lb", "domain"), "x", "machines.lb.domain", "one of control_address, host"),
    (("seeds", "shop", "snapshot"), "a\nb", "seeds.shop.snapshot", "a snapshot's label"),
    (("seeds", "shop", "taken_at"), "2026-11-23", "seeds.shop.taken_at", "a time in UTC"),
    (("seeds", "shop", "taken_at"), "2026-11-31T02:00:00Z", "seeds.shop.taken_at", "a time in UTC"),
    (("seeds", "shop", "repository_digest"), "", "seeds.shop.repository_digest", "12 to 64 hex digits"),
    (("seed",), {}, "seed", 'did you mean "seeds"?'),
]


def is_refused(example: Placement, path: tuple[str, ...], value: Any, key: str, allowed: str) -> None:
    """Put a value into an example's lock file, and see that it is refused there, and how."""
    values: Any = copy.deepcopy(as_values(example))
    inner = values
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(ConfigurationError) as raised:
        read_placement(FILE, values)
    assert [(fault.file, fault.key) for fault in raised.value.faults] == [(FILE, key)]
    assert allowed in raised.value.faults[0].allowed


@pytest.mark.parametrize(("path", "value", "key", "allowed"), WRONG)
def test_wrong_lock_files(path: tuple[str, ...], value: Any, key: str, allowed: str) -> None:
    is_refused(EXAMPLE, path, value, key, allowed)


WRONG_HOSTS: list[tuple[tuple[str, ...], Any, str, str]] = [
    (("machines", "db1", "host"), "dusk", "machines.db1.host", "one of desk, here, rented"),
    (("machines", "lb", "instance_type"), "t3 medium", "machines.lb.instance_type", "t3.medium"),
    (("machines", "db1", "instance_type"), "t3.medium", "machines.db1.instance_type", "one of control_address, host"),
    (("machines", "lb"), {"host": "rented", "control_address": "198.18.7.20"}, "machines.lb.instance_type", "needed"),
    (("hosts", "desk", "kind"), "xen", "hosts.desk.kind", "one of aws, azure, gcp, libvirt"),
    (("hosts", "desk", "host"), "-oProxyCommand=x", "hosts.desk.host", "a host's name"),
    (("hosts", "desk", "host_key"), "ssh-ed25519 AAAA\nevil", "hosts.desk.host_key", "a public host key"),
    (("hosts", "desk", "accelerator", "kind"), "xen", "hosts.desk.accelerator.kind", "one of kvm, tcg"),
    (("hosts", "desk", "architecture"), "sparc", "hosts.desk.architecture", "one of aarch64, x86_64"),
    (("hosts", "desk", "region"), "eu", "hosts.desk.region", "one of accelerator"),
    (("hosts", "rented", "host"), "x", "hosts.rented.host", "one of architecture, image, kind, region"),
    (("hosts", "rented", "region"), "", "hosts.rented.region", "region"),
    (("hosts", "here"), {"kind": "aws", "architecture": "x86_64", "region": "eu"}, "hosts.here", "another name"),
]


@pytest.mark.parametrize(("path", "value", "key", "allowed"), WRONG_HOSTS)
def test_wrong_hosts(path: tuple[str, ...], value: Any, key: str, allowed: str) -> None:
    is_refused(WITH_HOSTS, path, value, key, allowed)


@pytest.mark.parametrize("values", [None, [], "text", 5, {}, {"version": None}])
def test_lock_files_that_are_none(values: Any) -> None:
    with pytest.raises(ConfigurationError, match=FILE):
        read_placement(FILE, values)
