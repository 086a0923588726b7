"""Machines in AWS: a network of their own with prod's plan of addresses, of which nothing but SSH from you gets in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import ResourceOptions

from components.backends import Built, Keys
from components.backends.aws_values import (
    ALL_PROTOCOLS,
    DATA_DEVICE_NAME,
    EVERYWHERE,
    SSH,
    credits_of,
    data_device,
    reading_policy,
)
from components.backends.cloud_values import identity, image_of, machines_of, opened, reach, region_of, sources, tags
from components.resources import SshKeypair
from components.site import Site
from model.cloud import refuse_plan
from model.cloud_init import user_data
from model.configuration import stack_file_name
from model.offsite import HTTPS
from model.rented import AWS_IMAGE, gib, system_disk_gib
from model.topology import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsGround:
    """What the machines of a stack in one region stand on.

    Args:
        region: AWS's name of where that is.
        fence: what a machine needs before it starts: all rules of who may speak with it.
        opened: the groups of machines that everybody reaches at some ports, or may one day, by the machine's name.
        image_id: Debian's newest image there.
    """

    region: str
    provider: aws.Provider
    subnet: aws.ec2.Subnet
    group: aws.ec2.SecurityGroup
    fence: tuple[pulumi.Resource, ...]
    opened: Mapping[str, aws.ec2.SecurityGroup]
    image_id: pulumi.Output[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsMachine:
    """A machine as AWS has it, before the first word with it.

    Args:
        first: its host key for the first contact.
        data: its data disk, and where that is plugged in; None where it has none.
    """

    instance: aws.ec2.Instance
    first: SshKeypair
    data: tuple[aws.ebs.Volume, aws.ec2.VolumeAttachment] | None


def build_ground(site: Site, host: str, parent: pulumi.Resource) -> AwsGround:
    """Build a network that has prod's addresses, no name service and no way out, and its fence."""
    network, region = site.environment.topology.network, region_of(site, host)
    where = stack_file_name(site.environment.mirror_of or site.environment.stack)
    refuse_plan("aws", network, machines_of(site, host), where)
    provider = aws.Provider(f"aws-{host}", region=region, opts=ResourceOptions(parent=parent))
    inside = ResourceOptions(parent=parent, provider=provider)
    vpc = aws.ec2.Vpc(
        f"vpc-{host}",
        cidr_block=str(network),
        # Names are asked for past the security groups: AWS's own server would be a way out.
        enable_dns_support=False,
        enable_dns_hostnames=False,
        tags=_tags(site, "network"),
        opts=inside,
    )
    zones = aws.get_availability_zones_output(state="available", opts=pulumi.InvokeOutputOptions(provider=provider))
    subnet = aws.ec2.Subnet(
        f"subnet-{host}",
        vpc_id=vpc.id,
        cidr_block=str(network),
        availability_zone=zones.names.apply(min),
        tags=_tags(site, "network"),
        opts=ResourceOptions.merge(inside, ResourceOptions(ignore_changes=["availabilityZone"])),
    )
    _build_way_in(site, host, vpc, inside)
    group, rules = _build_fence(site, host, vpc, inside)
    wanted = image_of(site, host, AWS_IMAGE)
    image = aws.ec2.get_ami_output(
        most_recent=True,
        owners=[wanted.owner],
        filters=[
            {"name": "name", "values": [wanted.name]},
            {"name": "virtualization-type", "values": ["hvm"]},
        ],
        opts=pulumi.InvokeOutputOptions(provider=provider),
    )
    return AwsGround(
        region=region,
        provider=provider,
        subnet=subnet,
        group=group,
        fence=rules,
        opened=_build_opened(site, host, vpc, inside),
        image_id=image.id,
    )


def build_machine(site: Site, ground: AwsGround, machine: Machine, keys: Keys, parent: pulumi.Resource) -> Built:
    """Build one machine, up to its first command."""
    made = build_hardware(site, ground, machine, keys, parent)
    disks: list[pulumi.Resource] = [made.data[1]] if made.data else []
    disk_ids = [made.data[0].id] if made.data else []
    return reach(
        site,
        machine,
        keys,
        made.first,
        made.instance,
        made.instance.public_ip,
        disks,
        disk_ids,
        parent,
        backend="aws",
        host=f"AWS, {ground.region}",
        data_device=made.data[0].id.apply(data_device) if made.data else "",
    )


def build_hardware(site: Site, ground: AwsGround, machine: Machine, keys: Keys, parent: pulumi.Resource) -> AwsMachine:
    """Build what costs money: the machine with its system disk, and its data disk apart from it."""
    opts = ResourceOptions(parent=parent, provider=ground.provider)
    first = SshKeypair(f"{machine.name}-first", comment=machine.name, opts=ResourceOptions(parent=parent))
    login = aws.ec2.KeyPair(
        machine.name,
        key_name=tags(site, machine.name)["owner"] + f"-{machine.name}",
        public_key=keys.controller.public_key,
        tags=_tags(site, machine.name),
        opts=ResourceOptions.merge(opts, ResourceOptions(delete_before_replace=True)),
    )
    instance = aws.ec2.Instance(
        machine.name,
        ami=ground.image_id,
        instance_type=(kind := site.placement.machine(machine.name).instance_type),
        subnet_id=ground.subnet.id,
        private_ip=str(machine.address),
        associate_public_ip_address=True,
        vpc_security_group_ids=[ground.group.id, *([more.id] if (more := ground.opened.get(machine.name)) else [])],
        key_name=login.key_name,
        user_data=_user_data(site, machine, keys, first),
        user_data_replace_on_change=True,
        # A program that can be talked into fetching an address reads nothing there, nor does a container.
        metadata_options={"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1},
        root_block_device={
            "volume_size": system_disk_gib(machine),
            "volume_type": "gp3",
            "encrypted": True,
            "delete_on_termination": True,
        },
        volume_tags=_tags(site, f"{machine.name}-system"),
        credit_specification=credits_of(kind),
        tags=_tags(site, machine.name),
        opts=ResourceOptions.merge(
            opts,
            ResourceOptions(
                depends_on=list(ground.fence),
                # A newer image of Debian's is no reason to make a machine anew; and the tags are for the system disk,
                # but AWS's provider would put them on each disk that is plugged in later.
                ignore_changes=["ami", "volumeTags"],
                delete_before_replace=True,
            ),
        ),
    )
    return AwsMachine(instance=instance, first=first, data=_build_data(site, ground, machine, instance, opts))


def _build_way_in(site: Site, host: str, vpc: aws.ec2.Vpc, inside: ResourceOptions) -> None:
    """Build the route on which answers to SSH leave; the fence lets nothing else use it."""
    gateway = aws.ec2.InternetGateway(f"gateway-{host}", vpc_id=vpc.id, tags=_tags(site, "network"), opts=inside)
    aws.ec2.Route(
        f"route-{host}",
        route_table_id=vpc.main_route_table_id,
        destination_cidr_block=EVERYWHERE,
        gateway_id=gateway.id,
        opts=inside,
    )


def _build_fence(
    site: Site, host: str, vpc: aws.ec2.Vpc, inside: ResourceOptions
) -> tuple[aws.ec2.SecurityGroup, tuple[pulumi.Resource, ...]]:
    """Build the fence: in comes SSH from where you are; machines speak with each other; nothing gets out.

    Each rule is a resource of its own: AWS says so, and rules within a group crash an older provider's second preview.
    """
    group = aws.ec2.SecurityGroup(
        f"fence-{host}",
        description=f"understudy, stack {site.environment.stack}: nothing gets out",
        vpc_id=vpc.id,
        revoke_rules_on_delete=True,
        tags=_tags(site, "fence"),
        opts=inside,
    )
    among = {"security_group_id": group.id, "source_security_group_id": group.id}
    everything = {"protocol": ALL_PROTOCOLS, "from_port": 0, "to_port": 0}
    # One for each network: of two rules that overlap AWS refuses the second, and a changed one is made anew.
    ways_in = [
        aws.ec2.SecurityGroupRule(
            f"ssh-{host}-{source.replace('/', '-')}",
            type="ingress",
            security_group_id=group.id,
            protocol="tcp",
            from_port=SSH,
            to_port=SSH,
            cidr_blocks=[source],
            opts=inside,
        )
        for source in sources(site)
    ]
    into = aws.ec2.SecurityGroupRule(f"into-{host}", type="ingress", **among, **everything, opts=inside)
    out = aws.ec2.SecurityGroupRule(f"out-{host}", type="egress", **among, **everything, opts=inside)
    return group, (*ways_in, into, out, *_build_way_to_copy(site, host, vpc, group, inside))


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
        tags=_tags(site, "copy"),
        opts=inside,
    )
    ports = {"from_port": HTTPS, "to_port": HTTPS, "prefix_list_ids": [endpoint.prefix_list_id]}
    return endpoint, aws.ec2.SecurityGroupRule(f"copy-{host}", **common, **ports, opts=inside)


def _build_opened(site: Site, host: str, vpc: aws.ec2.Vpc, inside: ResourceOptions) -> dict[str, aws.ec2.SecurityGroup]:
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
            tags=_tags(site, f"open-{name}"),
            opts=inside,
        )
        for port in ports:
            aws.ec2.SecurityGroupRule(
                f"open-{host}-{name}-{port}",
                type="ingress",
                security_group_id=groups[name].id,
                protocol="tcp",
                from_port=port,
                to_port=port,
                cidr_blocks=[EVERYWHERE],
                opts=inside,
            )
    return groups


def _build_data(
    site: Site, ground: AwsGround, machine: Machine, instance: aws.ec2.Instance, opts: ResourceOptions
) -> tuple[aws.ebs.Volume, aws.ec2.VolumeAttachment] | None:
    """Build the data disk: it outlives its machine, and is unplugged only from one that was shut down."""
    if not machine.data_disk_mib:
        return None
    volume = aws.ebs.Volume(
        f"{machine.name}-data",
        availability_zone=ground.subnet.availability_zone,
        size=gib(machine.data_disk_mib),
        type="gp3",
        encrypted=True,
        tags=_tags(site, f"{machine.name}-data"),
        opts=ResourceOptions.merge(opts, ResourceOptions(protect=site.environment.settings.protect)),
    )
    plugged = aws.ec2.VolumeAttachment(
        f"{machine.name}-data",
        device_name=DATA_DEVICE_NAME,
        instance_id=instance.id,
        volume_id=volume.id,
        stop_instance_before_detaching=True,
        opts=ResourceOptions.merge(opts, ResourceOptions(delete_before_replace=True)),
    )
    return volume, plugged


def _user_data(site: Site, machine: Machine, keys: Keys, first: SshKeypair) -> pulumi.Output[str]:
    def told(values: list[str]) -> str:
        who = identity(site, machine, values[0])
        return user_data(who, private_key=values[1], public_key=values[2])

    return pulumi.Output.all(keys.controller.public_key, first.private_key, first.public_key).apply(told)


def _tags(site: Site, name: str) -> dict[str, str]:
    """Return AWS's tags: it shows a resource by ``Name``."""
    mine = tags(site, name)
    return {"Name": mine.pop("name"), **mine}
