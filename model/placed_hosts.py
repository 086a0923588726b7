"""The part of a lock file that says which other hosts a stack's machines are on, and how each is reached."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from model import rules
from model.capacity import ARCHITECTURES, CLOUDS, LIBVIRT, CloudImage
from model.capacity_reader import read_access, read_cloud_image
from model.connection import Connection, way_by
from model.readers import Place, read_address, read_choice, read_keys, read_mapping, read_name, read_text
from model.topology import Access

# Source: sshd(8), "AUTHORIZED_KEYS FILE FORMAT": a key's type and the key in base64.
_HOST_KEY = re.compile(r"[a-z0-9@.-]{1,64} [A-Za-z0-9+/=]{1,8192}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """How processors are run: ``kvm`` or ``tcg``, and why, in one line."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedHost:
    """A host other than this computer, as it was when machines were placed on it.

    Args:
        name: what ``Capacity.yaml`` calls it.
        kind: ``libvirt``, or a cloud.
        access: how it is reached over SSH; None for a cloud.
        host_key: its public host key, such as ``ssh-ed25519 AAAA…``; empty where the user's ``known_hosts`` has it.
        accelerator: how its processors are run; None for a cloud.
        architecture: as ``uname -m`` says it.
        region: a cloud's.
        image: what a cloud's machines are made of; None for Debian's own image.
        address: from which its machines' tunnels come, where a stack is in several places; None where nobody said so.
    """

    name: str
    kind: str = LIBVIRT
    access: Access | None = None
    host_key: str = ""
    accelerator: Accelerator | None = None
    architecture: str = ARCHITECTURES[0]
    region: str = ""
    image: CloudImage | None = None
    address: IPv4Address | None = None

    @property
    def connection(self) -> Connection:
        """Return how it is reached; a cloud is not reached over SSH."""
        assert self.access is not None
        return way_by(self.name, self.access, self.host_key)


def hosts_as_values(hosts: Sequence[PlacedHost]) -> dict[str, object]:
    """Return the hosts as the plain values of the lock file."""
    return {host.name: _as_values(host) for host in sorted(hosts, key=lambda host: host.name)}


def _as_values(host: PlacedHost) -> dict[str, object]:
    values: dict[str, object] = {"kind": host.kind}
    if host.access is not None:
        access = host.access
        values |= {"host": access.host, "port": access.port, "user": access.user, "sudo": access.sudo}
        values |= {key: text for key, text in (("jump", access.jump), ("host_key", host.host_key)) if text}
        values |= {"address": str(host.address)} if host.address else {}
    if host.accelerator is not None:
        values["accelerator"] = accelerator_as_values(host.accelerator)
    values["architecture"] = host.architecture
    if host.image is not None:
        values["image"] = {"owner": host.image.owner, "name": host.image.name}
    return values | ({"region": host.region} if host.region else {})


def accelerator_as_values(accelerator: Accelerator) -> dict[str, object]:
    """Return how processors are run, as the plain values of the lock file."""
    return {"kind": accelerator.kind, "reason": accelerator.reason}


def read_hosts(place: Place, value: object) -> tuple[PlacedHost, ...]:
    """Return the hosts that a lock file names."""
    hosts = (_read_host(place / name, name, entry) for name, entry in read_mapping(place, value).items())
    return tuple(sorted((host for host in hosts if host is not None), key=lambda host: host.name))


def _read_host(place: Place, name: object, value: object) -> PlacedHost | None:
    known = read_name(place, name, "host")
    kind = value.get("kind", LIBVIRT) if isinstance(value, Mapping) else LIBVIRT
    if read_choice(place / "kind", kind, (LIBVIRT, *CLOUDS)) is None:
        return None
    required = ("kind", "architecture", *(("region",) if kind in CLOUDS else ("host", "accelerator")))
    optional: tuple[str, ...] = (
        ("image",) if kind in CLOUDS else ("port", "user", "sudo", "jump", "host_key", "address")
    )
    section = read_keys(place, value, required=required, optional=optional)
    architecture = section.read("architecture", read_choice, ARCHITECTURES)
    region = section.read("region", read_text, rules.REGION, rules.REGION_ALLOWED)
    key = section.read("host_key", read_text, _HOST_KEY, "a public host key, such as ssh-ed25519 AAAA…")
    accelerator = section.read("accelerator", read_accelerator)
    access = read_access(place, section.values) if kind == LIBVIRT else None
    if known is None or architecture is None:
        return None
    return PlacedHost(
        name=known,
        kind=str(kind),
        access=access,
        host_key=key or "",
        accelerator=accelerator,
        architecture=architecture,
        region=region or "",
        image=section.read("image", read_cloud_image, str(kind)),
        address=section.read("address", read_address),
    )


def read_accelerator(place: Place, value: object) -> Accelerator | None:
    """Return how processors are run."""
    section = read_keys(place, value, required=("kind", "reason"))
    kind = section.read("kind", read_choice, ("kvm", "tcg"))
    reason = section.read("reason", read_text, str.isprintable, "one line of text")
    return Accelerator(kind=kind, reason=reason) if kind is not None and reason is not None else None
