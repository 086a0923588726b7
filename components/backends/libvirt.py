"""Machines as libvirt guests of a host: linked clones on two networks that lead nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import pulumi
import pulumi_libvirt as libvirt
from pulumi import ResourceOptions

from components.backends import Built, Keys, Reserved, addressed
from components.backends.libvirt_values import Size, domain_spec, identity, image_directory, image_name, size
from components.resources import Boot, DataDisk, Fence, Reached, Template, WarmStart
from components.site import Site
from model import names
from model.connection import Connection
from model.host_uri import host_uri, way_through
from model.kernel import kernel_command_line
from model.libvirt_xml import DomainSpec, domain_arguments, domain_xml, network_arguments, replacing_xslt, volume_xml
from model.placement import HERE
from model.placing import built_machines
from model.topology import Machine
from model.tunnels import is_spread, ways, ways_as_values

_MIB = 1024 * 1024
_NEVER_WARM = "cold: an image of your own has nobody who gives a waking memory its identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class LibvirtGround:
    """What the machines of a stack stand on.

    Args:
        host: the host's name in the placement.
        uri: libvirt's address of it.
        where: the inputs that say which host does it; none for this computer.
        networks: all of them; a machine is started after these.
        templates: by the size of the machines that wake from them; none for an image of the user's own.
    """

    host: str
    uri: str
    where: Mapping[str, str]
    provider: libvirt.Provider
    pool: libvirt.Pool
    networks: tuple[libvirt.Network, ...]
    templates: Mapping[Size, Template]


def _named(name: str, host: str) -> str:
    """Return a resource's name: on each host there is one of them."""
    return name if host == HERE else f"{name}-{host}"


def reserve(site: Site, host: str, parent: pulumi.Resource) -> Reserved[None]:  # noqa: ARG001
    """Reserve nothing: the lock file has a computer's address."""
    return Reserved(public={}, held=None)


def build_ground(
    site: Site,
    host: str,
    held: None,  # noqa: ARG001
    public: Mapping[str, pulumi.Input[str]],
    parent: pulumi.Resource,
) -> LibvirtGround:
    """Build the fence first, then the networks behind it and the pool; and a template for each size of machine.

    An image of the user's own has none: in a memory that wakes, nobody listens who gives it another identity.
    """
    stack, control = site.environment.stack, site.placement.control_network
    uri = host_uri(site.placement.host(host))
    where = {} if host == HERE else {"host": host, "host_uri": uri}
    provider = libvirt.Provider(_named("libvirt", host), uri=uri, opts=ResourceOptions(parent=parent))
    fence = Fence(
        _named("fence", host),
        stack=stack,
        owner=site.owner,
        mirror_bridge=names.bridge(stack, "mirror"),
        control_bridge=names.bridge(stack, "control"),
        control_network=str(control),
        ways=_ways(site, host, public) if is_spread(site.placement) else None,
        where=where,
        opts=ResourceOptions(parent=parent),
    )
    behind = ResourceOptions(parent=parent, provider=provider, depends_on=[fence])
    hosts_address = {"mirror": "", "control": str(control[1])}
    networks = tuple(
        libvirt.Network(
            _named(card, host),
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
        _named("pool", host),
        name=stack,
        type="dir",
        target={"path": str(names.stack_directory(stack))},
        # How full the host's disk is is no change of ours.
        opts=ResourceOptions.merge(behind, ResourceOptions(ignore_changes=["allocation", "available", "capacity"])),
    )
    there = {place.name for place in site.placement.machines if place.host == host and not site.placement.own_image}
    machines = [each for each in built_machines(site.environment.topology.machines) if each.name in there]
    sizes = sorted({size(machine) for machine in machines})
    templates = {one: _build_template(site, one, host, where, parent, fence) for one in sizes}
    return LibvirtGround(
        host=host, uri=uri, where=where, provider=provider, pool=pool, networks=networks, templates=templates
    )


def _ways(site: Site, host: str, public: Mapping[str, pulumi.Input[str]]) -> pulumi.Output[dict[str, Any] | None]:
    def known(addresses: Mapping[str, IPv4Address]) -> dict[str, Any] | None:
        passing = ways(site.placement, host, addresses)
        return ways_as_values(passing) if passing else None

    return addressed(public).apply(known)


def build_machine(site: Site, ground: LibvirtGround, machine: Machine, keys: Keys, parent: pulumi.Resource) -> Built:
    """Build one machine: its disks, its start, and the first word with it."""
    template = ground.templates.get(size(machine))
    spec = domain_spec(site, machine)
    below = template.disk_path if template else pulumi.Output.from_input(str(image_directory(site) / "disk.qcow2"))
    system = _build_volume(ground, machine, spec.system_disk, machine.system_disk_mib, below, site, parent)
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
        template_key=template.key if template else "",
        system_disk_path=spec.system_disk,
        volume_id=system.id,
        where=ground.where,
        opts=inside,
    )
    domain = _build_domain(machine.name, ground, spec, disks, warm, inside)
    boot = _build_boot(site, ground, machine, keys, spec, domain, warm, disks, inside)
    bigger = _build_size(site, ground, machine, spec, boot, disks, parent) if spec.data_disk else None
    return Built(
        reached=Reached(
            name=machine.name,
            connection=boot.connection,
            private_key=boot.private_key,
            generation=boot.generation,
            anchor=domain,
        ),
        backend="libvirt",
        host="this machine" if ground.host == HERE else ground.host,
        control_address=str(site.placement.machine(machine.name).control_address),
        domain=spec.name,
        host_uri=ground.uri,
        started=boot.started,
        reason=boot.reason,
        boot_seconds=boot.boot_seconds,
        data_device="/dev/vdb",
        data_disk=bigger,
    )


def _build_template(
    site: Site, of: Size, host: str, where: Mapping[str, str], parent: pulumi.Resource, fence: Fence
) -> Template:
    vcpus, memory_mib, system_disk_mib, data_disk = of
    accelerator = site.placement.accelerator_on(host).kind
    return Template(
        _named(f"template-{vcpus}cpu-{memory_mib}mib-{system_disk_mib}mib{'-data' if data_disk else ''}", host),
        image=image_name(site),
        accelerator=accelerator,
        vcpus=vcpus,
        memory_mib=memory_mib,
        system_disk_mib=system_disk_mib,
        data_disk=data_disk,
        warm=site.environment.settings.warm_start,
        cmdline=kernel_command_line(accelerator),
        where=where,
        opts=ResourceOptions(parent=parent, depends_on=[fence]),
    )


def _build_volume(
    ground: LibvirtGround,
    machine: Machine,
    path: str,
    size_mib: int,
    below: pulumi.Output[str] | None,
    site: Site,
    parent: pulumi.Resource,
) -> libvirt.Volume:
    """Build a disk; with one below it is a linked clone, and what it was cloned from is history.

    Pulumi's libvirt changes no volume, and would make a data disk of another size anew: `DataDisk` makes it bigger.
    What is ignored is so only of a disk that stays: one that is made anew gets all that is wanted.
    Source: pulumi, pkg/resource/deploy/step_generator.go, where a replacement's inputs are checked on their own.
    """
    name = path.rsplit("/", 1)[1]
    backing = pulumi.Output.from_input("") if below is None else below
    return libvirt.Volume(
        f"{machine.name}-{'data' if below is None else 'system'}",
        name=name,
        pool=ground.pool.name,
        format="qcow2",
        size=size_mib * _MIB,
        xml={"xslt": backing.apply(lambda path: replacing_xslt(volume_xml(name, size_mib, path)))},
        opts=ResourceOptions(
            parent=parent,
            provider=ground.provider,
            delete_before_replace=True,
            ignore_changes=["size", "xml"] if below is None else ["xml"],
            protect=site.environment.settings.protect,
        ),
    )


def _build_size(
    site: Site,
    ground: LibvirtGround,
    machine: Machine,
    spec: DomainSpec,
    boot: Boot,
    disks: list[libvirt.Volume],
    parent: pulumi.Resource,
) -> DataDisk:
    """Build what makes the data disk as big as it is described, once the machine has booted with it.

    One that became bigger in the first second of a boot was seen to leave the machine there, at work for ever.
    """
    return DataDisk(
        f"{machine.name}-data",
        domain=spec.name,
        path=spec.data_disk,
        pool=ground.pool.name,
        size_mib=machine.data_disk_mib,
        key=site.environment.data_disk_key(machine),
        where=ground.where,
        opts=ResourceOptions(parent=parent, depends_on=[boot, *disks], deleted_with=disks[1]),
    )


def _build_domain(
    name: str,
    ground: LibvirtGround,
    spec: DomainSpec,
    disks: list[libvirt.Volume],
    warm: WarmStart,
    inside: ResourceOptions,
) -> libvirt.Domain:
    """Build the machine's domain, which starts it: behind all networks, with its memory in place."""
    return libvirt.Domain(
        name,
        **domain_arguments(spec),
        disks=[{"volume_id": disk.id} for disk in disks],
        opts=ResourceOptions.merge(
            inside, ResourceOptions(provider=ground.provider, depends_on=[warm, *ground.networks])
        ),
    )


def _build_boot(
    site: Site,
    ground: LibvirtGround,
    machine: Machine,
    keys: Keys,
    spec: DomainSpec,
    domain: libvirt.Domain,
    warm: WarmStart,
    disks: list[libvirt.Volume],
    opts: ResourceOptions,
) -> Boot:
    jump, jump_key = way_through(ground.uri)
    connection = keys.host.public_key.apply(
        lambda key: Connection(
            name=machine.name,
            address=str(site.placement.machine(machine.name).control_address),
            host_key=" ".join(key.split()[:2]),
            domain=f"{ground.uri}#{spec.name}",
            jump=jump,
            jump_key=jump_key,
        ).values()
    )
    return Boot(
        machine.name,
        inputs={
            "domain": spec.name,
            "uuid": spec.uuid,
            "domain_id": domain.id,
            "domain_xml": domain_xml(spec),
            **ground.where,
            "host_uri": ground.uri,
            "identity": identity(site, machine, keys.controller.public_key),
            "host_private_key": keys.host.private_key,
            "host_public_key": keys.host.public_key,
            "connection": connection,
            "private_key": keys.controller.private_key,
            "volume_ids": [disk.id for disk in disks],
            "image": "" if site.placement.own_image else image_name(site),
            "warm_placed": warm.placed,
            "warm_reason": _NEVER_WARM if site.placement.own_image else warm.reason,
            "untouched": warm.untouched,
            "sizes": site.environment.sizes(machine.name),
            "data_disk_mib": machine.data_disk_mib,
            "running": True,
        },
        opts=opts,
    )
