"""Machines in Azure: a network of their own with prod's addresses, of which nothing but SSH from you gets in."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_azure as azure
from pulumi import ResourceOptions

from components.backends import Built, Keys, Reserved
from components.backends.azure_values import (
    DATA_DEVICE,
    LEAST_SYSTEM_DISK_GIB,
    LUN,
    fence_rules,
    name_pattern,
)
from components.backends.cloud_values import (
    machines_of,
    once_of_its_machine,
    opened,
    reach,
    refuse_unfit_plan,
    region_of,
    sources,
    tags,
    told_at_first_boot,
    tunnel_ways,
)
from components.resources import SshKeypair
from components.site import Site
from model.cloud import subscription_of
from model.configuration import stack_file_name
from model.rented import AZURE_IMAGE, gib, system_disk_gib
from model.topology import Machine

# Source: Microsoft, "Standard SSDs": what is on sale in each region and for each size of machine.
_DISK_KIND = "StandardSSD_LRS"
# Azure wants one, and forbids root; cloud-init is told to make no such user.
_NOBODY = "understudy"


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureGroup:
    """A resource group with nothing in it but addresses.

    Args:
        group: its name.
        common: that and the place, which each thing in Azure names.
        addresses: of each machine, by its name.
    """

    provider: azure.Provider
    group: pulumi.Output[str]
    common: Mapping[str, Any]
    addresses: Mapping[str, azure.network.PublicIp]


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureGround:
    """What the machines of a stack in one region stand on.

    Args:
        region: Azure's name of where that is.
        common: the resource group and the place, which each thing in Azure names.
        addresses: of each machine, by its name.
        fence: what a machine needs before it starts: the rules, and that the subnet has them.
        image: what a machine's system disk is made of.
    """

    region: str
    provider: azure.Provider
    common: Mapping[str, Any]
    addresses: Mapping[str, azure.network.PublicIp]
    subnet: azure.network.Subnet
    fence: tuple[pulumi.Resource, ...]
    image: Mapping[str, Any]


def reserve(site: Site, host: str, parent: pulumi.Resource) -> Reserved[AzureGroup]:
    """Build the group that all goes with, and the machines' addresses in it, which fences elsewhere name."""
    region, stack = region_of(site, host), site.environment.stack
    subscription = subscription_of(site.environment.settings.cloud, stack_file_name(stack))
    refuse_unfit_plan(site, host, "azure")
    provider = azure.Provider(
        f"azure-{host}",
        features={},
        subscription_id=subscription,
        # What Azure has to be told once about a subscription is looked at beforehand; to tell it is its owner's.
        resource_provider_registrations="none",
        opts=ResourceOptions(parent=parent),
    )
    inside = ResourceOptions(parent=parent, provider=provider)
    group = azure.core.ResourceGroup(
        f"group-{host}",
        name=f"{tags(site, '')['owner']}-{host}",
        location=region,
        tags=tags(site, "group"),
        opts=inside,
    )
    common = {"resource_group_name": group.name, "location": region}
    addresses = {
        machine.name: azure.network.PublicIp(
            machine.name,
            name=machine.name,
            allocation_method="Static",
            sku="Standard",  # which lets nothing through that no rule allows
            tags=tags(site, f"{machine.name}-address"),
            **common,
            opts=ResourceOptions.merge(inside, once_of_its_machine("azure:network/publicIp:PublicIp", machine.name)),
        )
        for machine in machines_of(site, host)
    }
    return Reserved(
        public={name: address.ip_address for name, address in addresses.items()},
        held=AzureGroup(provider=provider, group=group.name, common=common, addresses=addresses),
    )


def build_ground(
    site: Site,
    host: str,
    held: AzureGroup,
    public: Mapping[str, pulumi.Input[str]],
    parent: pulumi.Resource,
) -> AzureGround:
    """Build a network that has prod's addresses, and its fence."""
    plan, provider, common = site.environment.topology.network, held.provider, held.common
    inside = ResourceOptions(parent=parent, provider=provider)
    network = azure.network.VirtualNetwork(
        f"network-{host}",
        name="network",
        address_spaces=[str(plan)],
        tags=tags(site, "network"),
        **common,
        opts=inside,
    )
    subnet = azure.network.Subnet(
        f"subnet-{host}",
        name="subnet",
        resource_group_name=held.group,
        virtual_network_name=network.name,
        address_prefixes=[str(plan)],
        default_outbound_access_enabled=False,
        opts=inside,
    )
    return AzureGround(
        region=region_of(site, host),
        provider=provider,
        common=common,
        addresses=held.addresses,
        subnet=subnet,
        fence=_build_fence(site, host, subnet, common, public, inside),
        image=_image(site, host, pulumi.InvokeOutputOptions(provider=provider)),
    )


def _build_fence(
    site: Site,
    host: str,
    subnet: azure.network.Subnet,
    common: Mapping[str, Any],
    public: Mapping[str, pulumi.Input[str]],
    inside: ResourceOptions,
) -> tuple[pulumi.Resource, ...]:
    """Build the fence. Its rules are part of it, and so they change all at once."""
    fence = azure.network.NetworkSecurityGroup(
        f"fence-{host}",
        name="fence",
        security_rules=_rules(site, host, public),
        tags=tags(site, "fence"),
        **common,
        opts=inside,
    )
    around = azure.network.SubnetNetworkSecurityGroupAssociation(
        f"fence-{host}", subnet_id=subnet.id, network_security_group_id=fence.id, opts=inside
    )
    return fence, around


def _rules(site: Site, host: str, public: Mapping[str, pulumi.Input[str]]) -> list[dict[str, Any]]:
    """Return all rules of the fence."""
    addresses = {machine.name: machine.address for machine in machines_of(site, host)}
    ports = {addresses[name]: ports for name, ports in opened(site, host).items()}
    tunnels = tunnel_ways(site, host, public)
    return fence_rules(sources(site), site.environment.topology.network, site.environment.copy, ports, tunnels)


def _image(site: Site, host: str, asked: pulumi.InvokeOutputOptions) -> dict[str, Any]:
    """Return the publisher's newest image, or the newest of one's own."""
    placed = site.placement.host(host)
    if own := placed.image if placed else None:
        found = azure.compute.get_image_output(
            resource_group_name=own.owner, name_regex=name_pattern(own.name), sort_descending=True, opts=asked
        )
        return {"source_image_id": found.id}
    newest = azure.compute.get_platform_image_output(
        location=region_of(site, host),
        publisher=AZURE_IMAGE.publisher,
        offer=AZURE_IMAGE.offer,
        sku=AZURE_IMAGE.sku,
        opts=asked,
    )
    known = {"publisher": AZURE_IMAGE.publisher, "offer": AZURE_IMAGE.offer, "sku": AZURE_IMAGE.sku}
    return {"source_image_reference": {**known, "version": newest.version}}


def build_machine(site: Site, ground: AzureGround, machine: Machine, keys: Keys, parent: pulumi.Resource) -> Built:
    """Build one machine, up to its first command."""
    opts = ResourceOptions(parent=parent, provider=ground.provider)
    first = SshKeypair(f"{machine.name}-first", comment=machine.name, opts=ResourceOptions(parent=parent))
    address = ground.addresses[machine.name]
    card = _build_card(site, ground, machine, address, opts)
    instance = _build_instance(site, ground, machine, keys, first, card, opts)
    data = _build_data(site, ground, machine, instance, opts)
    return reach(
        site,
        machine,
        keys,
        first,
        instance,
        address.ip_address,
        [data[1]] if data else [],
        [data[0].id] if data else [],
        parent,
        backend="azure",
        host=f"Azure, {ground.region}",
        data_device=DATA_DEVICE if data else "",
        identifier=instance.virtual_machine_id,  # its resource's id is its name, which the next one has too
    )


def _build_card(
    site: Site, ground: AzureGround, machine: Machine, address: azure.network.PublicIp, opts: ResourceOptions
) -> azure.network.NetworkInterface:
    return azure.network.NetworkInterface(
        machine.name,
        name=machine.name,
        ip_configurations=[
            {
                "name": "prod",
                "subnet_id": ground.subnet.id,
                "private_ip_address_allocation": "Static",
                "private_ip_address": str(machine.address),
                "public_ip_address_id": address.id,
            }
        ],
        tags=tags(site, f"{machine.name}-card"),
        **ground.common,
        opts=ResourceOptions.merge(opts, ResourceOptions(depends_on=list(ground.fence))),
    )


def _build_instance(
    site: Site,
    ground: AzureGround,
    machine: Machine,
    keys: Keys,
    first: SshKeypair,
    card: azure.network.NetworkInterface,
    opts: ResourceOptions,
) -> azure.compute.LinuxVirtualMachine:
    """Build the machine with its system disk; it has no identity of Azure's, so what runs on it can ask for nothing."""
    told = told_at_first_boot(site, machine, keys, first)
    return azure.compute.LinuxVirtualMachine(
        machine.name,
        name=machine.name,
        computer_name=machine.name,
        size=site.placement.machine(machine.name).instance_type,
        network_interface_ids=[card.id],
        admin_username=_NOBODY,
        admin_ssh_keys=[{"username": _NOBODY, "public_key": keys.controller.public_key}],
        disable_password_authentication=True,
        custom_data=told.apply(lambda text: b64encode(text.encode()).decode()),
        # Nobody runs a command on it past SSH, whatever Azure lets them do.
        allow_extension_operations=False,
        os_disk={
            "name": f"{machine.name}-system",
            "caching": "ReadWrite",
            "storage_account_type": _DISK_KIND,
            "disk_size_gb": max(system_disk_gib(machine), LEAST_SYSTEM_DISK_GIB),
        },
        tags=tags(site, machine.name),
        **ground.image,
        **ground.common,
        opts=ResourceOptions.merge(
            opts,
            ResourceOptions(
                # A newer image is no reason to make a machine anew.
                ignore_changes=["sourceImageReference", "sourceImageId"],
                delete_before_replace=True,
            ),
        ),
    )


def _build_data(
    site: Site,
    ground: AzureGround,
    machine: Machine,
    instance: azure.compute.LinuxVirtualMachine,
    opts: ResourceOptions,
) -> tuple[azure.compute.ManagedDisk, azure.compute.DataDiskAttachment] | None:
    """Build the data disk: it outlives its machine. Azure encrypts every disk; nobody fetches it over the network."""
    if not machine.data_disk_mib:
        return None
    disk = azure.compute.ManagedDisk(
        f"{machine.name}-data",
        name=f"{machine.name}-data",
        create_option="Empty",
        storage_account_type=_DISK_KIND,
        disk_size_gb=gib(machine.data_disk_mib),
        network_access_policy="DenyAll",
        public_network_access_enabled=False,
        tags=tags(site, f"{machine.name}-data"),
        **ground.common,
        opts=ResourceOptions.merge(opts, ResourceOptions(protect=site.environment.settings.protect)),
    )
    plugged = azure.compute.DataDiskAttachment(
        f"{machine.name}-data",
        managed_disk_id=disk.id,
        virtual_machine_id=instance.id,
        lun=LUN,
        caching="None",
        opts=ResourceOptions.merge(opts, ResourceOptions(delete_before_replace=True, deleted_with=instance)),
    )
    return disk, plugged
