"""What a machine is to libvirt and to itself, as values."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import Any

import pulumi

from components.backends import identity_of
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


def image_directory(site: Site) -> PurePosixPath:
    """Return where the image lies in the host's cache."""
    return names.ROOT / "images" / image_name(site)


def domain_spec(site: Site, machine: Machine) -> DomainSpec:
    """Return the machine as libvirt is to run it."""
    stack = site.environment.stack
    directory = names.stack_directory(stack)
    accelerator = site.placement.accelerator_on(site.placement.machine(machine.name).host).kind
    return DomainSpec(
        name=names.domain(stack, machine.name),
        uuid=names.domain_uuid(site.owner, machine.name),
        owner=site.owner,
        vcpus=machine.vcpus,
        memory_mib=machine.memory_mib,
        **_direct_boot(site, accelerator),
        system_disk=str(directory / f"{machine.name}-system-{_system(site, machine)}.qcow2"),
        data_disk=str(directory / f"{machine.name}-data.qcow2") if machine.data_disk_mib else "",
        control=_card(stack, machine, "control"),
        mirror=_card(stack, machine, "mirror"),
        accelerator=accelerator,
    )


def _direct_boot(site: Site, accelerator: str) -> dict[str, str]:
    """Return how the project's image is booted; one of the user's own has a boot loader."""
    if site.placement.own_image:
        return {}
    return {
        "kernel": str(image_directory(site) / "vmlinuz"),
        "initrd": str(image_directory(site) / "initrd.img"),
        "cmdline": kernel_command_line(accelerator),
    }


def _system(site: Site, machine: Machine) -> str:
    """Return what names a system disk: another image is another disk.

    Cloud-init gives a machine its addresses at its first boot, and only then: with other addresses it gets a new disk.
    """
    if not site.placement.own_image:
        return image_name(site)[:8]
    told = json.dumps([site.placement.image, _cards(site, machine)], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def identity(site: Site, machine: Machine, authorized_key: pulumi.Input[str]) -> dict[str, Any]:
    """Return who a machine is: what it is told over its channel, before its network is up."""
    return identity_of(site, machine, authorized_key, _cards(site, machine))


def _cards(site: Site, machine: Machine) -> dict[str, dict[str, Any]]:
    control = site.placement.control_network
    addresses = {
        "control": (site.placement.machine(machine.name).control_address, control.prefixlen),
        "mirror": (machine.address, site.environment.topology.network.prefixlen),
    }
    return {
        card: {"mac": names.mac(site.environment.stack, machine.name, card), "address": str(address), "prefix": prefix}
        for card, (address, prefix) in addresses.items()
    }


def _card(stack: str, machine: Machine, card: str) -> CardSpec:
    return CardSpec(
        network=names.network(stack, card),
        mac=names.mac(stack, machine.name, card),
        tap=names.tap(stack, machine.name, card),
        isolated=card == "control",
    )
