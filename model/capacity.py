"""Where machines may run: this computer, others that are reached over SSH, and clouds; as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from ipaddress import IPv4Address
from zoneinfo import ZoneInfo

from model.topology import Access

HERE = "here"
"""The name of this computer among the hosts."""
LIBVIRT = "libvirt"
CLOUDS: Mapping[str, str] = {"aws": "AWS", "gcp": "Google Compute Engine", "azure": "Azure"}
"""Kinds of host that are a cloud, and how they are called in front of users."""
MOST_VCPUS_PER_CORE = 64
ARCHITECTURES = ("x86_64", "aarch64")
"""As ``uname -m`` says them; the image of the project is built for the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """What a cloud rents out, with its price.

    Args:
        name: the cloud's own name of it, such as ``t3.medium``.
        vcpus: its processors.
        memory_mib: its memory, MiB.
        architecture: one of ``ARCHITECTURES``.
        price_per_month: what it costs when it runs all month, in the currency of the price table.
        disk_price_per_gib_month: what a GiB of disk on it costs a month, in the same currency.
    """

    name: str
    vcpus: int
    memory_mib: int
    architecture: str
    price_per_month: float
    disk_price_per_gib_month: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """What is left to a host's owner, whatever else is free. Sizes in MiB; None is the usual tenth of the host."""

    cores: int = 0
    memory_mib: int | None = None
    disk_mib: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """The time of day in which a host may be used; past midnight where ``until`` is not later than ``begin``."""

    begin: time
    until: time
    time_zone: str

    def __str__(self) -> str:
        return f"{self.begin:%H:%M} to {self.until:%H:%M} ({self.time_zone})"

    def include(self, moment: datetime) -> bool:
        """Tell whether a moment lies within the hours, its begin included and its end not.

        >>> night = Hours(begin=time(22), until=time(6), time_zone="Europe/Berlin")
        >>> from datetime import UTC
        >>> night.include(datetime(2026, 11, 25, 21, 0, tzinfo=UTC)), night.include(datetime(2026, 7, 1, 4, tzinfo=UTC))
        (True, False)
        """
        now = moment.astimezone(ZoneInfo(self.time_zone)).time()
        if self.begin < self.until:
            return self.begin <= now < self.until
        return now >= self.begin or now < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudImage:
    """A machine image in a cloud, found by whose it is and how it is called.

    Args:
        owner: an AWS account, a Google project, or a resource group in Azure.
        name: AWS's name of it, in which ``*`` stands for anything: the newest is taken; Google's family; Azure's name,
            with ``*`` as well: the last in the order of names is taken.
    """

    owner: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityHost:
    """One place where machines may run, as the user describes it.

    Args:
        name: what it is called in the lock file and in front of users; ``here`` is this computer.
        kind: ``libvirt``, or a cloud: a key of ``CLOUDS``.
        access: how it is reached over SSH; None for this computer and for clouds.
        known_hosts: path of a file with its host key, relative to the project; empty for the user's own.
        headroom: what is left to its owner.
        vcpus_per_core: how many processors of machines share one of its cores at most.
        hours: when it may be used; None for always.
        stacks: the stacks that may use it; empty for all.
        region: a cloud's; empty for the others.
        budget_per_month: what machines in this cloud may cost a month, in the currency of the price table; None for
            the others.
        image: a cloud's machine image; None for Debian's own, and for the others.
        address: its own, at which other computers reach it; None where nobody said so, and for clouds.
    """

    name: str
    kind: str = LIBVIRT
    access: Access | None = None
    known_hosts: str = ""
    headroom: Headroom = Headroom()
    vcpus_per_core: int = 4
    hours: Hours | None = None
    stacks: tuple[str, ...] = ()
    region: str = ""
    budget_per_month: float | None = None
    image: CloudImage | None = None
    address: IPv4Address | None = None

    @property
    def is_cloud(self) -> bool:
        """Return whether it costs money."""
        return self.kind in CLOUDS
