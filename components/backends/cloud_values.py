"""What the backends of all clouds share, as values: tags, sizes, who a machine is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pulumi

from components.backends import Built, Keys, identity_of
from components.resources import FirstContact, Reached, SshKeypair
from components.site import Site
from model.capacity import CloudImage
from model.cloud import refuse_plan
from model.cloud_init import user_data
from model.configuration import stack_file_name
from model.connection import Connection
from model.errors import UnderstudyError
from model.rented import mark
from model.topology import Machine
from model.tunnels import ports_in_cloud, tunnel_sources

Provider = TypeVar("Provider")
Address = TypeVar("Address")


@dataclass(frozen=True, slots=True, kw_only=True)
class Region(Generic[Provider, Address]):
    """A region before anything stands there.

    Args:
        provider: of that region.
        addresses: those that machines keep, by their names; none where nobody names any.
    """

    provider: Provider
    addresses: Mapping[str, Address]


def refuse_unfit_plan(site: Site, host: str, kind: str) -> None:
    """Refuse what a cloud cannot hold of prod's plan of addresses.

    Raises:
        UnderstudyError: as `refuse_plan` says.
    """
    where = stack_file_name(site.environment.mirror_of or site.environment.stack)
    refuse_plan(kind, site.environment.topology.network, machines_of(site, host), where)


def tags(site: Site, name: str) -> dict[str, str]:
    """Return what every resource carries: whose it is, of which stack, and who pays. All clouds can have it so.

    Args:
        site: the stack.
        name: the resource's own name.
    """
    return {
        "name": f"{site.environment.stack.lower()}-{name}",
        "owner": mark(site.owner),
        "stack": mark(site.environment.stack),
        "cost-centre": site.environment.settings.cloud.cost_centre,
    }


def image_of(site: Site, host: str, usual: CloudImage) -> CloudImage:
    """Return what machines in a cloud are made of: the user's own image, or the usual one."""
    placed = site.placement.host(host)
    return placed.image or usual if placed else usual


def region_of(site: Site, host: str) -> str:
    """Return the region of a cloud that machines are placed in."""
    placed = site.placement.host(host)
    assert placed is not None, f"{host} is no cloud"
    return placed.region


def machines_of(site: Site, host: str) -> tuple[Machine, ...]:
    """Return the machines that the placement puts on a host."""
    placed = {place.name for place in site.placement.machines if place.host == host}
    return tuple(machine for machine in site.environment.topology.machines if machine.name in placed)


def sources(site: Site) -> tuple[str, ...]:
    """Return the networks that may reach the machines' SSH.

    Raises:
        UnderstudyError: none is given: nobody could reach the machines.
    """
    found = tuple(str(network) for network in site.environment.settings.cloud.ssh_from)
    if not found:
        raise UnderstudyError(
            where=f"Pulumi.{site.environment.stack}.yaml: cloud.ssh_from",
            found="nothing",
            wanted="the networks from which you reach machines in a cloud; nothing else gets in",
            todo="Write `understudy:cloud: {ssh_from: [ADDRESS/32]}`; `curl https://checkip.amazonaws.com` says yours.",
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelWays:
    """What a cloud's fence lets through of the tunnels to other places.

    Args:
        ports: the first and the last UDP port that they come to, and go to in another cloud.
        computers: the networks that those of machines on computers come from.
        clouds: the addresses of machines in other clouds, as networks, by their names: theirs come, others go there.
    """

    ports: tuple[int, int]
    computers: tuple[str, ...]
    clouds: Mapping[str, pulumi.Output[str]]


def tunnel_ways(site: Site, host: str, public: Mapping[str, pulumi.Input[str]]) -> TunnelWays | None:
    """Return what a cloud's fence lets through of tunnels; None where all machines are there."""
    if (ports := ports_in_cloud(site.placement)) is None:
        return None
    own = {machine.name for machine in machines_of(site, host)}
    return TunnelWays(
        ports=ports,
        computers=tuple(map(str, tunnel_sources(site.environment.settings.cloud, site.placement))),
        clouds={name: pulumi.Output.concat(address, "/32") for name, address in public.items() if name not in own},
    )


def once_of_its_machine(kind: str, machine: str) -> pulumi.ResourceOptions:
    """Return by what name a state may know an address still, from when it belonged to its machine's component."""
    chain = f"understudy:components:Environment$understudy:components:Machine${kind}"
    return pulumi.ResourceOptions(
        aliases=[f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::{chain}::{machine}"]
    )


def opened(site: Site, host: str) -> dict[str, tuple[int, ...]]:
    """Return the ports at which everybody reaches a machine, of those machines in a cloud that have any."""
    there = {machine.name for machine in machines_of(site, host)}
    return {name: ports for name, ports in site.environment.settings.cloud.open if name in there}


def identity(
    site: Site, machine: Machine, authorized_key: pulumi.Input[str], prefix: int | None = None
) -> dict[str, Any]:
    """Return who a machine is. Its one card has prod's own address, and gets it from the cloud.

    Args:
        site: the stack.
        machine: which of its machines.
        authorized_key: the controller's.
        prefix: of the card's network, as the cloud says it there; None for prod's own.
    """
    card = {"address": str(machine.address), "prefix": prefix or site.environment.topology.network.prefixlen}
    return identity_of(site, machine, authorized_key, {"mirror": card})


def told_at_first_boot(site: Site, machine: Machine, keys: Keys, first: SshKeypair) -> pulumi.Output[str]:
    """Return what cloud-init reads at the first boot: who it is, and the host key for the first contact alone."""

    def told(values: list[str]) -> str:
        who = identity(site, machine, values[0])
        return user_data(who, private_key=values[1], public_key=values[2])

    return pulumi.Output.all(keys.controller.public_key, first.private_key, first.public_key).apply(told)


def connection(machine: Machine, address: pulumi.Output[str], host_key: pulumi.Output[str]) -> pulumi.Output[Any]:
    """Return how a machine is reached, once its address is known."""

    def known(values: list[str]) -> Mapping[str, Any]:
        return Connection(name=machine.name, address=values[0], host_key=" ".join(values[1].split()[:2])).values()

    return pulumi.Output.all(address, host_key).apply(known)


def reach(
    site: Site,
    machine: Machine,
    keys: Keys,
    first: SshKeypair,
    instance: pulumi.CustomResource,
    address: pulumi.Output[str],
    disks: list[pulumi.Resource],
    disk_ids: list[pulumi.Output[str]],
    parent: pulumi.Resource,
    *,
    backend: str,
    host: str,
    data_device: pulumi.Input[str],
    prefix: int | None = None,
    identifier: pulumi.Output[str] | None = None,
    before: tuple[pulumi.Resource, ...] = (),
) -> Built:
    """Reach a machine for the first time, and give it the host key that no record of the cloud has.

    Args:
        site: the stack.
        machine: which of its machines.
        keys: the controller's and the machine's own.
        first: the host key that it was given for its first boot.
        instance: the machine as the cloud has it.
        address: where it can be reached.
        disks: what has to be there before.
        disk_ids: the disks that make it the machine that it is, beside its system's.
        parent: what it all belongs to.
        backend: the module that builds it, such as ``aws``.
        host: where it runs, in words.
        data_device: the machine's own name of its data disk, where it has one.
        prefix: of the card's network, as the cloud says it there; None for prod's own.
        identifier: what names this very machine; None where its resource's id does.
        before: what else has to be there before it is reached.
    """
    way = connection(machine, address, keys.host.public_key)
    contact = FirstContact(
        machine.name,
        inputs={
            "machine_id": instance.id if identifier is None else identifier,
            "disk_ids": disk_ids,
            "first_public_key": first.public_key,
            "host_private_key": keys.host.private_key,
            "host_public_key": keys.host.public_key,
            "identity": identity(site, machine, keys.controller.public_key, prefix),
            "connection": way,
            "private_key": keys.controller.private_key,
        },
        opts=pulumi.ResourceOptions(parent=parent, deleted_with=instance, depends_on=[instance, *disks, *before]),
    )
    reached = Reached(
        name=machine.name,
        # Nothing is done on the machine before it has its own key.
        connection=pulumi.Output.all(way, contact.generation).apply(lambda values: values[0]),
        private_key=keys.controller.private_key,
        generation=contact.generation,
        anchor=instance,
    )
    return Built(
        reached=reached,
        backend=backend,
        host=host,
        control_address=address,
        domain="",
        host_uri="",
        started=contact.started,
        reason=contact.reason,
        boot_seconds=contact.boot_seconds,
        data_device=data_device,
        data_disk=disks[0] if disks else None,
    )
