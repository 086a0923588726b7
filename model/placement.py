"""The lock file of a stack: what was chosen once, so that a preview acts on nothing and is the same twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network

from model import rules
from model.capacity import CLOUDS, HERE
from model.errors import ConfigurationError
from model.placed_hosts import (
    Accelerator,
    PlacedHost,
    accelerator_as_values,
    hosts_as_values,
    read_accelerator,
    read_hosts,
)
from model.readers import (
    Place,
    Section,
    read_address,
    read_choice,
    read_count,
    read_keys,
    read_mapping,
    read_network,
    read_text,
)

__all__ = [
    "HERE",
    "Accelerator",
    "OwnImage",
    "PinnedSeed",
    "PlacedHost",
    "PlacedMachine",
    "Placement",
    "as_values",
    "file_name",
    "is_label",
    "read_placement",
]

VERSION, VERSION_WITH_HOSTS = 1, 2
"""A file whose machines are all on this computer stays as it always was; the second version names other hosts too."""
CONTROL_PREFIX = 24
FIRST_ADDRESS = 10
"""The first machine's number in the control network."""
_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
# Source: AWS "t3.medium", Google "e2-standard-4", Azure "Standard_B2s_v2".
_INSTANCE_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_LABEL = 1024
_DIGEST = re.compile(r"[0-9a-f]{12,64}")
_IMAGE = re.compile(r"([0-9a-f]{12,64})?")
_DIGEST_ALLOWED = "a digest: 12 to 64 hex digits"
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedMachine:
    """Where a machine runs, and its address on the control network.

    Args:
        name: its name in the topology.
        host: ``here``, or the name of one of the lock file's hosts.
        control_address: its address on the control network.
        instance_type: what is rented for it, in a cloud; empty elsewhere.
    """

    name: str
    host: str
    control_address: IPv4Address
    instance_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedSeed:
    """The snapshot that fills a store.

    Args:
        store: the store's name.
        snapshot: the snapshot's label in its repository.
        taken_at: when it was taken, UTC, whole seconds.
        repository_digest: SHA-256 over what identifies the snapshot in its repository, as hex digits.
        drilled_at: when a drill last asked to restore it anew, UTC, whole seconds; None where none has.
    """

    store: str
    snapshot: str
    taken_at: datetime
    repository_digest: str
    drilled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnImage:
    """The user's own machine image, as it was when it was asked for.

    Args:
        source: its path or address, as the stack's file named it.
        disk_mib: size of its disk, MiB, rounded up.
    """

    source: str
    disk_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """All that a lock file fixes.

    Args:
        control_network: a /24 of the stack's own; the host has .1, machines .10 and up.
        image: digest of the machine image; the first 12 digits name it in the host's cache. Empty where no machine is
            built. Of an image of the user's own, it is the whole SHA-256 of its content.
        own_image: what that is; None for the project's image.
        accelerator: how this computer's processors are run.
        hosts: sorted by name; those other than this computer on which machines are.
        machines: sorted by name; those that exist already are not among them.
        seeds: sorted by the store's name; none for stores that begin empty.
        offsite: the host beside whose off-site copy the stores are filled from; empty where there is no such choice.
        lost: hosts that were given up; no machine is placed there until what the stack had there is swept.
        address: from which this computer's machines' tunnels come, where a stack is in several places; None otherwise.
    """

    control_network: IPv4Network
    accelerator: Accelerator
    image: str
    machines: tuple[PlacedMachine, ...]
    seeds: tuple[PinnedSeed, ...] = ()
    own_image: OwnImage | None = None
    hosts: tuple[PlacedHost, ...] = ()
    offsite: str = ""
    lost: tuple[PlacedHost, ...] = ()
    address: IPv4Address | None = None

    def host(self, name: str) -> PlacedHost | None:
        """Return the host of that name, None for this computer."""
        return next((host for host in self.hosts if host.name == name), None)

    def accelerator_on(self, name: str) -> Accelerator:
        """Return how the processors of a host are run."""
        host = self.host(name)
        return host.accelerator if host and host.accelerator else self.accelerator

    def emulates(self, machine: PlacedMachine) -> bool:
        """Return whether a machine's processors are emulated, and we boot its kernel."""
        host = self.host(machine.host)
        accelerator = host.accelerator if host else self.accelerator
        return self.own_image is None and accelerator is not None and accelerator.kind == "tcg"

    @property
    def needs_image(self) -> bool:
        """Return whether a machine is on a host that is no cloud: clouds have images of their own."""
        clouds = {host.name for host in self.hosts if host.kind in CLOUDS}
        return any(machine.host not in clouds for machine in self.machines)

    def machine(self, name: str) -> PlacedMachine:
        """Return where the machine of that name is; every machine that is built is placed."""
        return next(machine for machine in self.machines if machine.name == name)

    def seed(self, store: str) -> PinnedSeed | None:
        """Return the snapshot that fills a store, or None where it begins empty."""
        return next((seed for seed in self.seeds if seed.store == store), None)


def file_name(stack: str) -> str:
    """Return the lock file's name.

    >>> file_name("stage")
    'Placement.stage.lock.yaml'
    """
    return f"Placement.{stack}.lock.yaml"


def as_values(placement: Placement) -> dict[str, object]:
    """Return a placement as the plain values of its file, in a fixed order."""
    return {
        "version": VERSION_WITH_HOSTS if placement.hosts or placement.lost else VERSION,
        "control_network": str(placement.control_network),
        "accelerator": accelerator_as_values(placement.accelerator),
        "image": placement.image,
        **({"own_image": asdict(placement.own_image)} if placement.own_image else {}),
        **({"hosts": hosts_as_values(placement.hosts)} if placement.hosts else {}),
        **({"address": str(placement.address)} if placement.address else {}),
        **({"offsite": placement.offsite} if placement.offsite else {}),
        **({"lost": hosts_as_values(placement.lost)} if placement.lost else {}),
        "machines": {
            machine.name: {
                "host": machine.host,
                "control_address": str(machine.control_address),
                **({"instance_type": machine.instance_type} if machine.instance_type else {}),
            }
            for machine in sorted(placement.machines, key=lambda machine: machine.name)
        },
        "seeds": {
            seed.store: {
                "snapshot": seed.snapshot,
                "taken_at": _written(seed.taken_at),
                "repository_digest": seed.repository_digest,
                **({"drilled_at": _written(seed.drilled_at)} if seed.drilled_at else {}),
            }
            for seed in sorted(placement.seeds, key=lambda seed: seed.store)
        },
    }


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def is_label(text: str) -> bool:
    """Tell whether a text can be a snapshot's label: for a dump, that is the name of a file.

    >>> is_label("20261123-020000F"), is_label("nightly/shop of monday.sql.gz"), is_label("--all"), is_label("")
    (True, True, False, False)
    """
    return 0 < len(text) <= _LONGEST_LABEL and text.isprintable() and not text.startswith("-")


def read_placement(file: str, values: object) -> Placement:
    """Return the placement that a lock file holds.

    Args:
        file: the file's name, for faults.
        values: what stands in it, parsed.

    Raises:
        ConfigurationError: with everything that is wrong with it.
    """
    place = Place(file, (), [])
    required: tuple[str, ...] = ("version", "control_network", "accelerator", "image", "machines")
    version = values.get("version", VERSION) if isinstance(values, Mapping) else VERSION
    if version not in (VERSION, VERSION_WITH_HOSTS) and isinstance(values, Mapping):
        required = ("version",)  # the other keys are another version's: nothing true can be said of them
        values = {"version": version}
    optional = (
        "own_image",
        "seeds",
        *(("hosts", "address", "offsite", "lost") if version == VERSION_WITH_HOSTS else ()),
    )
    placement = _read(read_keys(place, values, required=required, optional=optional))
    if place.faults or placement is None:
        raise ConfigurationError(tuple(place.faults))
    return placement


def _read(section: Section) -> Placement | None:
    if section.read("version", read_count, least=VERSION, most=VERSION_WITH_HOSTS) is None:
        return None
    network = section.read("control_network", _read_control_network)
    accelerator = section.read("accelerator", read_accelerator)
    image = section.read("image", read_text, _IMAGE, f"{_DIGEST_ALLOWED}, or nothing where no machine is built")
    own_image = section.read("own_image", _read_own_image)
    hosts = section.read("hosts", read_hosts) or ()
    machines = section.read("machines", _read_machines, network, _kinds(section.values.get("hosts"))) or []
    seeds = section.read("seeds", _read_seeds) or []
    address = section.read("address", read_address)
    offsite = section.read("offsite", read_choice, [host.name for host in hosts])
    if network is None or accelerator is None or image is None:
        return None
    return Placement(
        control_network=network,
        accelerator=accelerator,
        image=image,
        machines=tuple(sorted(machines, key=lambda machine: machine.name)),
        seeds=tuple(sorted(seeds, key=lambda seed: seed.store)),
        own_image=own_image,
        hosts=hosts,
        offsite=offsite or "",
        lost=section.read("lost", read_hosts) or (),
        address=address,
    )


def _read_own_image(place: Place, value: object) -> OwnImage | None:
    section = read_keys(place, value, required=("source", "disk_mib"))
    source = section.read("source", read_text, rules.is_image, rules.IMAGE_ALLOWED)
    disk_mib = section.read("disk_mib", read_count, least=1, most=1 << 30)
    return OwnImage(source=source, disk_mib=disk_mib) if source is not None and disk_mib is not None else None


def _read_control_network(place: Place, value: object) -> IPv4Network | None:
    network = read_network(place, value)
    if network and network.prefixlen != CONTROL_PREFIX:
        place.fault(value, "a network of 256 addresses (/24)")
        return None
    return network


def _read_machines(
    place: Place, value: object, network: IPv4Network | None, hosts: Mapping[str, object]
) -> list[PlacedMachine]:
    machines: list[PlacedMachine] = []
    for name, entry in read_mapping(place, value).items():
        machine = _read_machine(place / name, name, entry, hosts)
        if machine is None:
            continue
        address = machine.control_address
        if network and not network[FIRST_ADDRESS] <= address <= network[-2]:
            (place / name / "control_address").fault(str(address), f"{network[FIRST_ADDRESS]} to {network[-2]}")
        if any(other.control_address == address for other in machines):
            (place / name / "control_address").fault(str(address), "an address of its own")
        machines.append(machine)
    return machines


def _kinds(hosts: object) -> dict[str, object]:
    """The hosts' names as they are written, with their kinds: one with a fault of its own is still there."""
    entries = hosts.items() if isinstance(hosts, Mapping) else ()
    return {str(name): entry.get("kind") if isinstance(entry, Mapping) else None for name, entry in entries}


def _read_machine(place: Place, name: object, value: object, hosts: Mapping[str, object]) -> PlacedMachine | None:
    rented = isinstance(value, Mapping) and hosts.get(str(value.get("host"))) in CLOUDS
    required = ("host", "control_address", *(("instance_type",) if rented else ()))
    section = read_keys(place, value, required=required)
    known = read_text(place, name, _NAME, "a machine's name as the key")
    host = section.read("host", read_choice, (HERE, *hosts))
    address = section.read("control_address", read_address)
    rent = section.read("instance_type", read_text, _INSTANCE_TYPE, "the cloud's name of it, such as t3.medium")
    if known is None or host is None or address is None:
        return None
    return PlacedMachine(name=known, host=host, control_address=address, instance_type=rent or "")


def _read_seeds(place: Place, value: object) -> list[PinnedSeed]:
    seeds = (_read_seed(place / name, name, entry) for name, entry in read_mapping(place, value).items())
    return [seed for seed in seeds if seed is not None]


def _read_seed(place: Place, name: object, value: object) -> PinnedSeed | None:
    required = ("snapshot", "taken_at", "repository_digest")
    section = read_keys(place, value, required=required, optional=("drilled_at",))
    known = read_text(place, name, _NAME, "a store's name as the key")
    label = section.read("snapshot", read_text, is_label, "a snapshot's label")
    taken_at = section.read("taken_at", _read_time)
    digest = section.read("repository_digest", read_text, _DIGEST, _DIGEST_ALLOWED)
    drilled_at = section.read("drilled_at", _read_time)
    if known is None or label is None or taken_at is None or digest is None:
        return None
    return PinnedSeed(store=known, snapshot=label, taken_at=taken_at, repository_digest=digest, drilled_at=drilled_at)


def _read_time(place: Place, value: object) -> datetime | None:
    try:
        if isinstance(value, str):
            return datetime.strptime(value, _TIME).replace(tzinfo=UTC)
    except ValueError:
        pass
    place.fault(value, "a time in UTC, such as 2026-11-23T02:00:00Z")
    return None
