"""Machines in AWS by Terraform's real provider, in an EC2 on loopback: made, unchanged, changed, and gone again."""

from __future__ import annotations

import json
import os
import shutil
import signal
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cli import preflight
from cli.pulumi_state import PulumiState
from model import names
from tests.clouds.conftest import IMAGE, client_of, environment_of
from tests.doubles.pulumi import ROOT, Project, wait_until
from tests.model.test_prices import placed

HOST = "rented"
DB1 = {"address": "10.20.0.31", "vcpus": 2, "memory_mib": 1024, "system_disk_mib": 8192, "data_disk_mib": 2048}
LB = {"address": "10.20.0.10", "vcpus": 1, "memory_mib": 512, "system_disk_mib": 8192, "data_disk_mib": 0}
WANTED = {
    "host": HOST,
    "size": "t3.micro",
    "protect": False,
    "ssh_from": ["203.0.113.7/32"],
    "machines": {"lb": LB, "db1": DB1},
}


class Cloud(Project):
    """A stack in an AWS on loopback."""

    def __init__(self, directory: Path, plugin: Path, provider: str, endpoint: str) -> None:
        super().__init__(directory)
        shutil.copy(Path(__file__).parent / "program" / "__main__.py", directory / "__main__.py")
        self.environment |= {
            "PATH": f"{plugin}:{self.environment['PATH']}",
            "PYTHONPATH": str(ROOT),
            "UNDERSTUDY_TEST_MACHINES": str(directory / "machines.json"),
            **environment_of(endpoint, provider),
        }
        self.ec2 = client_of(endpoint)

    def wants(self, **changes: Any) -> None:
        (self.directory / "machines.json").write_text(json.dumps({**WANTED, **changes}))

    def instances(self) -> dict[str, Any]:
        return instances_of(self.ec2)


def instances_of(ec2: Any) -> dict[str, Any]:
    found = ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running", "stopped"]}])
    every = [one for group in found["Reservations"] for one in group["Instances"]]
    return {named(one)["Name"]: one for one in every}


def named(thing: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in thing.get("Tags", ())}


@pytest.fixture
def cloud(tmp_path: Path, aws_plugin: Path, aws_provider: str, ec2: str) -> Cloud:
    (tmp_path / "project").mkdir()
    return Cloud(tmp_path / "project", aws_plugin, aws_provider, ec2)


def test_made_unchanged_changed_and_gone(cloud: Cloud) -> None:
    cloud.wants()
    cloud.run("up", "--yes", "--skip-preview")
    made = cloud.instances()
    check_machines(cloud, made)
    check_fence(cloud, ["203.0.113.7/32"])
    check_user_data(cloud, made["dr-db1"]["InstanceId"])
    disk = data_disk(cloud)
    assert (disk["Size"], disk["Encrypted"], named(disk)["cost-centre"]) == (2, True, "4711")
    cloud.run("preview", "--expect-no-changes")

    cloud.wants(
        ssh_from=["203.0.113.7/32", "198.51.100.0/24"],
        machines={"lb": LB, "db1": {**DB1, "data_disk_mib": 5000}},
    )
    cloud.run("up", "--yes", "--skip-preview")
    changed = cloud.instances()
    assert {name: one["InstanceId"] for name, one in changed.items()} == {
        name: one["InstanceId"] for name, one in made.items()
    }
    assert (data_disk(cloud)["VolumeId"], data_disk(cloud)["Size"]) == (disk["VolumeId"], 5)
    check_fence(cloud, ["203.0.113.7/32", "198.51.100.0/24"])

    cloud.run("destroy", "--yes", "--skip-preview")
    assert left_over(cloud.ec2) == []


def check_machines(cloud: Cloud, made: dict[str, Any]) -> None:
    assert {name: one["PrivateIpAddress"] for name, one in made.items()} == {
        "dr-lb": "10.20.0.10",
        "dr-db1": "10.20.0.31",
    }
    for one in made.values():
        assert one["ImageId"] == IMAGE["ami_id"], "somebody else's image of the same name"
        assert one["MetadataOptions"]["HttpTokens"] == "required"
        assert one["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
        assert (named(one)["owner"], named(one)["cost-centre"]) == ("understudy-dr-a2ad7316", "4711")
        root = volume(cloud, one["BlockDeviceMappings"][0]["Ebs"]["VolumeId"])
        assert (root["Encrypted"], root["Size"], named(root)["cost-centre"]) == (True, 10, "4711")
    dns = cloud.ec2.describe_vpc_attribute(VpcId=made["dr-lb"]["VpcId"], Attribute="enableDnsSupport")
    assert dns["EnableDnsSupport"] == {"Value": False}


def check_fence(cloud: Cloud, sources: list[str]) -> None:
    """In comes SSH from the given networks and what the machines send each other; out goes the latter alone."""
    (group,) = (
        each for each in cloud.ec2.describe_security_groups()["SecurityGroups"] if each["GroupName"] != "default"
    )
    among = [{"GroupId": group["GroupId"], "UserId": group["OwnerId"]}]
    into = sorted(group["IpPermissions"], key=lambda rule: rule["IpProtocol"])
    assert [rule["IpProtocol"] for rule in into] == ["-1", "tcp"]
    assert (into[0]["UserIdGroupPairs"], into[0]["IpRanges"]) == (among, [])
    assert (into[1]["FromPort"], into[1]["ToPort"]) == (22, 22)
    assert [each["CidrIp"] for each in into[1]["IpRanges"]] == sources
    (out,) = group["IpPermissionsEgress"]
    assert (out["UserIdGroupPairs"], out["IpRanges"]) == (among, [])


def check_user_data(cloud: Cloud, instance: str) -> None:
    """What stays readable in the cloud holds the key of the first contact, and not the machine's own."""
    told = cloud.ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")["UserData"]["Value"]
    text = b64decode(told).decode()
    keys = json.loads(cloud.run("stack", "output", "db1", "--json", "--show-secrets"))
    secret = {name: key.splitlines()[2] for name, key in keys.items()}
    assert text.startswith("#cloud-config\n")
    assert secret["first"] in text
    assert secret["own"] not in text


def volume(cloud: Cloud, identifier: str) -> Any:
    return cloud.ec2.describe_volumes(VolumeIds=[identifier])["Volumes"][0]


def data_disk(cloud: Cloud) -> Any:
    (disk,) = (each for each in cloud.ec2.describe_volumes()["Volumes"] if named(each)["Name"] == "dr-db1-data")
    return disk


def left_over(ec2: Any) -> list[str]:
    """Return what exists beside what every region has by itself."""
    return [
        *instances_of(ec2),
        *(each["VolumeId"] for each in ec2.describe_volumes()["Volumes"]),
        *(each["KeyName"] for each in ec2.describe_key_pairs()["KeyPairs"]),
        *(each["AllocationId"] for each in ec2.describe_addresses()["Addresses"]),
        *(each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"] if not each["IsDefault"]),
        *(each["SubnetId"] for each in ec2.describe_subnets()["Subnets"] if not each["DefaultForAz"]),
        *(
            each["GroupId"]
            for each in ec2.describe_security_groups()["SecurityGroups"]
            if each["GroupName"] != "default"
        ),
        *(each["InternetGatewayId"] for each in ec2.describe_internet_gateways()["InternetGateways"]),
    ]


def test_a_killed_up_leaves_nothing_that_the_next_one_trips_over(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    cloud.wants(machines={"db1": DB1})
    up = cloud.start("up", "--yes", "--skip-preview")
    wait_until(cloud.instances, 120)
    kill_session(up.pid)  # AWS has a machine by now, and the state knows of none
    up.communicate(timeout=30)
    cloud.run("cancel", "--yes")  # as `./run` takes away a dead one's lock
    assert not [each for each in cloud.state() if each["type"].endswith(":Instance")]

    assert "removed machine dr-db1 in AWS eu-central-1" in prepare(cloud)
    assert cloud.instances() == {}
    cloud.run("up", "--yes", "--skip-preview")
    assert set(cloud.instances()) == {"dr-db1"}

    assert prepare(cloud) == set(), "something that the state knows was taken away"
    cloud.run("preview", "--expect-no-changes")
    cloud.run("destroy", "--yes", "--skip-preview")
    assert left_over(cloud.ec2) == []


def kill_session(session: int) -> None:
    """Kill all that a command started, plugins too."""
    for process in (path for path in Path("/proc").iterdir() if path.name.isdigit()):
        with suppress(OSError):
            if os.getsid(int(process.name)) == session:
                os.kill(int(process.name), signal.SIGKILL)


def prepare(cloud: Cloud) -> set[str]:
    """Do what `./run` does before an update of a mirror, and return what was removed."""
    said: list[str] = []
    with PulumiState(cloud.directory, "s") as state, pytest.MonkeyPatch.context() as patch:
        patch.setattr(preflight, "say", said.append)
        preflight.clear(state, names.owner("dr", "file:///state"), placed()[1], mirrored=True)
    return {line.partition(":")[0] for line in said if line.startswith("removed")}
