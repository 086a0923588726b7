"""Machines at Google: a network of their own with prod's addresses, of which nothing but SSH from you gets in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_gcp as gcp
from pulumi import ResourceOptions

from components.backends import Built, Keys, Reserved
from components.backends.cloud_values import (
    Region,
    image_of,
    machines_of,
    opened,
    reach,
    refuse_unfit_plan,
    region_of,
    sources,
    tags,
    tunnel_ways,
)
from components.resources import SshKeypair
from components.site import Site
from model.cloud import project_of
from model.configuration import stack_file_name
from model.rented import GOOGLE_IMAGE, gib, google_name, mark, system_disk_gib
from model.topology import Machine
from model.tunnels import is_spread

# Source: Google, "Operating system details": Debian's images are of the project debian-cloud.
_DISK = "data"
# Source: Google, "Symlinks for disks": /dev/disk/by-id/google-NAME.
_DEVICE = f"/dev/disk/by-id/google-{_DISK}"
# Source: Google, "VPC firewall rules": a lower number wins; what no rule says is refused inwards and allowed outwards.
_LAST = 65000
_HOST_PREFIX = 32
"""Google gives a machine an address without a network around it."""
_FIRST_BOOT = Path(__file__).with_name("google_first_boot.sh")


GcpRegion = Region[gcp.Provider, gcp.compute.Address]


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpGround:
    """What the machines of a stack in one region stand on.

    Args:
        region: Google's name of where that is.
        zone: where in it all machines and disks are.
        addresses: those that machines keep, by their names; none where nobody names any.
        fence: what a machine needs before it starts: all rules of who may speak with it.
        image: Debian's newest image.
    """

    region: str
    zone: pulumi.Output[str]
    provider: gcp.Provider
    addresses: Mapping[str, gcp.compute.Address]
    subnet: gcp.compute.Subnetwork
    fence: tuple[pulumi.Resource, ...]
    image: pulumi.Output[str]


def reserve(site: Site, host: str, parent: pulumi.Resource) -> Reserved[GcpRegion]:
    """Reserve the addresses that others name in their fences: Google else gives another at each start of a machine."""
    region, stack = region_of(site, host), site.environment.stack
    project = project_of(site.environment.settings.cloud, stack_file_name(stack))
    refuse_unfit_plan(site, host, "gcp")
    provider = gcp.Provider(f"gcp-{host}", project=project, region=region, opts=ResourceOptions(parent=parent))
    addresses = {
        machine.name: gcp.compute.Address(
            machine.name,
            name=_name(site, what := f"{machine.name}-address-{host}"),
            region=region,
            labels=tags(site, what),
            opts=ResourceOptions(parent=parent, provider=provider),
        )
        for machine in machines_of(site, host)
        if is_spread(site.placement)
    }
    public = {name: address.address for name, address in addresses.items()}
    return Reserved(public=public, held=Region(provider=provider, addresses=addresses))


def build_ground(
    site: Site,
    host: str,
    held: GcpRegion,
    public: Mapping[str, pulumi.Input[str]],
    parent: pulumi.Resource,
) -> GcpGround:
    """Build a network that has prod's addresses, and its fence."""
    region, provider = region_of(site, host), held.provider
    inside = ResourceOptions(parent=parent, provider=provider)
    asked = pulumi.InvokeOutputOptions(provider=provider)
    network = gcp.compute.Network(
        f"network-{host}",
        name=_name(site, f"network-{host}"),
        auto_create_subnetworks=False,
        opts=inside,
    )
    subnet = gcp.compute.Subnetwork(
        f"subnet-{host}",
        name=_name(site, f"subnet-{host}"),
        network=network.id,
        ip_cidr_range=str(site.environment.topology.network),
        region=region,
        private_ip_google_access=False,
        opts=inside,
    )
    zones = gcp.compute.get_zones_output(region=region, status="UP", opts=asked)
    wanted = image_of(site, host, GOOGLE_IMAGE)
    image = gcp.compute.get_image_output(project=wanted.owner, family=wanted.name, opts=asked)
    return GcpGround(
        region=region,
        zone=zones.names.apply(min),
        provider=provider,
        addresses=held.addresses,
        subnet=subnet,
        fence=_build_fence(site, host, network, public, inside),
        image=image.self_link,
    )


def build_machine(site: Site, ground: GcpGround, machine: Machine, keys: Keys, parent: pulumi.Resource) -> Built:
    """Build one machine, up to its first command."""
    opts = ResourceOptions(parent=parent, provider=ground.provider)
    first = SshKeypair(f"{machine.name}-first", comment=machine.name, opts=ResourceOptions(parent=parent))
    kept = ground.addresses.get(machine.name)
    instance = _build_instance(site, ground, machine, keys, first, kept, opts)
    address = kept.address if kept else instance.network_interfaces[0].access_configs[0].nat_ip
    data = _build_data(site, ground, machine, instance, opts)
    disks: list[pulumi.Resource] = [data[1]] if data else []
    ids = [data[0].disk_id] if data else []
    return reach(
        site,
        machine,
        keys,
        first,
        instance,
        address,
        disks,
        ids,
        parent,
        backend="gcp",
        host=f"Google, {ground.region}",
        data_device=_DEVICE if data else "",
        prefix=_HOST_PREFIX,
        identifier=instance.instance_id,
    )


def _build_instance(
    site: Site,
    ground: GcpGround,
    machine: Machine,
    keys: Keys,
    first: SshKeypair,
    kept: gcp.compute.Address | None,
    opts: ResourceOptions,
) -> gcp.compute.Instance:
    """Build the machine with its system disk; it has no account of Google's, so what runs on it can ask for nothing."""
    labels = tags(site, machine.name)
    return gcp.compute.Instance(
        machine.name,
        name=_name(site, machine.name),
        hostname=f"{machine.name}.{site.environment.topology.domain}",
        machine_type=site.placement.machine(machine.name).instance_type,
        zone=ground.zone,
        boot_disk={
            "auto_delete": True,
            "initialize_params": {
                "image": ground.image,
                "size": system_disk_gib(machine),
                "type": "pd-balanced",
                "labels": labels,
            },
        },
        network_interfaces=[
            {
                "subnetwork": ground.subnet.id,
                "network_ip": str(machine.address),
                "access_configs": [{"nat_ip": kept.address} if kept else {}],
            }
        ],
        metadata={
            "understudy-authorized-key": keys.controller.public_key,
            "understudy-host-key": first.private_key,
            "block-project-ssh-keys": "TRUE",
            "enable-oslogin": "FALSE",
            "serial-port-enable": "FALSE",
        },
        metadata_startup_script=_FIRST_BOOT.read_text(encoding="utf-8"),
        shielded_instance_config={"enable_secure_boot": True, "enable_vtpm": True, "enable_integrity_monitoring": True},
        tags=[_name(site, "fenced"), *_open_tags(site, machine.name)],
        labels=labels,
        allow_stopping_for_update=True,
        opts=ResourceOptions.merge(
            opts,
            ResourceOptions(
                depends_on=list(ground.fence),
                # A newer image is no reason to make a machine anew; its data disk is a resource of its own.
                ignore_changes=["zone", "bootDisk.initializeParams.image", "attachedDisks"],
                delete_before_replace=True,
            ),
        ),
    )


def _build_fence(
    site: Site,
    host: str,
    network: gcp.compute.Network,
    public: Mapping[str, pulumi.Input[str]],
    inside: ResourceOptions,
) -> tuple[pulumi.Resource, ...]:
    """Build the fence: in comes SSH from where you are; machines speak with each other; nothing gets out."""
    fenced, plan = [_name(site, "fenced")], str(site.environment.topology.network)
    everything = [{"protocol": "all"}]
    common = {"network": network.id, "target_tags": fenced}
    rules: dict[str, dict[str, Any]] = {
        "ssh": {
            "direction": "INGRESS",
            "source_ranges": list(sources(site)),
            "allows": [{"protocol": "tcp", "ports": ["22"]}],
        },
        **_tunnels(site, host, public),
        "into": {"direction": "INGRESS", "source_ranges": [plan], "allows": everything},
        "out": {"direction": "EGRESS", "destination_ranges": [plan], "allows": everything},
        "closed": {
            "direction": "EGRESS",
            "destination_ranges": ["0.0.0.0/0"],
            "denies": everything,
            "priority": _LAST,
        },
    }
    if copy := site.environment.copy:
        rules["copy"] = {
            "direction": "EGRESS",
            "destination_ranges": [str(network) for network in copy.networks],
            "allows": [{"protocol": "tcp", "ports": [str(port) for port in copy.ports]}],
        }
    for name, ports in opened(site, host).items():
        rules[f"open-{name}"] = {
            "direction": "INGRESS",
            "source_ranges": ["0.0.0.0/0"],
            "allows": [{"protocol": "tcp", "ports": [str(port) for port in ports]}],
            "target_tags": _open_tags(site, name),
        }
    return tuple(
        gcp.compute.Firewall(
            f"{name}-{host}", name=_name(site, f"fence-{host}-{name}"), **{**common, **rule}, opts=inside
        )
        for name, rule in rules.items()
    )


def _tunnels(site: Site, host: str, public: Mapping[str, pulumi.Input[str]]) -> dict[str, dict[str, Any]]:
    """Return what lets tunnels in from machines elsewhere, where there are any, and out to those in other clouds."""
    if (ways := tunnel_ways(site, host, public)) is None:
        return {}
    allows = [{"protocol": "udp", "ports": [f"{ways.ports[0]}-{ways.ports[1]}"]}]
    clouds = list(ways.clouds.values())
    rules = {"tunnels": {"direction": "INGRESS", "source_ranges": [*ways.computers, *clouds], "allows": allows}}
    if clouds:
        rules["tunnels-out"] = {"direction": "EGRESS", "destination_ranges": clouds, "allows": allows}
    return rules


def _build_data(
    site: Site, ground: GcpGround, machine: Machine, instance: gcp.compute.Instance, opts: ResourceOptions
) -> tuple[gcp.compute.Disk, gcp.compute.AttachedDisk] | None:
    """Build the data disk: it outlives its machine. Google encrypts every disk."""
    if not machine.data_disk_mib:
        return None
    disk = gcp.compute.Disk(
        f"{machine.name}-data",
        name=_name(site, f"{machine.name}-data"),
        zone=ground.zone,
        size=max(gib(machine.data_disk_mib), 10),  # Google sells none that is smaller
        type="pd-balanced",
        labels=tags(site, f"{machine.name}-data"),
        opts=ResourceOptions.merge(
            opts, ResourceOptions(protect=site.environment.settings.protect, ignore_changes=["zone"])
        ),
    )
    plugged = gcp.compute.AttachedDisk(
        f"{machine.name}-data",
        disk=disk.id,
        instance=instance.id,
        device_name=_DISK,
        opts=ResourceOptions.merge(opts, ResourceOptions(delete_before_replace=True, deleted_with=instance)),
    )
    return disk, plugged


def _open_tags(site: Site, machine: str) -> list[str]:
    known = [name for name, _ in site.environment.settings.cloud.open]
    return [_name(site, f"open-{machine}")] if machine in known else []


def _name(site: Site, what: str) -> str:
    """Return a name that no other stack in the project has."""
    return google_name(mark(site.owner), what)
