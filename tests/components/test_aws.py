"""A stack in AWS as a graph: each input compared with the SDK's own classes; the fence first, a new host key last."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from components.backends.cloud_values import image_of
from components.site import Site
from model.capacity import CloudImage
from model.errors import UnderstudyError
from model.placement import PlacedHost
from model.rented import AWS_IMAGE
from tests.components.conftest import MakeSite, place, site_maker
from tests.components.copies import filled_from_copy
from tests.components.doubles import OUTPUTS, Graph, check, differing, run

FIVE = {"lb", "app1", "app2", "db1", "db2"}
RENTED = PlacedHost(name="rented", kind="aws", region="eu-central-1")
CLOUD = 'config:\n  understudy:cloud: {ssh_from: [203.0.113.7/32, 198.51.100.0/24], cost_centre: "4711"}\n'


def site(make_site: MakeSite, project: Path, stack: str = "stage", prods: dict[str, str] | None = None) -> Site:
    place(project, stack, cloud=RENTED)
    prods = {**(prods or {}), **({"config:\n": CLOUD} if stack == "prod" else {})}
    return make_site(stack, {"Pulumi.prod.yaml": prods, "Pulumi.stage.yaml": {"config:\n": CLOUD}})


@pytest.fixture(scope="module")
def stage(untouched: Path) -> Graph:
    return run(site(site_maker(untouched), untouched), untouched)


def test_every_machine_is_built_there_and_nothing_here(stage: Graph) -> None:
    assert set(stage.of("Instance")) == set(stage.of("FirstContact")) == set(stage.of("KeyPair")) == FIVE
    assert set(stage.of("VolumeAttachment")) == {"db1-data", "db2-data"}
    assert not [item.type for item in stage.resources if item.type.startswith("libvirt") or "Template" in item.type]


def test_the_fence_stands_before_any_machine(stage: Graph) -> None:
    rules = {f"SecurityGroupRule {name}" for name in stage.of("SecurityGroupRule")}
    assert len(rules) == 4
    for instance in stage.of("Instance").values():
        assert rules <= stage.before(instance)


def test_nothing_gets_in_but_ssh_and_nothing_gets_out(stage: Graph) -> None:
    group = stage.one("SecurityGroup", "fence-rented")
    assert not {"ingress", "egress"} & set(group.inputs), "rules are resources of their own"
    rules = {name: rule.inputs for name, rule in stage.of("SecurityGroupRule").items()}
    for source in ("203.0.113.7/32", "198.51.100.0/24"):
        ssh = rules.pop(f"ssh-rented-{source.replace('/', '-')}")
        assert (ssh["cidrBlocks"], ssh["type"], ssh["protocol"]) == ([source], "ingress", "tcp")
        assert (ssh["fromPort"], ssh["toPort"]) == (22, 22)
    assert set(rules) == {"into-rented", "out-rented"}
    for name, kind in (("into-rented", "ingress"), ("out-rented", "egress")):
        assert (rules[name]["type"], rules[name]["sourceSecurityGroupId"]) == (kind, "fence-rented-id")
        assert "cidrBlocks" not in rules[name]
    assert stage.one("Vpc", "vpc-rented").inputs["enableDnsSupport"] is False


def test_prods_names_and_addresses_hold_inside(stage: Graph) -> None:
    assert stage.one("Subnet", "subnet-rented").inputs["cidrBlock"] == "10.20.0.0/24"
    assert stage.one("Instance", "db1").inputs["privateIp"] == "10.20.0.31"
    identity = stage.one("FirstContact", "db1").inputs["identity"]
    assert {"address": "10.20.0.10", "names": ["lb.shop.example", "lb"]} in identity["hosts"]


def test_all_that_costs_says_whose_it_is(stage: Graph) -> None:
    rented = [item for item in stage.resources if "tags" in item.inputs]
    assert len(rented) >= len(FIVE) * 2 + 4
    for item in rented:
        assert item.inputs["tags"]["cost-centre"] == "4711", item.name
        assert item.inputs["tags"]["stack"] == "stage"
        assert item.inputs["tags"]["owner"].startswith("understudy-stage-")
    for instance in stage.of("Instance").values():
        assert instance.inputs["volumeTags"]["cost-centre"] == "4711"


def test_disks_are_encrypted_and_metadata_is_not_for_everybody(stage: Graph) -> None:
    for instance in stage.of("Instance").values():
        assert instance.inputs["rootBlockDevice"]["encrypted"] is True
        assert instance.inputs["metadataOptions"]["httpTokens"] == "required"
        assert {"ami", "volumeTags"} <= instance.ignored
    for name in ("db1-data", "db2-data"):
        assert stage.one("Volume", name).inputs["encrypted"] is True


def test_what_stays_readable_is_a_key_of_its_own_and_secret_in_the_state(stage: Graph) -> None:
    known = {item.urn: item for item in stage.resources}
    for name in FIVE:
        instance, contact = stage.one("Instance", name), stage.one("FirstContact", name)
        assert "userData" in instance.secret
        from_keys = {known[urn].name for urn in instance.dependencies if known[urn].type.endswith(":SshKeypair")}
        assert from_keys == {"controller", f"{name}-first"}, "the machine's own key is in no record"
        from_keys = {known[urn].name for urn in contact.dependencies if known[urn].type.endswith(":SshKeypair")}
        assert from_keys == {"controller", f"{name}-first", f"{name}-host"}
        assert contact.inputs["connection"]["address"] == "203.0.113.99"
        assert {"host_private_key", "private_key"} <= contact.secret
        assert contact.deleted_with == instance.urn


def test_a_data_disk_is_known_by_its_serial_number(stage: Graph) -> None:
    disk = stage.one("Filesystem", "db1:/srv")
    assert disk.inputs["device"] == "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_db1dataid"
    assert {"VolumeAttachment db1-data", "FirstContact db1"} <= stage.before(disk)


def test_services_run_there_as_anywhere(stage: Graph, make_site: MakeSite, project: Path) -> None:
    place(project, "stage")
    here = run(make_site("stage"), project)
    assert set(stage.of("Service")) == set(here.of("Service"))
    assert stage.outputs["machines"]["db1"]["control_address"] == "203.0.113.99"


def test_data_of_prod_is_protected(make_site: MakeSite, project: Path) -> None:
    prod = run(site(make_site, project, "prod"), project)
    assert {name for name, item in prod.of("Volume").items() if item.protected} == {"db1-data", "db2-data"}


def test_nobody_could_get_in_is_said_before_anything_is_made(make_site: MakeSite, project: Path) -> None:
    place(project, "stage", cloud=RENTED)
    with pytest.raises(UnderstudyError, match=r"cloud\.ssh_from: found nothing.*checkip|ssh_from.*nothing"):
        run(make_site("stage"), project)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("network: 10.20.0.0/24", "network: 10.0.0.0/12", r"/16 to /28, as AWS can have it"),
        ("address: 10.20.0.10", "address: 10.20.0.2", r"10\.20\.0\.2; wanted 10\.20\.0\.4 to 10\.20\.0\.254"),
    ],
)
def test_what_aws_cannot_hold_is_refused(make_site: MakeSite, project: Path, old: str, new: str, told: str) -> None:
    edits = {old: new}
    if "/12" in new:
        edits["address: 10.20.0."] = "address: 10.0.0."
    with pytest.raises(UnderstudyError, match=told):
        run(site(make_site, project, prods=edits), project)


@pytest.mark.parametrize(
    ("token", "inputs"),
    [
        ("aws:ec2/instance:Instance", {"imageId": "ami-1"}),
        ("aws:ec2/instance:Instance", {"rootBlockDevice": {"size": 8}}),
        ("aws:ec2/instance:Intsance", {}),
        ("aws:ec2/volumeAttachment:VolumeAttachment", {"deviceName": "/dev/sdf"}),
    ],
)
def test_the_double_refuses_what_the_sdk_does_not_know(token: str, inputs: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        check(token, inputs)


def test_the_plan_says_what_it_comes_to(stage: Graph, make_site: MakeSite, project: Path) -> None:
    # Five t3.small with an address each, ten GiB for each system, and two for the data of each database.
    total = 5 * (0.024 + 0.005) * 730 + (5 * 10 + 2 * 2) * 0.0952
    assert stage.outputs["cost"]["rented"].startswith(f"about {total:.2f} USD a month for 5 machines")
    assert "whose day is not known" in stage.outputs["cost"]["rented"]
    place(project, "stage")
    assert "cost" not in run(make_site("stage"), project).outputs


def test_the_one_way_out_leads_to_the_copy_and_only_for_reading(make_site: MakeSite, project: Path) -> None:
    dr = run(filled_from_copy(site(make_site, project)), project)
    endpoint = dr.one("VpcEndpoint", "copy-rented")
    assert endpoint.inputs["serviceName"] == "com.amazonaws.eu-central-1.s3"
    (allowed,) = json.loads(endpoint.inputs["policy"])["Statement"]
    assert allowed["Action"] == ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"]
    assert allowed["Resource"] == ["arn:aws:s3:::copy", "arn:aws:s3:::copy/prod/*"]
    out = [rule.inputs for rule in dr.of("SecurityGroupRule").values() if rule.inputs["type"] == "egress"]
    (way,) = (rule for rule in out if "sourceSecurityGroupId" not in rule)
    assert (way["prefixListIds"], way["fromPort"], way["toPort"]) == (["pl-1"], 443, 443)
    assert "cidrBlocks" not in way
    seed = dr.one("PostgresPrimary", "shop").inputs["seed"]
    assert (seed["location"], seed["profile"], seed["fetched_by"]) == ("s3://copy/prod", "reader", "machine")
    assert dr.outputs["names"]["lb.shop.example"] == "203.0.113.99"


def test_elsewhere_the_way_out_leads_to_the_networks_that_are_named(make_site: MakeSite, project: Path) -> None:
    found = filled_from_copy(site(make_site, project), "198.51.100.0/28", endpoint="https://s3.example:9000")
    dr = run(found, project)
    assert not dr.of("VpcEndpoint")
    way = dr.one("SecurityGroupRule", "copy-rented-9000").inputs
    assert (way["type"], way["cidrBlocks"], way["fromPort"]) == ("egress", ["198.51.100.0/28"], 9000)


def test_everybody_reaches_the_open_ports_of_that_machine_alone(make_site: MakeSite, project: Path) -> None:
    dr = run(filled_from_copy(site(make_site, project)), project)
    opened = {name: rule.inputs for name, rule in dr.of("SecurityGroupRule").items() if name.startswith("open-")}
    assert sorted(rule["fromPort"] for rule in opened.values()) == [80, 443]
    assert {tuple(rule["cidrBlocks"]) for rule in opened.values()} == {("0.0.0.0/0",)}
    assert {rule["securityGroupId"] for rule in opened.values()} == {"open-rented-lb-id"}
    groups = {name: instance.inputs["vpcSecurityGroupIds"] for name, instance in dr.of("Instance").items()}
    assert groups == {name: ["fence-rented-id", f"open-rented-{name}-id"] for name in FIVE}, (
        "from the first: none changes"
    )


def test_a_machine_image_of_ones_own(make_site: MakeSite, project: Path) -> None:
    image = CloudImage(owner="123456789012", name="shop-*")
    place(project, "stage", cloud=replace(RENTED, image=image))
    found = make_site("stage", {"Pulumi.stage.yaml": {"config:\n": CLOUD}})
    assert image_of(found, "rented", AWS_IMAGE) == image
    assert set(run(found, project).of("Instance")) == FIVE


def test_no_secret_in_what_is_shown(stage: Graph) -> None:
    assert str(OUTPUTS["SshKeypair"]["private_key"]) not in str(stage.outputs)


def test_a_bigger_data_disk_is_the_same_disk_made_bigger(make_site: MakeSite, project: Path) -> None:
    """AWS changes a size in place: ``tests/clouds/test_aws.py`` shows it with its real provider."""
    before = run(site(make_site, project), project)
    after = run(make_site("stage", {"Pulumi.prod.yaml": {"data_disk: 2GiB": "data_disk: 20GiB"}}), project)
    assert differing(before, after) == {
        what.format(name)
        for name in ("db1", "db2")
        for what in ("Volume {}-data: size", "Filesystem {}:/srv: disk_mib")
    }
    inside = after.one("Filesystem", "db1:/srv")
    assert {"Volume db1-data", "VolumeAttachment db1-data"} <= after.before(inside), (
        "the disk first, then what is on it"
    )
