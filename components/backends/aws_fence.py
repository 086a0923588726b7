"""The fence of a stack in AWS: who may speak with its machines, whom they reach, and what everybody reaches of them."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pulumi
import pulumi_aws as aws
from pulumi import ResourceOptions

from components.backends.aws_values import ALL_PROTOCOLS, EVERYWHERE, SSH, reading_policy
from components.backends.cloud_values import machines_of, opened, region_of, sources, tags, tunnel_ways
from components.site import Site
from model.offsite import HTTPS


def build_way_in(site: Site, host: str, vpc: aws.ec2.Vpc, inside: ResourceOptions) -> None:
    """Build the route on which answers to SSH leave; the fence lets nothing else use it."""
    gateway = aws.ec2.InternetGateway(f"gateway-{host}", vpc_id=vpc.id, tags=tagged(site, "network"), opts=inside)
    aws.ec2.Route(
        f"route-{host}",
        route_table_id=vpc.main_route_table_id,
        destination_cidr_block=EVERYWHERE,
        gateway_id=gateway.id,
        opts=inside,
    )


def build_fence(
    site: Site,
    host: str,
    vpc: aws.ec2.Vpc,
    public: Mapping[str, pulumi.Input[str]],
    inside: ResourceOptions,
) -> tuple[aws.ec2.SecurityGroup, tuple[pulumi.Resource, ...]]:
    """Build the fence: in comes SSH from where you are; machines speak with each other; nothing gets out.

    Where some of the stack's machines are elsewhere, their tunnels come in, too, and others go out to those in clouds.
    Each rule is a resource of its own: AWS says so, and rules within a group crash an older provider's second preview.
    """
    group = aws.ec2.SecurityGroup(
        f"fence-{host}",
        description=f"understudy, stack {site.environment.stack}: nothing gets out",
        vpc_id=vpc.id,
        revoke_rules_on_delete=True,
        tags=tagged(site, "fence"),
        opts=inside,
    )
    among = {"security_group_id": group.id, "source_security_group_id": group.id}
    everything = {"protocol": ALL_PROTOCOLS, "from_port": 0, "to_port": 0}
    # One for each network: of two rules that overlap AWS refuses the second, and a changed one is made anew.
    ways_in = [
        _let(f"ssh-{host}-{source.replace('/', '-')}", "ingress", group, "tcp", (SSH, SSH), source, inside)
        for source in sources(site)
    ]
    into = aws.ec2.SecurityGroupRule(f"into-{host}", type="ingress", **among, **everything, opts=inside)
    out = aws.ec2.SecurityGroupRule(f"out-{host}", type="egress", **among, **everything, opts=inside)
    tunnels = _let_tunnels(site, host, group, public, inside)
    return group, (*ways_in, *tunnels, into, out, *_build_way_to_copy(site, host, vpc, group, inside))


def _let_tunnels(
    site: Site,
    host: str,
    group: aws.ec2.SecurityGroup,
    public: Mapping[str, pulumi.Input[str]],
    inside: ResourceOptions,
) -> list[aws.ec2.SecurityGroupRule]:
    """Build the rules for tunnels: they come in from machines elsewhere, and go out to those in other clouds."""
    if (ways := tunnel_ways(site, host, public)) is None:
        return []
    rules = [
        _let(f"tunnels-{host}-{source.replace('/', '-')}", "ingress", group, "udp", ways.ports, source, inside)
        for source in ways.computers
    ]
    for name, network in ways.clouds.items():
        rules += [
            _let(f"tunnels-{host}-{side}-{name}", kind, group, "udp", ways.ports, network, inside)
            for side, kind in (("from", "ingress"), ("to", "egress"))
        ]
    return rules


def _let(
    name: str,
    kind: str,
    group: aws.ec2.SecurityGroup,
    protocol: str,
    ports: tuple[int, int],
    network: pulumi.Input[str],
    inside: ResourceOptions,
) -> aws.ec2.SecurityGroupRule:
    """Build the rule that lets a network in (``ingress``) or reaches one, at the ports from the first to the last."""
    return aws.ec2.SecurityGroupRule(
        name,
        type=kind,
        security_group_id=group.id,
        protocol=protocol,
        from_port=ports[0],
        to_port=ports[1],
        cidr_blocks=[network],
        opts=inside,
    )


def _build_way_to_copy(
    site: Site, host: str, vpc: aws.ec2.Vpc, group: aws.ec2.SecurityGroup, inside: ResourceOptions
) -> tuple[pulumi.Resource, ...]:
    """Build the one way out, to the off-site copy that fills the stack; within AWS it is for reading alone."""
    copy = site.environment.copy
    if copy is None:
        return ()
    common = {"type": "egress", "security_group_id": group.id, "protocol": "tcp"}
    if copy.networks:
        where = {"cidr_blocks": [str(network) for network in copy.networks]}
        return tuple(
            aws.ec2.SecurityGroupRule(
                f"copy-{host}-{port}", **common, **where, from_port=port, to_port=port, opts=inside
            )
            for port in copy.ports
        )
    endpoint = aws.ec2.VpcEndpoint(
        f"copy-{host}",
        vpc_id=vpc.id,
        vpc_endpoint_type="Gateway",
        service_name=f"com.amazonaws.{region_of(site, host)}.s3",
        route_table_ids=[vpc.main_route_table_id],
        policy=json.dumps(reading_policy([store.bucket for store in copy.stores])),
        tags=tagged(site, "copy"),
        opts=inside,
    )
    ports = {"from_port": HTTPS, "to_port": HTTPS, "prefix_list_ids": [endpoint.prefix_list_id]}
    return endpoint, aws.ec2.SecurityGroupRule(f"copy-{host}", **common, **ports, opts=inside)


def build_opened(site: Site, host: str, vpc: aws.ec2.Vpc, inside: ResourceOptions) -> dict[str, aws.ec2.SecurityGroup]:
    """Build a group for each machine that everybody reaches at some ports.

    Where prod's users may come one day, each machine has one from the first: then a rule lets them in, and no machine
    is touched.
    """
    groups, ports_of = {}, opened(site, host)
    if site.environment.copy:
        ports_of = {machine.name: ports_of.get(machine.name, ()) for machine in machines_of(site, host)}
    for name, ports in ports_of.items():
        groups[name] = aws.ec2.SecurityGroup(
            f"open-{host}-{name}",
            description=f"understudy, stack {site.environment.stack}: what everybody reaches of {name}",
            vpc_id=vpc.id,
            revoke_rules_on_delete=True,
            tags=tagged(site, f"open-{name}"),
            opts=inside,
        )
        for port in ports:
            _let(f"open-{host}-{name}-{port}", "ingress", groups[name], "tcp", (port, port), EVERYWHERE, inside)
    return groups


def tagged(site: Site, name: str) -> dict[str, str]:
    """Return AWS's tags: it shows a resource by ``Name``."""
    mine = tags(site, name)
    return {"Name": mine.pop("name"), **mine}
