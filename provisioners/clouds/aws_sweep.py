"""What a killed run left in a region of AWS: all that carries the stack's tag and that its state does not know.

What is taken away is what a run of this very state was making, and what is in something that the state has.
What has no tag of its own is known by what it is in: a rule by its group, a route by its network. The order is that in
which AWS lets things go.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from model.state import RentedThere
from provisioners.clouds.aws_account import asked, client, session_in
from provisioners.clouds.left_over import Thing, taken_away
from provisioners.outcome import Say

_ALIVE = ["pending", "running", "stopping", "stopped"]
_GOING = ("deleting", "deleted")
_STOPS_SECONDS, _TIMES = 5, 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A region as a stack sees it.

    Args:
        ec2: boto3's client.
        owner: the stack's mark.
        known: the identifiers in its state.
        begun: the names in what was being made when a run was killed.
    """

    name: str
    ec2: Any
    owner: str
    known: frozenset[str]
    begun: frozenset[str]

    def listed(self, operation: str, key: str, *filters: tuple[str, list[str]]) -> list[Any]:
        """Return what is there and has the stack's tag, over all pages."""
        told = [{"Name": name, "Values": values} for name, values in (("tag:owner", [self.owner]), *filters)]
        return self.asked(operation, key, Filters=told)

    def asked(self, operation: str, key: str, **arguments: Any) -> list[Any]:
        """Return a list that AWS gives, over all pages."""

        def ask() -> list[Any]:
            if self.ec2.can_paginate(operation):
                pages = self.ec2.get_paginator(operation).paginate(**arguments)
                return [each for page in pages for each in page[key]]
            return list(getattr(self.ec2, operation)(**arguments)[key])

        return asked(self.name, ask)


def sweep(region: str, owner: str, state: RentedThere, say: Say, *, act: bool) -> list[str]:
    """Find what the state does not know, and take it away.

    Args:
        region: AWS's name of it.
        owner: the mark that the stack's things carry as their tag ``owner``.
        state: what the stack's state has in AWS.
        say: is told what is removed.
        act: whether to take it away, or only to name it.

    Returns:
        One line for each thing, such as ``machine stage-db1 in AWS eu-central-1``.

    Raises:
        UnderstudyError: AWS does not answer, or refuses.
    """
    ec2 = client(session_in(region), "ec2", region)
    there = Region(name=region, ec2=ec2, owner=owner, known=state.identifiers, begun=state.begun)
    return taken_away(f"AWS {region}", (partial(sort, there) for sort in _SORTS), say, act=act)


def _thing(
    there: Region, sort: str, each: Any, identifier: str, remove: Callable[[], None], inside: Collection[str] = ()
) -> Thing:
    """Return something that a state does not know, and that has a tag.

    Args:
        there: the region.
        sort: what it is.
        each: AWS's description of it.
        identifier: AWS's name of it.
        remove: takes it away.
        inside: what it is in or on, of which the state has to know all.
    """
    name = _name(each) or identifier
    ours = {*inside} <= there.known and not there.begun.isdisjoint((name, identifier))
    return Thing(sort=sort, name=name, ours=ours, remove=partial(asked, there.name, remove))


def _name(thing: Any) -> str:
    return next((str(tag["Value"]) for tag in thing.get("Tags") or () if tag["Key"] == "Name"), "")


def _running(there: Region) -> list[Any]:
    groups = there.listed("describe_instances", "Reservations", ("instance-state-name", _ALIVE))
    return [each for group in groups for each in group["Instances"]]


def _machines(there: Region) -> Iterator[Thing]:
    for each in _running(there):
        if (identifier := each["InstanceId"]) not in there.known:
            yield _thing(there, "machine", each, identifier, _ended(there, identifier), [each["SubnetId"]])


def _ended(there: Region, identifier: str) -> Callable[[], None]:
    def end() -> None:
        there.ec2.terminate_instances(InstanceIds=[identifier])
        there.ec2.get_waiter("instance_terminated").wait(InstanceIds=[identifier], WaiterConfig=_patience())

    return end


def _patience() -> dict[str, int]:
    return {"Delay": _STOPS_SECONDS, "MaxAttempts": _TIMES}


def _disks(there: Region) -> Iterator[Thing]:
    """Yield disks; a system disk, which no state knows, goes with its machine."""
    systems = {
        one["Ebs"]["VolumeId"]
        for each in _running(there)
        for one in each.get("BlockDeviceMappings") or ()
        if one["Ebs"].get("DeleteOnTermination")
    }
    for each in there.listed("describe_volumes", "Volumes", ("status", ["creating", "available", "in-use"])):
        if (identifier := each["VolumeId"]) not in there.known | systems:
            plugged = [one["InstanceId"] for one in each.get("Attachments") or ()]
            remove = _removed_disk(there, identifier, plugged)
            yield _thing(there, "disk", each, identifier, remove, plugged)


def _removed_disk(there: Region, identifier: str, machines: list[str]) -> Callable[[], None]:
    def remove() -> None:
        for machine in machines:
            there.ec2.detach_volume(VolumeId=identifier, InstanceId=machine)
        there.ec2.get_waiter("volume_available").wait(VolumeIds=[identifier], WaiterConfig=_patience())
        there.ec2.delete_volume(VolumeId=identifier)

    return remove


def _addresses(there: Region) -> Iterator[Thing]:
    for each in there.listed("describe_addresses", "Addresses"):
        if (identifier := each["AllocationId"]) not in there.known:
            yield _thing(there, "address", each, identifier, _released(there, identifier, each.get("AssociationId")))


def _released(there: Region, identifier: str, association: str | None) -> Callable[[], None]:
    def release() -> None:
        if association:
            there.ec2.disassociate_address(AssociationId=association)
        there.ec2.release_address(AllocationId=identifier)

    return release


def _called(there: Region, operation: str, **arguments: Any) -> Callable[[], None]:
    def call() -> None:
        getattr(there.ec2, operation)(**arguments)

    return call


def _plain(sort: str, plural: str, listed: str, key: str, delete: str) -> Callable[[Region], Iterator[Thing]]:
    """Return what finds things that one call takes away.

    Args:
        sort: what one is called in front of users.
        plural: what they are called in the name of the call that lists them.
        listed: and in its answer.
        key: the identifier of one, in the answer and in the call that takes it away.
        delete: that call.
    """

    def find(there: Region) -> Iterator[Thing]:
        for each in there.listed(f"describe_{plural}", listed):
            if (identifier := each[key]) not in there.known and each.get("State", "").lower() not in _GOING:
                told = {f"{key}s": [identifier]} if delete.endswith("s") else {key: identifier}
                inside = [each["VpcId"]] if "VpcId" in each and key != "VpcId" else []
                yield _thing(there, sort, each, identifier, _called(there, delete, **told), inside)

    return find


def _gateways(there: Region) -> Iterator[Thing]:
    for each in there.listed("describe_internet_gateways", "InternetGateways"):
        if (identifier := each["InternetGatewayId"]) not in there.known:
            networks = [one["VpcId"] for one in each.get("Attachments") or ()]
            remove = _unplugged(there, identifier, networks)
            yield _thing(there, "gateway", each, identifier, remove, networks)


def _unplugged(there: Region, identifier: str, networks: list[str]) -> Callable[[], None]:
    def remove() -> None:
        for network in networks:
            there.ec2.detach_internet_gateway(InternetGatewayId=identifier, VpcId=network)
        there.ec2.delete_internet_gateway(InternetGatewayId=identifier)

    return remove


def _rules(there: Region) -> Iterator[Thing]:
    """Yield the rules of fences that stay: a second one like it AWS would refuse, and one by hand is a hole."""
    groups = [each["GroupId"] for each in there.listed("describe_security_groups", "SecurityGroups")]
    if not (mine := [group for group in groups if group in there.known]):
        return
    of = [{"Name": "group-id", "Values": mine}]
    for each in there.asked("describe_security_group_rules", "SecurityGroupRules", Filters=of):
        if (identifier := each["SecurityGroupRuleId"]) not in there.known:
            way = "egress" if each["IsEgress"] else "ingress"
            told = {"GroupId": each["GroupId"], "SecurityGroupRuleIds": [identifier]}
            remove = partial(asked, there.name, _called(there, f"revoke_security_group_{way}", **told))
            yield Thing(sort=f"rule of fence {each['GroupId']}", name=identifier, ours=True, remove=remove)


def _routes(there: Region) -> Iterator[Thing]:
    """Yield the ways out of networks that stay, each by the identifier that Terraform's provider makes of it."""
    networks = [each["VpcId"] for each in there.listed("describe_vpcs", "Vpcs")]
    if not (mine := [network for network in networks if network in there.known]):
        return
    for table in there.asked("describe_route_tables", "RouteTables", Filters=[{"Name": "vpc-id", "Values": mine}]):
        for each in table["Routes"]:
            to = each.get("DestinationCidrBlock", "")
            identifier = f"r-{table['RouteTableId']}{zlib.crc32(to.encode())}"
            if str(each.get("GatewayId", "")).startswith("igw-") and identifier not in there.known:
                told = {"RouteTableId": table["RouteTableId"], "DestinationCidrBlock": to}
                remove = partial(asked, there.name, _called(there, "delete_route", **told))
                yield Thing(sort=f"route to {to} in", name=table["RouteTableId"], ours=True, remove=remove)


_SORTS: tuple[Callable[[Region], Iterator[Thing]], ...] = (
    _machines,
    _disks,
    _addresses,
    _plain("key", "key_pairs", "KeyPairs", "KeyName", "delete_key_pair"),
    _plain("way to a service", "vpc_endpoints", "VpcEndpoints", "VpcEndpointId", "delete_vpc_endpoints"),
    _plain("fence", "security_groups", "SecurityGroups", "GroupId", "delete_security_group"),
    _rules,
    _routes,
    _gateways,
    _plain("subnet", "subnets", "Subnets", "SubnetId", "delete_subnet"),
    _plain("network", "vpcs", "Vpcs", "VpcId", "delete_vpc"),
)
