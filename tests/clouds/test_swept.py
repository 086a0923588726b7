"""What a killed run left in AWS is swept: what has the stack's tag and was being made, and nothing else."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import boto3
import pytest

from cli.rented import swept_clouds
from model.rented import DEBIAN, mark
from model.state import rented
from provisioners.clouds.aws_sweep import sweep
from tests.clouds.conftest import serve_ec2
from tests.clouds.test_aws import instances_of, left_over
from tests.model.test_prices import placed

REGION = "eu-central-1"
OWNER = "understudy-dr-a2ad7316"
ALL = [
    *("machine dr-db1", "disk dr-db1-data", "address dr-db1-address", "key dr-db1"),
    *("way to a service dr-copy", "fence dr-fence"),
    *("gateway dr-gateway", "subnet dr-subnet", "network dr-network"),
]
_ALL = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]


class Account:
    """An account in which stacks have things, made by hand as Pulumi's plugin makes them."""

    def __init__(self, address: str) -> None:
        self.ec2: Any = boto3.client("ec2", endpoint_url=address, region_name=REGION)
        self.image = self.ec2.describe_images(Owners=[DEBIAN])["Images"][0]["ImageId"]

    def make(self, owner: str = OWNER, stack: str = "dr") -> dict[str, str]:
        """Make one of everything, and return the identifier of each."""
        ec2, made = self.ec2, dict[str, str]()

        def tags(kind: str, name: str) -> list[dict[str, Any]]:
            told = {"Name": f"{stack}-{name}", "owner": owner, "stack": stack}
            return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in told.items()]}]

        made["vpc"] = ec2.create_vpc(CidrBlock="10.20.0.0/24", TagSpecifications=tags("vpc", "network"))["Vpc"]["VpcId"]
        made["subnet"] = ec2.create_subnet(
            VpcId=made["vpc"], CidrBlock="10.20.0.0/24", TagSpecifications=tags("subnet", "subnet")
        )["Subnet"]["SubnetId"]
        gateway = ec2.create_internet_gateway(TagSpecifications=tags("internet-gateway", "gateway"))
        made["gateway"] = gateway["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=made["gateway"], VpcId=made["vpc"])
        main = [{"Name": "vpc-id", "Values": [made["vpc"]]}]
        table = ec2.describe_route_tables(Filters=main)["RouteTables"][0]["RouteTableId"]
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=made["gateway"])
        made["route"] = f"r-{table}{zlib.crc32(b'0.0.0.0/0')}"
        made["group"] = ec2.create_security_group(
            GroupName=f"{stack}-fence",
            Description="fence",
            VpcId=made["vpc"],
            TagSpecifications=tags("security-group", "fence"),
        )["GroupId"]
        ec2.revoke_security_group_egress(GroupId=made["group"], IpPermissions=_ALL)
        made["rule"] = self.open(made["group"], 22)
        made["endpoint"] = ec2.create_vpc_endpoint(
            VpcId=made["vpc"],
            VpcEndpointType="Gateway",
            ServiceName=f"com.amazonaws.{REGION}.s3",
            RouteTableIds=[table],
            TagSpecifications=tags("vpc-endpoint", "copy"),
        )["VpcEndpoint"]["VpcEndpointId"]
        made["key"] = ec2.create_key_pair(KeyName=f"{owner}-db1", TagSpecifications=tags("key-pair", "db1"))["KeyName"]
        made["machine"] = ec2.run_instances(
            ImageId=self.image,
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            SubnetId=made["subnet"],
            TagSpecifications=[*tags("instance", "db1"), *tags("volume", "db1-system")],
        )["Instances"][0]["InstanceId"]
        zone = ec2.describe_subnets(SubnetIds=[made["subnet"]])["Subnets"][0]["AvailabilityZone"]
        made["disk"] = ec2.create_volume(AvailabilityZone=zone, Size=2, TagSpecifications=tags("volume", "db1-data"))[
            "VolumeId"
        ]
        ec2.attach_volume(VolumeId=made["disk"], InstanceId=made["machine"], Device="/dev/sdf")
        address = ec2.allocate_address(Domain="vpc", TagSpecifications=tags("elastic-ip", "db1-address"))
        made["address"] = address["AllocationId"]
        ec2.associate_address(AllocationId=made["address"], InstanceId=made["machine"])
        return made

    def open(self, group: str, port: int) -> str:
        """Let everybody in at a port, and return the rule."""
        told = [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "203.0.113.7/32"}]}]
        made = self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=told)
        return str(made["SecurityGroupRules"][0]["SecurityGroupRuleId"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_ec2(tmp_path_factory.mktemp("ec2")) as address:
        yield address


@pytest.fixture
def account(served: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Account:
    with urlopen(f"{served}/moto-api/reset", data=b"") as answer:
        assert answer.status == 200
    monkeypatch.setenv("AWS_ENDPOINT_URL", served)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return Account(served)


def swept(known: Collection[str], *begun: str, act: bool = True, told: list[str] | None = None) -> list[str]:
    state = replace(rented({}, "aws"), identifiers=frozenset(known), begun=frozenset(begun))
    found = sweep(REGION, OWNER, state, print if told is None else told.append, act=act)
    assert all(line.endswith(f" in AWS {REGION}") for line in found)
    return [line.removesuffix(f" in AWS {REGION}") for line in found]


def test_what_another_computers_state_may_have_stays_and_is_told(account: Account) -> None:
    account.make()
    before, told = left_over(account.ec2), list[str]()
    assert swept((), told=told) == []
    assert left_over(account.ec2) == before
    assert [line.partition(" in AWS")[0] for line in told] == ALL
    assert told[0].endswith("it stays. If no other computer has it in a state either, remove it by hand.")


def test_what_was_being_made_goes_in_the_order_in_which_aws_lets_it_go(account: Account) -> None:
    foreign = account.make("understudy-prod-00000000", "prod")
    before = left_over(account.ec2)
    made = account.make()
    stands = (*foreign.values(), made["vpc"], made["subnet"], made["route"])
    assert swept(stands, "dr-db1", "dr-db1-data", "dr-db1-address", "dr-copy", "dr-fence", "dr-gateway") == ALL[:7]
    assert set(instances_of(account.ec2)) == {"prod-db1"}, "another stack's was taken for it"
    assert set(left_over(account.ec2)) - set(before) == {made["vpc"], made["subnet"]}


def test_a_machine_of_the_same_name_in_another_network_stays(account: Account) -> None:
    account.make()
    before = left_over(account.ec2)
    assert swept(("vpc-0", "subnet-0"), "dr-db1") == ["key dr-db1"], "which nothing that runs needs"
    assert set(before) - set(left_over(account.ec2)) == {f"{OWNER}-db1"}
    assert set(instances_of(account.ec2)) == {"dr-db1"}


def test_where_it_may_only_be_named_all_stays(account: Account) -> None:
    account.make()
    before = left_over(account.ec2)
    assert swept((), act=False) == ALL
    assert left_over(account.ec2) == before


def test_what_the_state_knows_stays_with_its_system_disk(account: Account) -> None:
    made = account.make()
    before = left_over(account.ec2)
    assert swept(made.values()) == []
    assert left_over(account.ec2) == before


@pytest.mark.parametrize(
    ("lost", "name", "told"),
    [
        ("machine", "dr-db1", "machine dr-db1"),
        ("disk", "dr-db1-data", "disk dr-db1-data"),
        ("address", "dr-db1-address", "address dr-db1-address"),
        ("key", f"{OWNER}-db1", "key dr-db1"),
        ("endpoint", "dr-copy", "way to a service dr-copy"),
        ("rule", "", "rule of fence "),
        ("route", "", "route to 0.0.0.0/0 in "),
    ],
)
def test_one_thing_that_was_being_made(account: Account, lost: str, name: str, told: str) -> None:
    foreign = account.make("understudy-prod-00000000", "prod")
    made = account.make()
    known = [identifier for what, identifier in made.items() if what != lost]
    if name:
        assert swept(known) == [], "nothing says that this state made it"
    (line,) = swept(known, name)
    assert line.startswith(told)
    assert swept(known, name) == []
    assert set(instances_of(account.ec2)) >= {"prod-db1"}, "another stack's was taken for it"
    assert swept(made.values(), *ALL) == []
    assert foreign["machine"] not in made.values()


@pytest.mark.parametrize("what", ["network", "subnet", "fence", "gateway"])
def test_what_machines_stand_on(account: Account, what: str) -> None:
    """It is taken away while nothing is in it yet: whatever is in it is made when it is there."""
    ec2, known, network = account.ec2, set[str](), ""
    tags = [{"Key": "Name", "Value": f"dr-{what}"}, {"Key": "owner", "Value": OWNER}]

    def told(kind: str) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": tags}]

    if what == "network":
        ec2.create_vpc(CidrBlock="10.20.0.0/24", TagSpecifications=told("vpc"))
    else:
        network = ec2.create_vpc(CidrBlock="10.20.0.0/24")["Vpc"]["VpcId"]
        known.add(network)
    if what == "subnet":
        ec2.create_subnet(VpcId=network, CidrBlock="10.20.0.0/24", TagSpecifications=told("subnet"))
    if what == "fence":
        fence = told("security-group")
        ec2.create_security_group(GroupName="dr-fence", Description="fence", VpcId=network, TagSpecifications=fence)
    if what == "gateway":
        made = ec2.create_internet_gateway(TagSpecifications=told("internet-gateway"))["InternetGateway"]
        ec2.attach_internet_gateway(InternetGatewayId=made["InternetGatewayId"], VpcId=network)
    assert swept(known) == []
    if network:
        assert swept((), f"dr-{what}") == [], "it is in a network that this state does not have"
    assert swept(known, f"dr-{what}") == [f"{what} dr-{what}"]
    assert swept(known, f"dr-{what}") == []


def test_a_hole_that_somebody_made_in_a_stages_fence_is_closed(account: Account) -> None:
    made = account.make()
    account.open(made["group"], 5432)
    (line,) = swept(made.values())
    assert line.startswith(f"rule of fence {made['group']} sgr-")
    (group,) = account.ec2.describe_security_groups(GroupIds=[made["group"]])["SecurityGroups"]
    assert [rule["FromPort"] for rule in group["IpPermissions"]] == [22]


def test_the_regions_of_the_lock_file_and_of_the_state_are_looked_at(account: Account) -> None:
    made = account.make(mark("understudy/dr/a2ad7316"))
    _, placement = placed()
    machine = {"type": "aws:ec2/instance:Instance", "id": made["machine"]}
    elsewhere = {"type": "pulumi:providers:aws", "id": "p", "inputs": {"region": "eu-west-1"}}
    state = {"deployment": {"resources": [machine, elsewhere]}}
    found = swept_clouds("understudy/dr/a2ad7316", state, placement, print, act=False)
    assert "disk dr-db1-data in AWS eu-central-1" in found
    assert not [line for line in found if line.startswith("machine")]
    assert swept_clouds("understudy/dr/a2ad7316", {"deployment": {}}, None, print, act=False) == []
