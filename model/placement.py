"""The lock file of a stack: what was chosen once, so that a preview acts on nothing and is the same twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network

from model import rules
from model.errors import ConfigurationError
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

VERSION = 1
HERE = "here"
CONTROL_PREFIX = 24
FIRST_ADDRESS = 10
"""The first machine's number in the control network."""
_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_LONGEST_LABEL = 1024
_DIGEST = re.compile(r"[0-9a-f]{12,64}")
_IMAGE = re.compile(r"([0-9a-f]{12,64})?")
_DIGEST_ALLOWED = "a digest: 12 to 64 hex digits"
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """How processors are run: ``kvm`` or ``tcg``, and why, in one line."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedMachine:
    """Where a machine runs, and its address on the control network."""

    name: str
    host: str
    control_address: IPv4Address


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
        machines: sorted by name; those that exist already are not among them.
        seeds: sorted by the store's name; none for stores that begin empty.
    """

    control_network: IPv4Network
    accelerator: Accelerator
    image: str
    machines: tuple[PlacedMachine, ...]
    seeds: tuple[PinnedSeed, ...] = ()
    own_image: OwnImage | None = None

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
        "version": VERSION,
        "control_network": str(placement.control_network),
        "accelerator": {
            "kind": placement.accelerator.kind,
            "reason": placement.accelerator.reason,
        },
        "image": placement.image,
        **({"own_image": asdict(placement.own_image)} if placement.own_image else {}),
        "machines": {
            machine.name: {
                "host": machine.host,
                "control_address": str(machine.control_address),
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
    if isinstance(values, Mapping) and values.get("version", VERSION) != VERSION:
        required = ("version",)  # the other keys are another version's: nothing true can be said of them
        values = {"version": values["version"]}
    placement = _read(read_keys(place, values, required=required, optional=("own_image", "seeds")))
    if place.faults or placement is None:
        raise ConfigurationError(tuple(place.faults))
    return placement


def _read(section: Section) -> Placement | None:
    if section.read("version", read_count, least=VERSION, most=VERSION) is None:
        return None
    network = section.read("control_network", _read_control_network)
    accelerator = section.read("accelerator", _read_accelerator)
    image = section.read("image", read_text, _IMAGE, f"{_DIGEST_ALLOWED}, or nothing where no machine is built")
    own_image = section.read("own_image", _read_own_image)
    machines = section.read("machines", _read_machines, network) or []
    seeds = section.read("seeds", _read_seeds) or []
    if network is None or accelerator is None or image is None:
        return None
    return Placement(
        control_network=network,
        accelerator=accelerator,
        image=image,
        machines=tuple(sorted(machines, key=lambda machine: machine.name)),
        seeds=tuple(sorted(seeds, key=lambda seed: seed.store)),
        own_image=own_image,
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


def _read_accelerator(place: Place, value: object) -> Accelerator | None:
    section = read_keys(place, value, required=("kind", "reason"))
    kind = section.read("kind", read_choice, ("kvm", "tcg"))
    reason = section.read("reason", read_text, str.isprintable, "one line of text")
    return Accelerator(kind=kind, reason=reason) if kind is not None and reason is not None else None


def _read_machines(place: Place, value: object, network: IPv4Network | None) -> list[PlacedMachine]:
    machines: list[PlacedMachine] = []
    for name, entry in read_mapping(place, value).items():
        machine = _read_machine(place / name, name, entry)
        if machine is None:
            continue
        address = machine.control_address
        if network and not network[FIRST_ADDRESS] <= address <= network[-2]:
            (place / name / "control_address").fault(str(address), f"{network[FIRST_ADDRESS]} to {network[-2]}")
        if any(other.control_address == address for other in machines):
            (place / name / "control_address").fault(str(address), "an address of its own")
        machines.append(machine)
    return machines


def _read_machine(place: Place, name: object, value: object) -> PlacedMachine | None:
    section = read_keys(place, value, required=("host", "control_address"))
    known = read_text(place, name, _NAME, "a machine's name as the key")
    host = section.read("host", read_choice, (HERE,))
    address = section.read("control_address", read_address)
    if known is None or host is None or address is None:
        return None
    return PlacedMachine(name=known, host=host, control_address=address)


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
