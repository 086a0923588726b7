"""Which off-site copy is taken, and what a stack's file may say of copies."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.files import service_names, stack_file, stack_files
from model.capacity import CapacityHost
from model.configuration import StackFile, read_environment
from model.environment import Environment
from model.errors import ConfigurationError, UnderstudyError
from model.offsite import Finding, OffsiteCopy, OffsiteStore, decide_offsite, unfit_host

ROOT = Path(__file__).parents[2]
SHOP = {"bucket": "s3://copy/shop", "region": "eu-central-1"}
COPY: dict[str, Any] = {"host": "frankfurt", "stores": {"shop": SHOP}}
KINDS = st.sampled_from(("capacity", "credentials", "data"))
FINDINGS = st.lists(st.tuples(st.lists(st.tuples(KINDS, st.text("abc ", min_size=1)))), max_size=6)


def read(offsite: object, **more: str) -> Environment:
    files = stack_files(ROOT)
    config = {"mirror": "prod", "capacity": "hosts", "offsite": offsite, **more}
    files["dr"] = StackFile(name="Pulumi.dr.yaml", config=config)
    return read_environment(files, "dr", services=service_names(ROOT))


@given(FINDINGS)
def test_the_first_that_lacks_nothing_is_taken_and_each_before_it_says_why_not(found: list[Any]) -> None:
    findings = [Finding(host=f"h{at}", lacks=tuple(lacks)) for at, (lacks,) in enumerate(found)]
    host, reasons = decide_offsite(findings, 9)
    whole = [each.host for each in findings if not each.lacks]
    assert host == (whole[0] if whole else "")
    looked_at = findings[: int(host[1:]) + 1] if host else findings
    assert len(reasons) == len(looked_at)
    for each, reason in zip(looked_at, reasons, strict=True):
        assert reason.startswith(f"{each.host}: {'not taken: ' if each.lacks else 'taken: '}")
        assert all(f"{what}: {why}" in reason for what, why in each.lacks)


def test_the_projects_own_dr_is_filled_from_the_copy_that_is_taken() -> None:
    stack = read_environment(stack_files(ROOT), "dr", services=service_names(ROOT))
    assert [copy.host for copy in stack.settings.offsite] == ["frankfurt", "ireland"]
    assert (stack.mirror_of, stack.settings.seed, stack.settings.protect) == ("prod", "newest", True)
    prod = read_environment(stack_files(ROOT), "prod", services=service_names(ROOT))
    assert stack.topology == prod.topology, "until a copy is taken"
    taken = stack.at_copy("ireland")
    (store,) = taken.topology.stores
    assert store.backup
    assert (store.backup.location, store.backup.region) == ("s3://shop-offsite-2/pgbackrest", "eu-west-1")
    assert (store.backup.profile, store.backup.fetched_by) == ("shop-offsite-read", "machine")
    assert store.backup.stanza == "shop", "which backup it is, prod's file says"
    assert replace(store, backup=None) == replace(prod.topology.stores[0], backup=None)
    with pytest.raises(UnderstudyError, match=r"no copy beside tokyo.*place --again -s dr"):
        stack.at_copy("tokyo")


@pytest.mark.parametrize(
    ("offsite", "more", "faults"),
    [
        ({"frankfurt": COPY}, {}, ["offsite: "]),
        ([], {}, ["offsite: "]),
        ([{**COPY, "hots": "x"}], {}, ['offsite.0.hots: .*did you mean "host"']),
        ([{"stores": {"shop": SHOP}}], {}, ["offsite.0.host: .*needed"]),
        ([COPY, COPY], {}, ["offsite.1.host: .*only once"]),
        ([{**COPY, "stores": {}}], {}, ["offsite.0.stores.shop: .*where its copy is"]),
        ([{**COPY, "stores": {"shop": SHOP, "shpo": SHOP}}], {}, ["offsite.0.stores.shpo: .*one of shop"]),
        ([{**COPY, "stores": {"shop": {**SHOP, "bucket": "copy"}}}], {}, [r"bucket: .*s3://"]),
        ([{**COPY, "stores": {"shop": {**SHOP, "endpoint": "http://s3.x"}}}], {}, ["endpoint: .*https"]),
        ([{**COPY, "stores": {"shop": {**SHOP, "endpoint": "https://s3.x/y"}}}], {}, ["endpoint: .*https"]),
        ([{**COPY, "networks": ["203.0.113.1/24"]}], {}, ["networks.0: .*203.0.113.0/28"]),
        ([{**COPY, "networks": [f"203.0.113.{at}/32" for at in range(21)]}], {}, ["networks: .*at most 20"]),
        ([{**COPY, "profile": "a b"}], {}, ["profile: .*letters"]),
        ([{**COPY, "profile": "AKIAABCDEFGHIJKLMNOP"}], {}, ["profile: .*no secrets"]),
        ([{**COPY, "secret_key": "x"}], {}, ["secret_key: .*no secrets"]),
        ([COPY], {"capacity": "here", "seed": "empty"}, ["capacity: .*hosts", "seed: .*newest"]),
    ],
)
def test_wrong_copies(offsite: object, more: dict[str, str], faults: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(offsite, **more)
    assert len(caught.value.faults) == len(faults), caught.value
    for fault in faults:
        assert caught.match(fault)


def test_only_machines_can_be_open() -> None:
    config = {"mirror": "prod", "cloud": {"ssh_from": [], "open": {"lbs": [80], "lb": [80, 443]}}}
    files = stack_files(ROOT) | {"dr": StackFile(name="Pulumi.dr.yaml", config=config)}
    with pytest.raises(ConfigurationError, match=r"^Pulumi\.dr\.yaml: cloud\.open\.lbs: .*did you mean \"lb\"\?$"):
        read_environment(files, "dr", services=service_names(ROOT))


def test_only_a_mirror_has_copies() -> None:
    text = (ROOT / "Pulumi.prod.yaml").read_text() + "  understudy:offsite: [{host: x, stores: {}}]\n"
    files = {"prod": stack_file("Pulumi.prod.yaml", text)}
    with pytest.raises(ConfigurationError, match=r"offsite: .*only a mirror"):
        read_environment(files, "prod", services=service_names(ROOT))


FRANKFURT = CapacityHost(name="frankfurt", kind="aws", region="eu-central-1", budget_per_month=100.0)
HERE = CapacityHost(name="here")


@pytest.mark.parametrize(
    ("changes", "host", "told"),
    [
        ({}, FRANKFURT, ""),
        ({"region": "eu-west-1"}, FRANKFURT, "write `networks`"),
        ({"endpoint": "https://s3.x"}, FRANKFURT, "write `networks`"),
        ({}, replace(FRANKFURT, kind="gcp"), "write `networks`"),
        ({"networks": True, "endpoint": "https://s3.x"}, FRANKFURT, ""),
        ({"networks": True}, replace(FRANKFURT, kind="gcp"), ""),
        ({}, replace(FRANKFURT, stacks=("stage",)), "is not for stack dr"),
        ({}, replace(FRANKFURT, stacks=("stage", "dr")), ""),
        ({}, replace(FRANKFURT, name="paris"), "has no host frankfurt; it has here, paris"),
        ({}, CapacityHost(name="frankfurt"), "is no cloud"),
    ],
)
def test_whether_a_host_fits_a_copy(changes: dict[str, Any], host: CapacityHost, told: str) -> None:
    networks = (IPv4Network("203.0.113.0/28"),) if changes.pop("networks", None) else ()
    store = OffsiteStore(**{"store": "shop", **SHOP, **changes})
    copy = OffsiteCopy(host="frankfurt", stores=(store,), networks=networks)
    found = unfit_host(copy, (HERE, host), "dr")
    assert told in found
    assert bool(found) == bool(told)
    assert copy.lets_out_to(IPv4Address("203.0.113.9"))
    assert copy.lets_out_to(IPv4Address("198.51.100.1")) == (not networks)
