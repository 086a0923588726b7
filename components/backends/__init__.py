"""Where machines can run: one module a place, each with the functions of `Backend`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Generic, Protocol, TypeVar

import pulumi

from components.resources import Reached, SshKeypair
from components.site import Site
from model.topology import Machine

Held = TypeVar("Held")
Ground = TypeVar("Ground")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of one machine: the controller's, and the machine's own. Both are known before it boots."""

    controller: SshKeypair
    host: SshKeypair


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved(Generic[Held]):
    """What there is of a place before its fence, so that fences of other places can name its machines.

    Args:
        public: the public addresses that machines keep there, by their names; none where nobody names any.
        held: what the place itself needs of it later.
    """

    public: Mapping[str, pulumi.Output[str]]
    held: Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A machine that runs.

    Args:
        backend: the module that built it, such as ``libvirt``.
        host: where it runs, in words.
        control_address: with which the controller reaches it.
        domain: its name on the host, with which a disk can be attached to it; empty where that is not possible.
        host_uri: libvirt's address of that host; empty where it is none.
        started: ``warm`` or ``cold``, and ``reason`` why.
        boot_seconds: from its start to the first command.
        data_device: the machine's own name of its data disk, where it has one.
        data_disk: what makes that disk as big as it is; None where it has none.
    """

    reached: Reached
    backend: str
    host: str
    control_address: pulumi.Input[str]
    domain: str
    host_uri: str
    started: pulumi.Output[str]
    reason: pulumi.Output[str]
    boot_seconds: pulumi.Output[float]
    data_device: pulumi.Input[str]
    data_disk: pulumi.Resource | None


def identity_of(
    site: Site, machine: Machine, authorized_key: pulumi.Input[str], cards: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return who a machine is, as it is told.

    Args:
        site: the stack.
        machine: which of its machines.
        authorized_key: the controller's.
        cards: each network card's ``address`` and ``prefix``, and ``mac`` where that is ours to choose.
    """
    topology = site.environment.topology
    return {
        "hostname": machine.name,
        "domain": topology.domain,
        "hosts": [
            {"address": str(peer.address), "names": [f"{peer.name}.{topology.domain}", peer.name]}
            for peer in topology.machines
        ],
        "authorized_keys": [authorized_key],
        "cards": cards,
    }


def addressed(public: Mapping[str, pulumi.Input[str]]) -> pulumi.Output[dict[str, IPv4Address]]:
    """Return addresses of machines once all are known."""
    known = pulumi.Output.from_input(dict(public))
    return known.apply(lambda texts: {name: IPv4Address(text) for name, text in texts.items()})


class Backend(Protocol[Held, Ground]):
    """One place where machines can run; a module with these functions satisfies it."""

    def reserve(self, site: Site, host: str, parent: pulumi.Resource) -> Reserved[Held]:
        """Build what has to be there before any fence: addresses that others name in theirs.

        Args:
            site: the stack.
            host: where, as the placement calls it.
            parent: what it all belongs to.
        """

    def build_ground(
        self, site: Site, host: str, held: Held, public: Mapping[str, pulumi.Input[str]], parent: pulumi.Resource
    ) -> Ground:
        """Build what the machines of a stack that run there stand on: networks, and room for disks.

        Args:
            site: the stack.
            host: where, as the placement calls it.
            held: what was reserved there.
            public: the addresses that the stack's machines keep in all clouds, by their names.
            parent: what it all belongs to.
        """

    def build_machine(self, site: Site, ground: Ground, machine: Machine, keys: Keys, parent: pulumi.Resource) -> Built:
        """Build one machine, up to its first command."""
