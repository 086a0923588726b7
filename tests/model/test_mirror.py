"""The comparison of two machines, as values: what lowers the figure, what excuses it, and what makes it red."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from fractions import Fraction
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import ConfigurationError
from model.facts import Unread
from model.mirror import (
    AREAS,
    Excuse,
    Known,
    MachineFigure,
    Portrait,
    Reading,
    built_in,
    compare,
    compare_all,
    in_lines,
    in_record,
    read_excuses,
    unreachable,
)
from model.service import EngineSettings, Service, ServiceFile, ServiceUnit
from model.topology import Machine

TODAY = date(2026, 11, 25)
DIGEST = st.text("0123456789abcdef", max_size=4)


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    amount = draw(st.none() | st.integers(1, 1 << 40))
    return Reading(
        area=draw(st.sampled_from(AREAS)),
        key=draw(st.text(min_size=1, max_size=6)),
        value=draw(st.text(max_size=6)),
        digest=draw(DIGEST),
        amount=amount,
        within=draw(st.sampled_from([0.0, 0.25])) if amount else 0.0,
    )


PORTRAITS = st.lists(readings(), min_size=1, max_size=30, unique_by=lambda each: (each.area, each.key)).map(
    lambda found: Portrait(machine="db1", readings=tuple(found))
)


def portrait(*found: Reading, **more: Any) -> Portrait:
    return Portrait(machine="db1", readings=found, **more)


def package(name: str, version: str) -> Reading:
    return Reading(area="packages", key=name, value=version)


def figure(prod: Portrait, stage: Portrait, *excuses: Excuse) -> MachineFigure:
    return compare(prod, stage, excuses, TODAY)


@given(PORTRAITS)
def test_a_machine_is_like_itself(one: Portrait) -> None:
    found = figure(one, one)
    assert found.figure == 1
    assert found.differences == ()
    assert found.complete


def changed(reading: Reading, how: str) -> Reading | None:
    if how == "gone":
        return None
    if reading.amount is not None:
        return replace(reading, amount=reading.amount * 3 + 1)
    if how == "digest":
        return replace(reading, digest=f"{reading.digest}f")
    return replace(reading, value=f"{reading.value}x")


@given(PORTRAITS, st.data(), st.sampled_from(["gone", "digest", "value"]), st.booleans())
def test_any_single_difference_lowers_the_figure_and_is_named(
    one: Portrait, data: st.DataObject, how: str, swapped: bool
) -> None:
    at = data.draw(st.integers(0, len(one.readings) - 1))
    altered = changed(one.readings[at], how)
    rest = (*one.readings[:at], *([altered] if altered else []), *one.readings[at + 1 :])
    other = replace(one, readings=rest)
    found = figure(other, one) if swapped else figure(one, other)
    assert found.figure < 1
    assert [(each.area, each.key) for each in found.differences] == [(one.readings[at].area, one.readings[at].key)]
    assert found.differences[0].prod != found.differences[0].stage
    mirror = compare_all([(one, other)], (), TODAY)
    assert in_record(mirror)["faithful"] < 1
    assert any(str(found.differences[0].key) in line for line in in_lines(mirror))


@given(PORTRAITS, PORTRAITS)
def test_the_figure_is_the_same_from_both_sides_and_never_out_of_bounds(one: Portrait, other: Portrait) -> None:
    there, back = figure(one, other), figure(other, one)
    assert there.figure == back.figure
    assert 0 <= there.figure <= 1
    assert (there.figure == 1) == (not there.differences)


@given(PORTRAITS, PORTRAITS)
def test_what_is_excused_counts_as_the_same_and_stays_named(one: Portrait, other: Portrait) -> None:
    found = figure(one, other, Excuse(key="*", reason="a test"))
    assert found.figure == 1
    assert len(found.differences) == len(figure(one, other).differences)


@given(PORTRAITS, PORTRAITS, st.sampled_from(AREAS))
def test_nothing_excuses_what_could_not_be_read(one: Portrait, other: Portrait, area: str) -> None:
    blind = replace(other, unread=(Unread(fact=area, reason="sudo: a password is required"),))
    found = figure(one, blind, Excuse(key="*", reason="a test"))
    assert found.figure < 1
    assert not found.complete
    assert not [each for each in found.differences if each.area == area]


def test_how_the_figure_is_computed() -> None:
    prod = portrait(package("a", "1"), package("b", "1"), Reading(area="ports", key="tcp *:80", value="haproxy"))
    stage = portrait(package("a", "1"), package("b", "2"), Reading(area="ports", key="tcp *:80", value="haproxy"))
    found = figure(prod, stage)
    assert found.figure == (Fraction(1, 2) + 1) / 2
    mirror = compare_all([(prod, stage), (prod, prod)], (), TODAY)
    assert mirror.figure == (Fraction(3, 4) + 1) / 2


def test_a_machine_that_does_not_answer_makes_the_whole_red() -> None:
    one = portrait(package("a", "1"))
    for pair in ((unreachable("db2", "no SSH"), one), (one, unreachable("db2", "no SSH"))):
        mirror = compare_all([(one, one), pair], (), TODAY)
        assert mirror.figure == 0
        assert not mirror.complete
        assert in_record(mirror)["faithful"] == 0.0
        assert "no SSH" in "\n".join(in_lines(mirror))
        assert "RED" in in_lines(mirror)[-1]


def test_nothing_compared_is_not_faithful() -> None:
    assert compare_all([], (), TODAY).figure == 0
    empty = compare_all([(portrait(), portrait())], (), TODAY)
    assert empty.figure == 0
    assert not empty.complete


def test_content_is_told_to_differ_and_not_shown() -> None:
    prod, stage = (
        portrait(Reading(area="files", key="/etc/a", value="0600 root:root", digest=digest)) for digest in "ab"
    )
    (found,) = figure(prod, stage).differences
    assert (found.prod, found.stage) == ("0600 root:root", "0600 root:root, other content")


def test_an_excuse_holds_for_its_area_machine_side_and_time() -> None:
    prod, stage = portrait(package("linux-image-6", "1")), portrait(package("other", "1"))

    def excused(**more: Any) -> list[str]:
        excuse = Excuse(**{"key": "linux-*", "reason": "a test", **more})
        return [each.key for each in figure(prod, stage, excuse).differences if each.excuse]

    assert excused() == ["linux-image-6"]
    assert excused(area="packages", machine="db*", only="prod", until=TODAY) == ["linux-image-6"]
    assert excused(area="files") == excused(machine="lb") == excused(only="stage") == excused(only="both") == []
    assert excused(until=date(2026, 11, 24)) == []


def test_an_excuse_of_the_users_that_excuses_nothing_is_told() -> None:
    old = Excuse(key="linux-*", reason="old", until=date(2026, 1, 1), by_user=True)
    mirror = compare_all([(portrait(package("a", "1")), portrait(package("b", "1")))], (old,), TODAY)
    assert mirror.idle == (old,)
    assert "linux-* (only until 2026-01-01)" in "\n".join(in_lines(mirror))


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({}, "excuses"),
        ({"excuses": {}}, "excuses"),
        ({"excuses": ["linux"]}, "excuses.0"),
        ({"excuses": [{"key": "a"}]}, "excuses.0.reason"),
        ({"excuses": [{"key": "*", "reason": "all of it"}]}, "excuses.0.key"),
        ({"excuses": [{"key": "a", "reason": " "}]}, "excuses.0.reason"),
        ({"excuses": [{"key": "a", "reason": "b", "area": "package"}]}, "excuses.0.area"),
        ({"excuses": [{"key": "a", "reason": "b", "until": "soon"}]}, "excuses.0.until"),
        ({"excuses": [{"key": "a", "reason": "b", "untill": "2027-01-01"}]}, "excuses.0.untill"),
        ({"excuses": [], "more": 1}, "more"),
    ],
)
def test_a_wrong_file_of_excuses_is_told(values: object, key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_excuses(values)
    assert [fault.key for fault in caught.value.faults] == [key]


def test_a_file_of_excuses() -> None:
    item = {"key": "linux-image-*", "reason": "a newer kernel", "area": "packages", "until": "2027-01-31"}
    assert read_excuses({"excuses": [item]}) == (
        Excuse(key="linux-image-*", reason="a newer kernel", area="packages", until=date(2027, 1, 31), by_user=True),
    )


MACHINE = Machine(
    name="db1",
    address=IPv4Address("10.20.0.31"),
    vcpus=4,
    memory_mib=8192,
    system_disk_mib=8192,
    data_disk_mib=4096,
)


HEARTBEAT = Service(
    name="heartbeat",
    mirrored=False,
    files=(
        ServiceFile(source="h", path="/etc/systemd/system/heartbeat.service"),
        ServiceFile(source="x", path="/a[1]"),
    ),
    units=(ServiceUnit(unit="heartbeat.timer"),),
)
ENGINE = Service(
    name="postgresql", engine=EngineSettings(engine="postgresql", live_settings=(("wal_compression", "on"),))
)
KNOWN = Known(
    prod=MACHINE,
    stage=replace(MACHINE, vcpus=1),
    services=(HEARTBEAT, ENGINE),
    secret_paths=("/etc/app/app.env",),
    control_address="198.18.3.12",
    emulated=True,
    tunnel_ports=(("stage", 33664),),
)


@pytest.mark.parametrize(
    ("area", "key", "only", "reason"),
    [
        ("files", "/etc/machine-id", "both", "identity"),
        ("files", "/etc/ssh/ssh_host_ed25519_key.pub", "both", "identity"),
        ("files", "/etc/ssh/sshd_config", "both", ""),
        ("files", "/etc/understudy/identity.json", "content", "identity"),
        ("files", "/etc/postgresql/15/main/postgresql.conf", "content", "settings"),
        ("files", "/etc/postgresql/15/main/postgresql.conf", "both", ""),
        ("files", "/etc/app/app.env", "content", "password"),
        ("files", "/etc/app/app.env", "both", ""),
        ("files", "/etc/systemd/system/heartbeat.service", "prod", "not mirrored"),
        ("files", "/etc/systemd/system/heartbeat.service", "both", "not mirrored"),
        ("files", "/etc/systemd/system/heartbeat.service", "stage", ""),
        ("files", "/a[1]", "prod", "not mirrored"),
        ("files", "/a1", "prod", ""),
        ("units", "heartbeat.timer", "prod", "not mirrored"),
        ("units", "heartbeat.service", "prod", "not mirrored"),
        ("units", "heartbeat.service", "stage", ""),
        ("units", "haproxy.service", "both", ""),
        ("units", "understudy-identity.service", "stage", "this project"),
        ("database settings", "postgresql 5432 archive_mode", "both", "harmless"),
        ("database settings", "postgresql 5432 wal_compression", "both", "live_settings"),
        ("database settings", "postgresql 5432 work_mem", "both", ""),
        ("database settings", "postgresql 5432 data_directory", "both", "where a store"),
        ("databases", "postgresql 5432 version", "both", ""),
        ("ports", "udp *:33664", "stage", "tunnel"),
        ("ports", "udp *:33664", "prod", ""),
        ("ports", "udp *:33665", "stage", ""),
        ("system", "processors", "both", "at_most"),
        ("system", "memory", "both", ""),
        ("kernel settings", "kernel.threads-max", "both", "derives"),
        ("kernel settings", "vm.swappiness", "both", ""),
        ("kernel settings", "kernel.randomize_va_space", "both", "emulated"),
        ("kernel settings", "kernel.randomize_va_space", "prod", ""),
        ("kernel settings", "net.ipv4.conf.card eth0.rp_filter", "stage", "second card"),
        ("kernel settings", "net.ipv4.conf.card 10.20.0.31.rp_filter", "both", ""),
        ("ports", "tcp 198.18.3.12:22", "stage", "card for control"),
        ("ports", "udp *:51820", "stage", "through a tunnel"),
        ("ports", "udp *:51820", "prod", ""),
        ("units", "systemd-networkd.service", "both", "through a tunnel"),
        ("ports", "tcp 10.20.0.31:5432", "stage", ""),
        ("packages", "intel-microcode", "prod", "firmware"),
        ("packages", "haproxy", "both", ""),
    ],
)
def test_what_a_stage_is_excuses(area: str, key: str, only: str, reason: str) -> None:
    excuse = next((each for each in built_in(KNOWN) if each.covers("db1", area, key, only, TODAY)), None)
    assert (reason in excuse.reason and bool(reason)) if excuse else not reason
    assert not any(each.covers("db2", area, key, only, TODAY) for each in built_in(KNOWN))


def test_where_nothing_is_emulated_programs_addresses_are_a_difference() -> None:
    kept = built_in(replace(KNOWN, emulated=False))
    key = "kernel.randomize_va_space"
    assert not any(each.covers("db1", "kernel settings", key, "both", TODAY) for each in kept)
