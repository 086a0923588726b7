"""Machines in AWS: a network of their own with prod's plan of addresses, of which nothing but SSH from you gets in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import ResourceOptions

from components.backends import Built, Keys, Reserved
from components.backends.aws_fence import build_fence, build_opened, build_way_in, tagged
from components.backends.aws_values import DATA_DEVICE_NAME, credits_of, data_device
from components.backends.cloud_values import (
    Region,
    image_of,
    machines_of,
    once_of_its_machine,
    reach,
    refuse_unfit_plan,
    region_of,
    tags,
    told_at_first_boot,
)
from components.resources import SshKeypair
from components.site import Site
from model.rented import AWS_IMAGE, gib, system_disk_gib
from model.topology import Machine
from model.tunnels import is_spread

AwsRegion = Region[aws.Provider, aws.ec2.Eip]


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsGround:
    """What the machines of a stack in one region stand on.

    Args:
        region: AWS's name of where that is.
        addresses: those that machines keep, by their names; none where nobody names any.
        fence: what a machine needs before it starts: all rules of who may speak with it.
        opened: the groups of machines that everybody reaches at some ports, or may one day, by the machine's name.
        image_id: Debian's newest image there.
    """

    region: str
    provider: aws.Provider
    addresses: Mapping[str, aws.ec2.Eip]
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


def reserve(site: Site, host: str, parent: pulumi.Resource) -> Reserved[AwsRegion]:
    """Reserve the addresses that others name in their fences: AWS else gives another at each start of a machine."""
    refuse_unfit_plan(site, host, "aws")
    provider = aws.Provider(f"aws-{host}", region=region_of(site, host), opts=ResourceOptions(parent=parent))
    inside = ResourceOptions(parent=parent, provider=provider)
    addresses = {
        machine.name: aws.ec2.Eip(
            machine.name,
            domain="vpc",
            tags=tagged(site, f"{machine.name}-address"),
            opts=ResourceOptions.merge(inside, once_of_its_machine("aws:ec2/eip:Eip", machine.name)),
        )
        for machine in machines_of(site, host)
        if is_spread(site.placement)
    }
    public = {name: address.public_ip for name, address in addresses.items()}
    return Reserved(public=public, held=Region(provider=provider, addresses=addresses))


def build_ground(
    site: Site,
    host: str,
    held: AwsRegion,
    public: Mapping[str, pulumi.Input[str]],
    parent: pulumi.Resource,
) -> AwsGround:
    """Build a network that has prod's addresses, no name service and no way out, and its fence."""
    network, provider = site.environment.topology.network, held.provider
    inside = ResourceOptions(parent=parent, provider=provider)
    vpc = aws.ec2.Vpc(
        f"vpc-{host}",
        cidr_block=str(network),
        # Names are asked for past the security groups: AWS's own server would be a way out.
        enable_dns_support=False,
        enable_dns_hostnames=False,
        tags=tagged(site, "network"),
        opts=inside,
    )
    zones = aws.get_availability_zones_output(state="available", opts=pulumi.InvokeOutputOptions(provider=provider))
    subnet = aws.ec2.Subnet(
        f"subnet-{host}",
        vpc_id=vpc.id,
        cidr_block=str(network),
        availability_zone=zones.names.apply(min),
        tags=tagged(site, "network"),
        opts=ResourceOptions.merge(inside, ResourceOptions(ignore_changes=["availabilityZone"])),
    )
    build_way_in(site, host, vpc, inside)
    group, rules = build_fence(site, host, vpc, public, inside)
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
        region=region_of(site, host),
        provider=provider,
        addresses=held.addresses,
        subnet=subnet,
        group=group,
        fence=rules,
        opened=build_opened(site, host, vpc, inside),
        image_id=image.id,
    )


def build_machine(site: Site, ground: AwsGround, machine: Machine, keys: Keys, parent: pulumi.Resource) -> Built:
    """Build one machine, up to its first command."""
    made = build_hardware(site, ground, machine, keys, parent)
    disks: list[pulumi.Resource] = [made.data[1]] if made.data else []
    disk_ids = [made.data[0].id] if made.data else []
    address, plugged = _plug_in_address(ground, machine, made.instance, parent)
    return reach(
        site,
        machine,
        keys,
        made.first,
        made.instance,
        address,
        disks,
        disk_ids,
        parent,
        before=plugged,
        backend="aws",
        host=f"AWS, {ground.region}",
        data_device=made.data[0].id.apply(data_device) if made.data else "",
    )


def _plug_in_address(
    ground: AwsGround, machine: Machine, instance: aws.ec2.Instance, parent: pulumi.Resource
) -> tuple[pulumi.Output[str], tuple[pulumi.Resource, ...]]:
    """Return the machine's public address, and what has to be there before it is reached at it."""
    if (address := ground.addresses.get(machine.name)) is None:
        return instance.public_ip, ()
    plugged = aws.ec2.EipAssociation(
        machine.name,
        allocation_id=address.id,
        instance_id=instance.id,
        # It is taken away first, also from a machine that goes: AWS keeps an address that a machine has.
        opts=ResourceOptions(parent=parent, provider=ground.provider, delete_before_replace=True),
    )
    return address.public_ip, (plugged,)


def build_hardware(site: Site, ground: AwsGround, machine: Machine, keys: Keys, parent: pulumi.Resource) -> AwsMachine:
    """Build what costs money: the machine with its system disk, and its data disk apart from it."""
    opts = ResourceOptions(parent=parent, provider=ground.provider)
    first = SshKeypair(f"{machine.name}-first", comment=machine.name, opts=ResourceOptions(parent=parent))
    login = aws.ec2.KeyPair(
        machine.name,
        key_name=tags(site, machine.name)["owner"] + f"-{machine.name}",
        public_key=keys.controller.public_key,
        tags=tagged(site, machine.name),
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
        user_data=told_at_first_boot(site, machine, keys, first),
        user_data_replace_on_change=True,
        # A program that can be talked into fetching an address reads nothing there, nor does a container.
        metadata_options={"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1},
        root_block_device={
            "volume_size": system_disk_gib(machine),
            "volume_type": "gp3",
            "encrypted": True,
            "delete_on_termination": True,
        },
        volume_tags=tagged(site, f"{machine.name}-system"),
        credit_specification=credits_of(kind),
        tags=tagged(site, machine.name),
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
        tags=tagged(site, f"{machine.name}-data"),
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
