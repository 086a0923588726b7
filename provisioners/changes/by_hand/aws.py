"""What is typed instead of what is built in AWS around its machines: the same with ``aws ec2``. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from model.change import Step
from model.change.document import Part
from model.change.planned import Planned
from provisioners.changes.by_hand import aws_machines
from provisioners.changes.by_hand.aws_commands import (
    ONE_SHELL,
    ec2,
    id_,
    made,
    main_table,
    me,
    tags,
    whole,
)
from provisioners.changes.by_hand.common import fed, known, number, part, to_fill_in, typed, variable_of
from provisioners.changes.by_hand.networks import joined, listed, networks
from provisioners.commands import Variable, line_with

_FENCE_ENDS = json.dumps([{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])


def _vpc(planned: Planned) -> tuple[Part, ...]:
    values = planned.after
    argv = ec2(planned, "create-vpc", "--cidr-block", str(values.get("cidrBlock")), *tags(planned, "vpc"))
    quiet = ec2(planned, "modify-vpc-attribute", "--vpc-id", me(planned), "--no-enable-dns-support")
    lines = [made(planned, "Vpc.VpcId", argv), *([] if values.get("enableDnsSupport") else [quiet])]
    end = ec2(planned, "delete-vpc", "--vpc-id", me(planned))
    return whole(planned, "The network", (typed("make it", *lines),), (typed("remove it", end),))


def _subnet(planned: Planned) -> tuple[Part, ...]:
    values = planned.after
    block = ("--vpc-id", id_(planned, "vpcId"), "--cidr-block", str(values.get("cidrBlock")))
    zone = ("--availability-zone", str(values.get("availabilityZone")))
    line = made(planned, "Subnet.SubnetId", ec2(planned, "create-subnet", *block, *zone, *tags(planned, "subnet")))
    end = ec2(planned, "delete-subnet", "--subnet-id", me(planned))
    return whole(planned, "The subnet", (typed("make it", line),), (typed("remove it", end),))


def _gateway(planned: Planned) -> tuple[Part, ...]:
    make = ec2(planned, "create-internet-gateway", *tags(planned, "internet-gateway"))
    both = ("--internet-gateway-id", me(planned), "--vpc-id", id_(planned, "vpcId"))
    lines = made(planned, "InternetGateway.InternetGatewayId", make), ec2(planned, "attach-internet-gateway", *both)
    end = (
        ec2(planned, "detach-internet-gateway", *both),
        ec2(planned, "delete-internet-gateway", "--internet-gateway-id", me(planned)),
    )
    return whole(planned, "The gateway", (typed("make it and plug it in", *lines),), (typed("remove it", *end),))


def _route(planned: Planned) -> tuple[Part, ...]:
    values = planned.after or planned.before
    asked, table = main_table(planned, "routeTableId")
    to = ("--route-table-id", table, "--destination-cidr-block", str(values.get("destinationCidrBlock")))
    make = typed("make it", *asked, ec2(planned, "create-route", *to, "--gateway-id", id_(planned, "gatewayId")))
    end = typed("remove it", ec2(planned, "delete-route", *to))
    return whole(planned, "The route", (make,), (end,))


def _endpoint(planned: Planned) -> tuple[Part, ...]:
    values = planned.after
    asked, table = main_table(planned, "routeTableIds")
    what = ("--vpc-endpoint-type", str(values.get("vpcEndpointType")), "--service-name", str(values.get("serviceName")))
    where = ("--vpc-id", id_(planned, "vpcId"), "--route-table-ids", table)
    allowed = ("--policy-document", str(values.get("policy")))
    make = ec2(planned, "create-vpc-endpoint", *where, *what, *allowed, *tags(planned, "vpc-endpoint"))
    lines = (*asked, made(planned, "VpcEndpoint.VpcEndpointId", make))
    end = typed("remove it", ec2(planned, "delete-vpc-endpoints", "--vpc-endpoint-ids", me(planned)))
    return whole(planned, "The way to AWS's own service", (typed("make it", *lines),), (end,))


def _group(planned: Planned) -> tuple[Part, ...]:
    values = planned.after
    what = ("--group-name", str(values.get("name")), "--description", str(values.get("description")))
    make = ec2(
        planned, "create-security-group", *what, "--vpc-id", id_(planned, "vpcId"), *tags(planned, "security-group")
    )
    shut = ("--group-id", me(planned), "--ip-permissions", _FENCE_ENDS)
    lines = made(planned, "GroupId", make), ec2(planned, "revoke-security-group-egress", *shut)
    end = ec2(planned, "delete-security-group", "--group-id", me(planned))
    return whole(planned, "The fence", (typed("make it, and let nothing out", *lines),), (typed("remove it", end),))


def _rule(planned: Planned) -> tuple[Part, ...]:
    make, end = _allow(planned, planned.after or planned.before)
    if planned.operation == "replace":
        there, gone = _allow(planned, planned.before)
        effect = f"The fence's rule {planned.name} changes: the new one is there before the old one goes."
        return (part(planned, effect, (make, gone), (there, end), ONE_SHELL),)
    return whole(planned, "The fence's rule", (make,), (end,))


def _allow(planned: Planned, values: Mapping[str, Any]) -> tuple[Step, Step]:
    """Return what is typed to have a rule with these inputs, and to have it no more."""
    protocol, way = str(values.get("protocol")), str(values.get("type"))
    ports = f",FromPort={number(values, 'fromPort')},ToPort={number(values, 'toPort')}" if protocol != "-1" else ""
    begin = f"IpProtocol={protocol}{ports}"
    told: str | Variable
    asked: tuple[str, ...] = ()
    if lists := values.get("prefixListIds"):
        asked, told = _prefix_list(planned, str(lists[0]), f"{begin},PrefixListIds=[{{PrefixListId=", "}]")
    elif sources := values.get("cidrBlocks"):
        asked, found = networks(planned, "cidrBlocks", sources)
        told = joined(f"{begin},IpRanges=[", *listed([("{CidrIp=", *each, "}") for each in found]), "]")
    else:
        told = id_(planned, "sourceSecurityGroupId", f"{begin},UserIdGroupPairs=[{{GroupId=", "}]")
    arguments = ("--group-id", id_(planned, "securityGroupId"), "--ip-permissions", told)
    make = typed("allow it", *asked, ec2(planned, f"authorize-security-group-{way}", *arguments))
    end = typed("allow it no more", ec2(planned, f"revoke-security-group-{way}", *arguments))
    return make, end


def _prefix_list(planned: Planned, value: str, before: str, after: str) -> tuple[tuple[str, ...], str | Variable]:
    """Return the lines that ask for the networks of AWS's own service, where they are not known, and the argument."""
    if known(value):
        return (), f"{before}{value}{after}"
    service = str(planned.needs["prefixListIds"][0].inputs.get("serviceName"))
    of = ("--filters", f"Name=prefix-list-name,Values={service}", "--query", "PrefixLists[0].PrefixListId")
    into = f"{variable_of(planned.kind, planned.name)}_networks"
    line = line_with(ec2(planned, "describe-prefix-lists", *of, "--output", "text"), into=into)
    return (line,), Variable(name=into, before=before, after=after)


def _key(planned: Planned) -> tuple[Part, ...]:
    values = planned.after or planned.before
    name, key = str(values.get("keyName")), values.get("publicKey")
    file = f"{name}.pub"
    argv = ("import-key-pair", "--key-name", name, "--public-key-material")
    steps: list[Step]
    if isinstance(key, str) and known(key):
        line = [str(each) for each in ec2(planned, *argv, "fileb:///dev/stdin", *tags(planned, "key-pair"))]
        steps = [fed("bring the key", key, *line)]
    else:
        where = "write the public half of the key that is to open the machine into the file"
        bring = ec2(planned, *argv, f"fileb://{file}", *tags(planned, "key-pair"))
        steps = [to_fill_in("the key", f"{where} `{file}`."), typed("bring the key", bring)]
    end = ec2(planned, "delete-key-pair", "--key-name", name)
    return whole(planned, "The key", steps, (typed("remove it", end),))


BUILDERS: Mapping[str, Callable[[Planned], tuple[Part, ...]]] = {
    "aws:ec2/vpc:Vpc": _vpc,
    "aws:ec2/subnet:Subnet": _subnet,
    "aws:ec2/internetGateway:InternetGateway": _gateway,
    "aws:ec2/route:Route": _route,
    "aws:ec2/vpcEndpoint:VpcEndpoint": _endpoint,
    "aws:ec2/securityGroup:SecurityGroup": _group,
    "aws:ec2/securityGroupRule:SecurityGroupRule": _rule,
    "aws:ec2/keyPair:KeyPair": _key,
    **aws_machines.BUILDERS,
}
