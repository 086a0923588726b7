"""Clouds as places for machines: what a stack says of them, and what of prod's plan a cloud cannot hold. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Network

from model.capacity import CLOUDS
from model.errors import UnderstudyError
from model.readers import Place, read_count, read_keys, read_list, read_mapping, read_text
from model.topology import Machine

# Source: AWS "VPC basics" (/16 to /28); Google "Subnets" (/29 at least); Azure "Virtual Network FAQ" (/29).
_PREFIXES = {"aws": (16, 28), "gcp": (8, 29), "azure": (8, 29)}
# Source: the same pages: AWS and Azure keep the first four and the last, Google the first two and the last two.
_KEPT = {"aws": (4, 1), "gcp": (2, 2), "azure": (4, 1)}
# Source: AWS "Tag naming limits", Azure "Tag resources"; Google's labels have 63 of a-z, 0-9, _ and -.
_COST_CENTRE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
_SUBSCRIPTION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WIDEST = 8
_SSH = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSettings:
    """What a stack says of its machines in clouds.

    Args:
        ssh_from: the networks that may reach the machines' SSH: where the controllers are. Nothing else gets in.
        cost_centre: whom the bill is for; a tag on everything that costs.
        project: Google's name of the project that pays; empty where no machine is there.
        subscription: Azure's id of the subscription that pays; likewise.
        tunnels_from: the networks from which the stack's machines on computers come; none where that is `ssh_from` too.
        open: by a machine's name, the TCP ports at which everybody reaches it: what prod's users come to.
    """

    ssh_from: tuple[IPv4Network, ...] = ()
    cost_centre: str = "understudy"
    project: str = ""
    subscription: str = ""
    tunnels_from: tuple[IPv4Network, ...] = ()
    open: tuple[tuple[str, tuple[int, ...]], ...] = ()


def read_cloud(place: Place, value: object) -> CloudSettings:
    """Return what a stack's file says of clouds."""
    optional = ("cost_centre", "project", "subscription", "tunnels_from", "open")
    section = read_keys(place, value, required=("ssh_from",), optional=optional)
    found = section.read("ssh_from", read_list, _read_source) or ()
    allowed = "1 to 63 of a-z, 0-9, _ and -, as all clouds can have it in a tag"
    cost_centre = section.read("cost_centre", read_text, _COST_CENTRE, allowed)
    project = section.read("project", read_text, _PROJECT, "a Google Cloud project's ID")
    subscription = section.read("subscription", read_text, _SUBSCRIPTION, "an Azure subscription's ID, 32 hex digits")
    return CloudSettings(
        ssh_from=tuple(IPv4Network(text) for text in found),
        cost_centre=cost_centre or CloudSettings().cost_centre,
        project=project or "",
        subscription=subscription or "",
        tunnels_from=tuple(map(IPv4Network, section.read("tunnels_from", read_list, _read_source) or ())),
        open=section.read("open", _read_open) or (),
    )


def _read_open(place: Place, value: object) -> tuple[tuple[str, tuple[int, ...]], ...]:
    entries = read_mapping(place, value).items()
    return tuple(sorted((str(name), _read_ports(place / name, ports)) for name, ports in entries))


def _read_ports(place: Place, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        place.fault(value, "a list of TCP ports, such as [80, 443]")
        return ()
    found = [read_count(place / index, port, least=1, most=65535) for index, port in enumerate(value)]
    if _SSH in found:
        place.fault(_SSH, "other ports: SSH is for those in `ssh_from`")
    return tuple(sorted({port for port in found if port}))


def _read_source(place: Place, value: object) -> str | None:
    try:
        if isinstance(value, str) and IPv4Network(value).prefixlen >= _WIDEST:
            return str(IPv4Network(value))
    except ValueError:
        pass
    place.fault(value, f"an IPv4 network from which you come, such as 203.0.113.7/32; not wider than /{_WIDEST}")
    return None


def project_of(cloud: CloudSettings, where: str) -> str:
    """Return which of Google's projects pays for a stack.

    Args:
        cloud: what the stack says of clouds.
        where: what names that, for the error.

    Raises:
        UnderstudyError: it says none.
    """
    if not cloud.project:
        raise UnderstudyError(
            where=f"{where}: cloud.project",
            found="nothing",
            wanted="the Google Cloud project that pays for the machines",
            todo="`gcloud projects list` names yours; write `understudy:cloud: {project: ID, …}`.",
        )
    return cloud.project


def subscription_of(cloud: CloudSettings, where: str) -> str:
    """Return which of Azure's subscriptions pays for a stack.

    Args:
        cloud: what the stack says of clouds.
        where: what names that, for the error.

    Raises:
        UnderstudyError: it says none.
    """
    if not cloud.subscription:
        raise UnderstudyError(
            where=f"{where}: cloud.subscription",
            found="nothing",
            wanted="the Azure subscription that pays for the machines",
            todo="`az account list --output table` names yours; write `understudy:cloud: {subscription: ID, …}`.",
        )
    return cloud.subscription


def refuse_plan(kind: str, network: IPv4Network, machines: Collection[Machine], where: str) -> None:
    """Refuse what a cloud cannot hold of prod's plan of addresses.

    Args:
        kind: a key of ``CLOUDS``.
        network: the network that all machines share.
        machines: those that are to run there.
        where: what names them, for the error.

    Raises:
        UnderstudyError: the network is too large or too small, or a machine has an address that the cloud keeps.
    """
    least, most = _PREFIXES[kind]
    if not least <= network.prefixlen <= most:
        raise UnderstudyError(
            where=f"{where}: network",
            found=str(network),
            wanted=f"/{least} to /{most}, as {CLOUDS[kind]} can have it",
            todo="Place these machines on another host, with `capacity`.",
        )
    first, last = _KEPT[kind]
    kept = [machine for machine in machines if not network[first] <= machine.address <= network[-1 - last]]
    if kept:
        raise UnderstudyError(
            where=f"{where}: machines.{kept[0].name}.address",
            found=", ".join(str(machine.address) for machine in kept),
            wanted=f"{network[first]} to {network[-1 - last]}: {CLOUDS[kind]} keeps the others for itself",
            todo="Give them other addresses, or place them on another host.",
        )
