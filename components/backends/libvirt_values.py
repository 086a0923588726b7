"""What a machine is to libvirt and to itself, as values."""

from __future__ import annotations

from typing import Any

import pulumi

from components.site import Site
from model import names
from model.kernel import kernel_command_line
from model.libvirt_xml import CardSpec, DomainSpec
from model.topology import Machine

Size = tuple[int, int, int, bool]
"""vCPUs, memory and system disk in MiB, and whether there is a data disk: what a template's machines have in common."""


def size(machine: Machine) -> Size:
    """Return what decides which template a machine can wake from."""
    return machine.vcpus, machine.memory_mib, machine.system_disk_mib, machine.data_disk_mib > 0


def image_name(site: Site) -> str:
    """Return the image's name in the host's cache: the first 12 digits of its digest."""
    return site.placement.image[:12]


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


def _card(stack: str, machine: Machine, card: str) -> CardSpec:
    return CardSpec(
        network=names.network(stack, card),
        mac=names.mac(stack, machine.name, card),
        tap=names.tap(stack, machine.name, card),
        isolated=card == "control",
    )
