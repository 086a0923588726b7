"""What a change document has of AWS, typed word for word with the real `aws`, in an EC2 on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from model.change.document import Part, markdown
from model.change.planned import Planned, planned
from provisioners.changes.by_hand import parts_of
from tests.clouds.conftest import client_of, lacking
from tests.doubles.robot import Block, read
from tests.model.test_change_document import document

CASES = Path(__file__).parents[1] / "cases"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGBHTv7QHDdMxvkKMR6XKRHFuGDsDFqrnX6WE6kb8b2H"


def preview(name: str) -> tuple[Planned, ...]:
    """Return what a real preview had planned."""
    return planned(json.loads((CASES / f"aws.{name}.preview.json").read_text(encoding="utf-8")))


class Typist:
    """Types blocks into one shell, in a directory where what only a person can fill in lies."""

    def __init__(self, directory: Path, endpoint: str) -> None:
        self.directory = directory
        (directory / "understudy-dr-a2ad7316-db1.pub").write_text(KEY)
        (directory / "db1.user-data").write_text("#cloud-config\n")
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("AWS_")},
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-central-1",
        }

    def type(self, blocks: Sequence[Block], before: str = "") -> str:
        """Type them, and return the shell's variables afterwards; each has to print what the document says."""
        text = before + "".join(f"{block.text}echo 'after {block.part}'\n" for block in blocks)
        done = subprocess.run(
            ["bash", "--norc"],
            input=f"{text}declare -p | grep -E '_(rented|db1|db1_data|table)='\n",
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        for block in blocks:
            assert f"{block.prints}\nafter {block.part}\n" in done.stdout, f"{block.text}{done.stdout}{done.stderr}"
        return "".join(line for line in done.stdout.splitlines(keepends=True) if line.startswith("declare"))


def read_back(parts: Sequence[Part], kind: str) -> list[Block]:
    """Return the blocks of a document with these parts, as its reader finds them."""
    found = [each for each in read(markdown(document(*parts))) if each.kind == kind]
    assert {each.machine for each in found} <= {"", "db1"}
    return [each for each in found if not each.machine]


@pytest.fixture
def typist(tmp_path: Path, ec2: str) -> Typist:
    if not shutil.which("aws") or subprocess.run(["aws", "--version"], capture_output=True, check=False).returncode:
        lacking("there is no `aws` that runs")
    return Typist(tmp_path, ec2)


def test_a_new_machine_with_its_network_fence_and_disk_is_typed_grown_and_taken_away(typist: Typist, ec2: str) -> None:
    client = client_of(ec2)
    parts = [part for each in preview("new") for part in parts_of(each)]
    variables = typist.type(read_back(parts, "do"))

    (vpc,) = (each for each in client.describe_vpcs()["Vpcs"] if each["CidrBlock"] == "10.20.0.0/24")
    dns = client.describe_vpc_attribute(VpcId=vpc["VpcId"], Attribute="enableDnsSupport")
    assert dns["EnableDnsSupport"] == {"Value": False}
    (group,) = client.describe_security_groups(Filters=[{"Name": "tag:Name", "Values": ["dr-fence"]}])["SecurityGroups"]
    among = [{"GroupId": group["GroupId"]}]
    assert [
        [{"GroupId": pair["GroupId"]} for pair in each["UserIdGroupPairs"]] for each in group["IpPermissionsEgress"]
    ] == [among], "nothing gets out"
    assert not any(each["IpRanges"] for each in group["IpPermissionsEgress"])
    into = {each["IpProtocol"]: [one["CidrIp"] for one in each["IpRanges"]] for each in group["IpPermissions"]}
    assert into == {"tcp": ["203.0.113.7/32"], "-1": []}
    (reservation,) = client.describe_instances()["Reservations"]
    (instance,) = reservation["Instances"]
    assert (instance["PrivateIpAddress"], instance["InstanceType"]) == ("10.20.0.31", "t3.micro")
    (card,) = instance["NetworkInterfaces"]
    assert [each["GroupId"] for each in card["Groups"]] == [group["GroupId"]]
    (address,) = client.describe_addresses()["Addresses"]
    assert address["InstanceId"] == instance["InstanceId"]
    assert {"Key": "Name", "Value": "dr-db1-address"} in address["Tags"]
    volumes = {each["Size"]: each for each in client.describe_volumes()["Volumes"]}
    assert [each["InstanceId"] for each in volumes[2]["Attachments"]] == [instance["InstanceId"]]

    ids = {"aws:ebs/volume:Volume": volumes[2]["VolumeId"], "aws:ec2/instance:Instance": instance["InstanceId"]}
    resized = [replace(each, identifier=ids[each.kind]) for each in preview("resized")]
    typist.type(read_back([part for each in resized for part in parts_of(each)], "do"))
    assert client.describe_volumes(VolumeIds=[volumes[2]["VolumeId"]])["Volumes"][0]["Size"] == 4
    grown = client.describe_instances()["Reservations"][0]["Instances"][0]
    assert (grown["InstanceType"], grown["State"]["Name"]) == ("t3.small", "running")

    typist.type(read_back(parts, "undo"), before=variables)
    assert not any(each["CidrBlock"] == "10.20.0.0/24" for each in client.describe_vpcs()["Vpcs"])
    assert client.describe_addresses()["Addresses"] == []
    assert not client.describe_volumes(Filters=[{"Name": "volume-id", "Values": [volumes[2]["VolumeId"]]}])["Volumes"]
