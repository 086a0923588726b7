"""A stack in Azure as a graph, each input compared with the SDK's own classes; no plugin of Azure's is here."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.site import Site
from model.capacity import CloudImage
from model.errors import UnderstudyError
from model.placement import PlacedHost
from tests.components.conftest import MakeSite, place, site_maker
from tests.components.copies import filled_from_copy
from tests.components.doubles import Graph, check, run

FIVE = {"lb", "app1", "app2", "db1", "db2"}
RENTED = PlacedHost(name="rented", kind="azure", region="westeurope")
PAYS = "0a1b2c3d-0000-4000-8000-00000000000e"
CLOUD = (
    "config:\n  understudy:cloud: {ssh_from: [203.0.113.7/32, 198.51.100.0/24], cost_centre: shop, "
    f'subscription: "{PAYS}"}}\n'
)


def site(
    make_site: MakeSite, project: Path, stack: str = "stage", cloud: str = CLOUD, host: PlacedHost = RENTED
) -> Site:
    place(project, stack, cloud=host, size="Standard_B2s")
    return make_site(stack, {f"Pulumi.{stack}.yaml": {"config:\n": cloud}})


@pytest.fixture(scope="module")
def stage(untouched: Path) -> Graph:
    return run(site(site_maker(untouched), untouched), untouched)


def rules(graph: Graph) -> dict[str, dict[str, Any]]:
    return {rule["name"]: rule for rule in graph.one("NetworkSecurityGroup", "fence-rented").inputs["securityRules"]}


def test_every_machine_is_built_there_and_nothing_here(stage: Graph) -> None:
    assert set(stage.of("LinuxVirtualMachine")) == set(stage.of("FirstContact")) == FIVE
    assert set(stage.of("PublicIp")) == set(stage.of("NetworkInterface")) == FIVE
    assert set(stage.of("ManagedDisk")) == set(stage.of("DataDiskAttachment")) == {"db1-data", "db2-data"}
    assert not [item.type for item in stage.resources if item.type.startswith("libvirt")]
    assert stage.one("azure", "azure-rented").inputs["subscriptionId"] == PAYS


def test_the_fence_stands_before_any_machine(stage: Graph) -> None:
    around = stage.one("SubnetNetworkSecurityGroupAssociation", "fence-rented").inputs
    assert around == {"subnetId": "subnet-rented-id", "networkSecurityGroupId": "fence-rented-id"}
    for machine in stage.of("LinuxVirtualMachine").values():
        before = stage.before(machine)
        assert "SubnetNetworkSecurityGroupAssociation fence-rented" in before
        assert f"NetworkInterface {machine.name}" in before


def test_nothing_gets_in_but_ssh_and_nothing_gets_out_not_even_a_name(stage: Graph) -> None:
    found = rules(stage)
    told = {name: (rule["direction"], rule["access"], rule["priority"]) for name, rule in found.items()}
    assert told == {
        "ssh": ("Inbound", "Allow", 100),
        "into": ("Inbound", "Allow", 101),
        "shut-in": ("Inbound", "Deny", 4096),
        "names": ("Outbound", "Deny", 100),
        "out": ("Outbound", "Allow", 101),
        "shut-out": ("Outbound", "Deny", 4096),
    }
    assert found["ssh"]["sourceAddressPrefixes"] == ["198.51.100.0/24", "203.0.113.7/32"]
    assert (found["ssh"]["protocol"], found["ssh"]["destinationPortRanges"]) == ("Tcp", ["22"])
    for name in ("into", "out"):
        assert found[name]["sourceAddressPrefix"] == found[name]["destinationAddressPrefix"] == "10.20.0.0/24"
    assert found["names"]["destinationAddressPrefix"] == "AzurePlatformDNS"
    for name in ("shut-in", "shut-out"):
        assert {found[name][key] for key in ("sourceAddressPrefix", "destinationAddressPrefix", "protocol")} == {"*"}
        assert (found[name]["sourcePortRange"], found[name]["destinationPortRange"]) == ("*", "*")
    assert stage.one("Subnet", "subnet-rented").inputs["defaultOutboundAccessEnabled"] is False


def test_each_rule_says_whom_it_is_for_once(make_site: MakeSite, project: Path) -> None:
    dr = run(filled_from_copy(site(make_site, project), "198.51.100.0/28", endpoint="https://s3.example"), project)
    for rule in rules(dr).values():
        for one, many in (("AddressPrefix", "AddressPrefixes"), ("PortRange", "PortRanges")):
            for side in ("source", "destination"):
                assert (f"{side}{one}" in rule) != (f"{side}{many}" in rule), (rule["name"], side, one)
    numbers = [(rule["direction"], rule["priority"]) for rule in rules(dr).values()]
    assert len(set(numbers)) == len(numbers), "Azure refuses two rules of one number"


def test_a_copy_and_open_ports_have_rules_of_their_own(make_site: MakeSite, project: Path) -> None:
    dr = run(filled_from_copy(site(make_site, project), "198.51.100.0/28", endpoint="https://s3.example"), project)
    way = rules(dr)["copy"]
    assert (way["direction"], way["access"], way["destinationAddressPrefixes"]) == (
        "Outbound",
        "Allow",
        ["198.51.100.0/28"],
    )
    assert way["destinationPortRanges"] == ["443"]
    opened = rules(dr)["open-10-20-0-10"]
    assert (opened["sourceAddressPrefix"], opened["destinationAddressPrefix"]) == ("*", "10.20.0.10")
    assert opened["destinationPortRanges"] == ["80", "443"]


def test_a_machine_has_prods_address_and_newest_image_and_no_identity(stage: Graph) -> None:
    (card,) = stage.one("NetworkInterface", "db1").inputs["ipConfigurations"]
    assert (card["privateIpAddressAllocation"], card["privateIpAddress"]) == ("Static", "10.20.0.31")
    machine = stage.one("LinuxVirtualMachine", "db1")
    assert machine.inputs["sourceImageReference"] == {
        "publisher": "Debian",
        "offer": "debian-12",
        "sku": "12-gen2",
        "version": "0.20261101.2265",
    }
    assert {"sourceImageReference", "sourceImageId"} <= machine.ignored
    assert (machine.inputs["size"], machine.inputs["osDisk"]["diskSizeGb"]) == ("Standard_B2s", 30)
    assert machine.inputs["allowExtensionOperations"] is False
    assert not {"identity", "adminPassword"} & set(machine.inputs)
    contact = stage.one("FirstContact", "db1").inputs
    assert (contact["machine_id"], contact["disk_ids"]) == ("4713", ["db1-data-id"])
    assert contact["identity"]["cards"]["mirror"] == {"address": "10.20.0.31", "prefix": 24}
    assert contact["connection"]["address"] == "203.0.113.94"


def test_what_it_is_told_is_a_key_of_its_own_and_secret_in_the_state(stage: Graph) -> None:
    known = {item.urn: item for item in stage.resources}
    machine, contact = stage.one("LinuxVirtualMachine", "db1"), stage.one("FirstContact", "db1")
    assert "customData" in machine.secret
    kind, told = b64decode(machine.inputs["customData"]).decode().split("\n", 1)
    assert (kind, json.loads(told)["hostname"], json.loads(told)["users"]) == ("#cloud-config", "db1", [])
    keys = {known[urn].name for urn in machine.dependencies if known[urn].type.endswith(":SshKeypair")}
    assert keys == {"controller", "db1-first"}, "the machine's own key is in no record"
    assert contact.deleted_with == machine.urn


def test_ones_own_image_is_the_last_of_its_name(make_site: MakeSite, project: Path) -> None:
    own = replace(RENTED, image=CloudImage(owner="Images_(EU)", name="shop-*"))
    machine = run(site(make_site, project, host=own), project).one("LinuxVirtualMachine", "lb")
    assert machine.inputs["sourceImageId"] == "/images/shop-7"
    assert "sourceImageReference" not in machine.inputs


def test_a_data_disk_is_apart_and_prods_is_protected(stage: Graph, make_site: MakeSite, project: Path) -> None:
    assert stage.one("Filesystem", "db1:/srv").inputs["device"] == "/dev/disk/azure/scsi1/lun0"
    assert {"DataDiskAttachment db1-data", "FirstContact db1"} <= stage.before(stage.one("Filesystem", "db1:/srv"))
    plug = stage.one("DataDiskAttachment", "db1-data")
    assert (plug.inputs["lun"], plug.deleted_with) == (0, stage.one("LinuxVirtualMachine", "db1").urn)
    assert stage.one("ManagedDisk", "db1-data").inputs["networkAccessPolicy"] == "DenyAll"
    prod = run(site(make_site, project, "prod"), project)
    assert {name for name, item in prod.of("ManagedDisk").items() if item.protected} == {"db1-data", "db2-data"}


def test_all_that_can_carry_a_tag_says_whose_it_is(stage: Graph) -> None:
    tagged = [item for item in stage.resources if "tags" in item.inputs]
    kinds = {item.type.rpartition(":")[2] for item in stage.resources if item.type.startswith("azure:")}
    assert kinds - {item.type.rpartition(":")[2] for item in tagged} == {
        "Subnet",
        "SubnetNetworkSecurityGroupAssociation",
        "DataDiskAttachment",
    }
    for item in tagged:
        assert (item.inputs["tags"]["cost-centre"], item.inputs["tags"]["stack"]) == ("shop", "stage"), item.name
        assert item.inputs["tags"]["owner"].startswith("understudy-stage-")
    group = stage.one("ResourceGroup", "group-rented").inputs
    assert group["name"] == f"{group['tags']['owner']}-rented"


def test_without_a_subscription_nothing_is_made(make_site: MakeSite, project: Path) -> None:
    with pytest.raises(UnderstudyError, match=r"stage\.yaml: cloud\.subscription: nothing.*az account list"):
        run(site(make_site, project, cloud=CLOUD.replace(f', subscription: "{PAYS}"', "")), project)


def test_the_plan_says_what_it_comes_to(stage: Graph) -> None:
    assert stage.outputs["cost"]["rented"].startswith("about ")
    assert "for 5 machines that always run, without disks and addresses" in stage.outputs["cost"]["rented"]


@pytest.mark.parametrize(
    ("token", "inputs"),
    [
        ("azure:compute/linuxVirtualMachine:LinuxVirtualMachine", {"vmSize": "Standard_B2s"}),
        ("azure:network/networkSecurityGroup:NetworkSecurityGroup", {"resourceGroupName": "g", "securityRules": [{}]}),
        ("azure:compute/dataDiskAttachment:DataDiskAttachment", {"lun": 0}),
    ],
)
def test_the_double_refuses_what_the_sdk_does_not_know(token: str, inputs: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        check(token, inputs)
