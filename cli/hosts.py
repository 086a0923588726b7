"""Makes other hosts ready for a stack's machines, and clears away there what a killed run left behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from model import names
from model.capacity import LIBVIRT
from model.errors import UnderstudyError
from model.host_uri import LOCAL, host_name, host_uri
from model.placement import PlacedHost, Placement, file_name
from model.state import hosts_in, recorded
from provisioners.hypervisor.copy_out import copy_image
from provisioners.hypervisor.door import Door, There, door
from provisioners.hypervisor.virsh import VirshFailed
from provisioners.install_lines import programs_line, start_line
from provisioners.outcome import Say

_PROGRAMS = ("virsh", "virt-ssh-helper", "qemu-img", "nft", "ip", "ssh-keygen")


def others(placement: Placement | None) -> tuple[PlacedHost, ...]:
    """Return the computers other than this one on which a lock file has machines."""
    return tuple(host for host in placement.hosts if host.kind == LIBVIRT) if placement else ()


def make_ready(stack: str, placement: Placement, image: Path, say: Say) -> None:
    """See that machines can be built on each of the other hosts: programs, libvirt, networks, and the image.

    Args:
        stack: the stack's name.
        placement: what its lock file says.
        image: the machine image's directory on this computer.
        say: is told what is done.

    Raises:
        UnderstudyError: one cannot be reached, or is not fit; with the line to type.
    """
    for host in others(placement):
        way = There(host.connection)
        _refuse_without_programs(host, way, placement, say)
        try:
            way.call("version", say=say)
        except VirshFailed as error:
            assert host.access is not None
            todo = f"Try: {start_line(host.access, local=False)}"
            raise UnderstudyError(where=error.where, found=error.found, wanted="libvirt", todo=todo) from error
        _refuse_foreign_network(stack, host, placement, way.call("networks", say=say))
        copy_image(way, image, say)


def _refuse_without_programs(host: PlacedHost, way: There, placement: Placement, say: Say) -> None:
    wanted = (*_PROGRAMS, "genisoimage") if placement.own_image else _PROGRAMS
    lacking, release = way.call("lacking programs", wanted, say=say)
    if lacking:
        assert host.access is not None
        raise UnderstudyError(
            where=f"host {host.name}",
            found=f"it has no {', '.join(lacking)}",
            wanted="what machines are built with",
            todo=f"Type: {programs_line(release, lacking, host.access)}",
        )


def _refuse_foreign_network(
    stack: str, host: PlacedHost, placement: Placement, known: Iterable[tuple[str, str]]
) -> None:
    own = names.bridge(stack, "control")
    for card, network in known:
        if card != own and IPv4Network(network).overlaps(placement.control_network):
            raise UnderstudyError(
                where=f"{file_name(stack)}: control_network",
                found=f"{placement.control_network}, but host {host.name} has {network} on {card}",
                wanted="a network of the stack's own there",
                todo="Remove that one there, or write another /24 of 198.18.0.0/15 into the lock file, there and in "
                "each machine's `control_address`.",
            )


def swept(
    stack: str, owner: str, deployment: Mapping[str, Any], placement: Placement | None, say: Say, *, act: bool
) -> list[str]:
    """Take away, or only name, what is on this computer and on the stack's other hosts and not in its state.

    Args:
        stack: the stack's name.
        owner: the mark that the stack's things carry.
        deployment: its state.
        placement: what its lock file says; None where there is none.
        say: is told about waiting.
        act: whether to take it away.

    Raises:
        UnderstudyError: a host cannot be reached, or something there cannot be removed.
    """
    uris = uris_of(deployment, placement)
    here = () if _is_elsewhere(deployment, placement) else (LOCAL,)
    found: list[str] = []
    for uri in (*here, *(uris[name] for name in sorted(uris))):
        lines = sweep(door(uri), host_name(uri), stack, owner, deployment, say, act=act)
        found += lines if uri == LOCAL else [f"{line} on {host_name(uri)}" for line in lines]
    return found


def uris_of(deployment: Mapping[str, Any], placement: Placement | None) -> dict[str, str]:
    """Return libvirt's addresses of the other computers that a stack has by its state or its lock file, by name."""
    return {**hosts_in(deployment), **{host.name: host_uri(host) for host in others(placement)}}


def sweep(
    way: Door, host: str, stack: str, owner: str, deployment: Mapping[str, Any], say: Say, *, act: bool
) -> list[str]:
    """Take away, or only name, what is on one host and not in the state; as `swept`."""
    known = recorded(deployment, host)
    sorts = {sort: sorted(getattr(known, sort)) for sort in ("domains", "networks", "pools", "volumes")}
    return list(way.call("sweep", stack, owner, {**sorts, "fenced": known.fenced}, act, say=say))


def _is_elsewhere(deployment: Mapping[str, Any], placement: Placement | None) -> bool:
    """Return whether a stack has nothing to do with this computer's libvirt: all its machines are rented."""
    if placement is None or not placement.machines or placement.needs_image:
        return False
    known = recorded(deployment)
    return not (known.domains or known.networks or known.pools or known.volumes or known.fenced)
