"""Machines as libvirt guests of a host: linked clones on two networks that lead nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_libvirt as libvirt
from pulumi import ResourceOptions

from components.backends import Built, Keys
from components.resources import Boot, Fence, Reached, Template, WarmStart
from components.site import Site
from model import names
from model.connection import Connection
from model.kernel import kernel_command_line
from model.libvirt_xml import (
    CardSpec,
    DomainSpec,
    domain_arguments,
    domain_xml,
    network_arguments,
    replacing_xslt,
    volume_xml,
)
from model.topology import Machine

HOST_URI = "qemu:///system"
_MIB = 1024 * 1024
_Size = tuple[int, int, int, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class LibvirtGround:
    """What the machines of a stack stand on.

    Args:
        networks: all of them; a machine is started after these.
        templates: by the size of the machines that wake from them.
    """

    provider: libvirt.Provider
    pool: libvirt.Pool
    networks: tuple[libvirt.Network, ...]
    templates: Mapping[_Size, Template]


def build_ground(site: Site, parent: pulumi.Resource) -> LibvirtGround:
    """Build the fence first, then the networks behind it and the pool; and a template for each size of machine."""
    stack, control = site.environment.stack, site.placement.control_network
    provider = libvirt.Provider("libvirt", uri=HOST_URI, opts=ResourceOptions(parent=parent))
    fence = Fence(
        "fence",
        stack=stack,
        owner=site.owner,
        mirror_bridge=names.bridge(stack, "mirror"),
        control_bridge=names.bridge(stack, "control"),
        control_network=str(control),
        opts=ResourceOptions(parent=parent),
    )
    behind = ResourceOptions(parent=parent, provider=provider, depends_on=[fence])
    hosts_address = {"mirror": "", "control": str(control[1])}
    networks = tuple(
        libvirt.Network(
            card,
            **network_arguments(
                names.network(stack, card),
                names.bridge(stack, card),
                hosts_address[card],
                control.prefixlen if hosts_address[card] else 0,
            ),
            opts=behind,
        )
        for card in ("mirror", "control")
    )
    pool = libvirt.Pool(
        "pool",
        name=stack,
        type="dir",
        target={"path": str(names.stack_directory(stack))},
        # How full the host's disk is is no change of ours.
        opts=ResourceOptions.merge(behind, ResourceOptions(ignore_changes=["allocation", "available", "capacity"])),
    )
    sizes = {_size(machine) for machine in site.environment.topology.machines if machine.existing is None}
    templates = {size: _build_template(site, size, parent, fence) for size in sorted(sizes)}
    return LibvirtGround(provider=provider, pool=pool, networks=networks, templates=templates)


def build_machine(site: Site, ground: LibvirtGround, machine: Machine, keys: Keys, parent: pulumi.Resource) -> Built:
    """Build one machine: its disks, its start, and the first word with it."""
    stack, template = site.environment.stack, ground.templates[_size(machine)]
    spec = domain_spec(site, machine)
    system = _build_volume(ground, machine, spec.system_disk, machine.system_disk_mib, template, site, parent)
    disks = [system]
    if spec.data_disk:
        disks.append(_build_volume(ground, machine, spec.data_disk, machine.data_disk_mib, None, site, parent))
    # The documents are long, and all that is in them stands beside them.
    inside = ResourceOptions(parent=parent, delete_before_replace=True, hide_diffs=["domain_xml", "xml"])
    warm = WarmStart(
        machine.name,
        domain=spec.name,
        uuid=spec.uuid,
        domain_xml=domain_xml(spec),
        template_key=template.key,
        system_disk_path=spec.system_disk,
        volume_id=system.id,
        opts=inside,
    )
    domain = libvirt.Domain(
        machine.name,
        **domain_arguments(spec),
        disks=[{"volume_id": disk.id} for disk in disks],
        opts=ResourceOptions.merge(
            inside, ResourceOptions(provider=ground.provider, depends_on=[warm, *ground.networks])
        ),
    )
    boot = _build_boot(site, machine, keys, spec, domain, warm, disks, inside)
    return Built(
        reached=Reached(
            name=machine.name,
            connection=boot.connection,
            private_key=boot.private_key,
            generation=boot.generation,
            anchor=domain,
        ),
        host="this machine",
        control_address=str(site.placement.machine(machine.name).control_address),
        domain=names.domain(stack, machine.name),
        host_uri=HOST_URI,
        started=boot.started,
        reason=boot.reason,
        boot_seconds=boot.boot_seconds,
    )


def domain_spec(site: Site, machine: Machine) -> DomainSpec:
    """Return the machine as libvirt is to run it."""
    stack, image = site.environment.stack, image_name(site)
    directory = names.stack_directory(stack)
    files = names.ROOT / "images" / image
    return DomainSpec(
        name=names.domain(stack, machine.name),
        uuid=names.domain_uuid(site.owner, machine.name),
        owner=site.owner,
        vcpus=machine.vcpus,
        memory_mib=machine.memory_mib,
        kernel=str(files / "vmlinuz"),
        initrd=str(files / "initrd.img"),
        cmdline=kernel_command_line(site.placement.accelerator.kind),
        system_disk=str(directory / f"{machine.name}-system-{image[:8]}.qcow2"),
        data_disk=str(directory / f"{machine.name}-data.qcow2") if machine.data_disk_mib else "",
        control=_card(stack, machine, "control"),
        mirror=_card(stack, machine, "mirror"),
        accelerator=site.placement.accelerator.kind,
    )


def image_name(site: Site) -> str:
    """Return the image's name in the host's cache: the first 12 digits of its digest."""
    return site.placement.image[:12]


def identity(site: Site, machine: Machine, authorized_key: pulumi.Input[str]) -> dict[str, Any]:
    """Return who a machine is: what it is told over its channel, before its network is up."""
    stack, topology = site.environment.stack, site.environment.topology
    control = site.placement.control_network
    addresses = {
        "control": (site.placement.machine(machine.name).control_address, control.prefixlen),
        "mirror": (machine.address, topology.network.prefixlen),
    }
    return {
        "hostname": machine.name,
        "domain": topology.domain,
        "hosts": [
            {"address": str(peer.address), "names": [f"{peer.name}.{topology.domain}", peer.name]}
            for peer in topology.machines
        ],
        "authorized_keys": [authorized_key],
        "cards": {
            card: {"mac": names.mac(stack, machine.name, card), "address": str(address), "prefix": prefix}
            for card, (address, prefix) in addresses.items()
        },
    }


def _size(machine: Machine) -> _Size:
    return machine.vcpus, machine.memory_mib, machine.system_disk_mib, machine.data_disk_mib > 0


def _card(stack: str, machine: Machine, card: str) -> CardSpec:
    return CardSpec(
        network=names.network(stack, card),
        mac=names.mac(stack, machine.name, card),
        tap=names.tap(stack, machine.name, card),
        isolated=card == "control",
    )


def _build_template(site: Site, size: _Size, parent: pulumi.Resource, fence: Fence) -> Template:
    vcpus, memory_mib, system_disk_mib, data_disk = size
    accelerator = site.placement.accelerator.kind
    return Template(
        f"template-{vcpus}cpu-{memory_mib}mib-{system_disk_mib}mib{'-data' if data_disk else ''}",
        image=image_name(site),
        accelerator=accelerator,
        vcpus=vcpus,
        memory_mib=memory_mib,
        system_disk_mib=system_disk_mib,
        data_disk=data_disk,
        warm=site.environment.settings.warm_start,
        cmdline=kernel_command_line(accelerator),
        opts=ResourceOptions(parent=parent, depends_on=[fence]),
    )


def _build_volume(
    ground: LibvirtGround,
    machine: Machine,
    path: str,
    size_mib: int,
    template: Template | None,
    site: Site,
    parent: pulumi.Resource,
) -> libvirt.Volume:
    """Build a disk; with a template it is a linked clone, and what it was cloned from is history."""
    name = path.rsplit("/", 1)[1]
    backing: pulumi.Output[str] = template.disk_path if template else pulumi.Output.from_input("")
    return libvirt.Volume(
        f"{machine.name}-{'system' if template else 'data'}",
        name=name,
        pool=ground.pool.name,
        format="qcow2",
        size=size_mib * _MIB,
        xml={"xslt": backing.apply(lambda below: replacing_xslt(volume_xml(name, size_mib, below)))},
        opts=ResourceOptions(
            parent=parent,
            provider=ground.provider,
            delete_before_replace=True,
            ignore_changes=["xml"] if template else None,
            protect=site.environment.settings.protect,
        ),
    )


def _build_boot(
    site: Site,
    machine: Machine,
    keys: Keys,
    spec: DomainSpec,
    domain: libvirt.Domain,
    warm: WarmStart,
    disks: list[libvirt.Volume],
    opts: ResourceOptions,
) -> Boot:
    connection = keys.host.public_key.apply(
        lambda key: Connection(
            name=machine.name,
            address=str(site.placement.machine(machine.name).control_address),
            host_key=" ".join(key.split()[:2]),
            domain=f"{HOST_URI}#{spec.name}",
        ).values()
    )
    return Boot(
        machine.name,
        inputs={
            "domain": spec.name,
            "uuid": spec.uuid,
            "domain_id": domain.id,
            "domain_xml": domain_xml(spec),
            "host_uri": HOST_URI,
            "identity": identity(site, machine, keys.controller.public_key),
            "host_private_key": keys.host.private_key,
            "host_public_key": keys.host.public_key,
            "connection": connection,
            "private_key": keys.controller.private_key,
            "volume_ids": [disk.id for disk in disks],
            "image": image_name(site),
            "warm_placed": warm.placed,
            "warm_reason": warm.reason,
            "running": True,
        },
        opts=opts,
    )
