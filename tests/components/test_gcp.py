"""A stack at Google as a graph, each input compared with the SDK's own classes; no plugin of Google's is here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from components.site import Site
from model.errors import UnderstudyError
from model.placement import PlacedHost
from tests.components.conftest import MakeSite, place, site_maker
from tests.components.copies import filled_from_copy
from tests.components.doubles import ROOT, Graph, check, differing, run

FIVE = {"lb", "app1", "app2", "db1", "db2"}
RENTED = PlacedHost(name="rented", kind="gcp", region="europe-west3")
CLOUD = "config:\n  understudy:cloud: {ssh_from: [203.0.113.7/32], cost_centre: shop, project: shop-dr}\n"


def site(make_site: MakeSite, project: Path, cloud: str = CLOUD) -> Site:
    place(project, "stage", cloud=RENTED, size="e2-small")
    return make_site("stage", {"Pulumi.stage.yaml": {"config:\n": cloud}})


@pytest.fixture(scope="module")
def stage(untouched: Path) -> Graph:
    return run(site(site_maker(untouched), untouched), untouched)


def test_every_machine_is_built_there_and_nothing_here(stage: Graph) -> None:
    assert set(stage.of("Instance")) == set(stage.of("FirstContact")) == FIVE
    assert set(stage.of("Disk")) == set(stage.of("AttachedDisk")) == {"db1-data", "db2-data"}
    assert not [item.type for item in stage.resources if item.type.startswith("libvirt")]


def test_the_fence_stands_first_and_lets_nothing_out(stage: Graph) -> None:
    rules = {name.removesuffix("-rented"): rule.inputs for name, rule in stage.of("Firewall").items()}
    assert {name: rule["direction"] for name, rule in rules.items()} == {
        "ssh": "INGRESS",
        "into": "INGRESS",
        "out": "EGRESS",
        "closed": "EGRESS",
    }
    assert rules["ssh"]["sourceRanges"] == ["203.0.113.7/32"]
    assert rules["ssh"]["allows"] == [{"protocol": "tcp", "ports": ["22"]}]
    assert rules["into"]["sourceRanges"] == rules["out"]["destinationRanges"] == ["10.20.0.0/24"]
    assert (rules["closed"]["denies"], rules["closed"]["destinationRanges"]) == ([{"protocol": "all"}], ["0.0.0.0/0"])
    assert rules["closed"]["priority"] == 65000
    for instance in stage.of("Instance").values():
        assert {f"Firewall {name}-rented" for name in rules} <= stage.before(instance)
        assert all(instance.inputs["tags"] == rule["targetTags"] for rule in rules.values())


def test_a_machine_has_prods_address_its_keys_and_no_account(stage: Graph) -> None:
    db1 = stage.one("Instance", "db1")
    assert db1.inputs["networkInterfaces"][0]["networkIp"] == "10.20.0.31"
    assert db1.inputs["hostname"] == "db1.shop.example"
    assert "serviceAccount" not in db1.inputs
    assert "metadata" in db1.secret
    known = {item.urn: item for item in stage.resources}
    keys = {known[urn].name for urn in db1.dependencies if known[urn].type.endswith(":SshKeypair")}
    assert keys == {"controller", "db1-first"}, "the machine's own key is in no record"
    contact = stage.one("FirstContact", "db1").inputs
    assert (contact["machine_id"], contact["disk_ids"]) == ("4711", ["4712"])
    assert contact["identity"]["cards"]["mirror"] == {"address": "10.20.0.31", "prefix": 32}
    assert contact["connection"]["address"] == "203.0.113.98"


def test_a_copy_and_open_ports_have_rules_of_their_own(make_site: MakeSite, project: Path) -> None:
    dr = run(filled_from_copy(site(make_site, project), "198.51.100.0/28", endpoint="https://s3.example"), project)
    way = dr.one("Firewall", "copy-rented").inputs
    assert (way["direction"], way["destinationRanges"]) == ("EGRESS", ["198.51.100.0/28"])
    assert way["allows"] == [{"protocol": "tcp", "ports": ["443"]}]
    opened = dr.one("Firewall", "open-lb-rented").inputs
    assert (opened["sourceRanges"], opened["allows"]) == (["0.0.0.0/0"], [{"protocol": "tcp", "ports": ["80", "443"]}])
    tagged = {name for name, each in dr.of("Instance").items() if set(opened["targetTags"]) & set(each.inputs["tags"])}
    assert tagged == {"lb"}


def test_labels_and_names_are_such_as_google_takes(stage: Graph) -> None:
    labelled = [item for item in stage.resources if "labels" in item.inputs]
    assert len(labelled) == len(FIVE) + 2
    for item in labelled:
        for key, value in item.inputs["labels"].items():
            assert key.replace("-", "").isalnum()
            assert set(value) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
        assert item.inputs["labels"]["cost-centre"] == "shop"
    for item in stage.resources:
        if item.type.startswith("gcp:"):
            assert len(item.inputs.get("name", "")) <= 63


def test_without_a_project_nothing_is_made(make_site: MakeSite, project: Path) -> None:
    with pytest.raises(UnderstudyError, match=r"cloud\.project: nothing.*gcloud projects list"):
        run(site(make_site, project, CLOUD.replace(", project: shop-dr", "")), project)


@pytest.mark.parametrize(
    ("token", "inputs"),
    [
        ("gcp:compute/instance:Instance", {"size": "e2-small"}),
        ("gcp:compute/firewall:Firewall", {"network": "n", "allows": [{"proto": "tcp"}]}),
        ("gcp:compute/attachedDisk:AttachedDisk", {"disk": "d"}),
    ],
)
def test_the_double_refuses_what_the_sdk_does_not_know(token: str, inputs: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        check(token, inputs)


def test_the_first_boots_script_is_one() -> None:
    script = ROOT / "components/backends/google_first_boot.sh"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_a_bigger_data_disk_is_the_same_disk_made_bigger(make_site: MakeSite, project: Path) -> None:
    """Google's provider changes a size in place where it grows. Source: resource_compute_disk.go, IsDiskShrinkage."""
    before = run(site(make_site, project), project)
    after = run(make_site("stage", {"Pulumi.prod.yaml": {"data_disk: 2GiB": "data_disk: 20GiB"}}), project)
    assert differing(before, after) == {
        what.format(name) for name in ("db1", "db2") for what in ("Disk {}-data: size", "Filesystem {}:/srv: disk_mib")
    }
    inside = after.one("Filesystem", "db1:/srv")
    assert {"Disk db1-data", "AttachedDisk db1-data"} <= after.before(inside), "the disk first, then what is on it"
