"""What was found on a host, and how much of it a stack may have."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from model.capacity import CapacityHost
from model.facts import Unread
from model.placed_hosts import Accelerator
from model.placing import HEADROOM, SYSTEM_GROWTH_MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk of a guest, sizes in MiB.

    Args:
        path: where it lies on the host.
        capacity_mib: what was promised to the guest.
        used_mib: what it takes so far.
    """

    path: str
    capacity_mib: int
    used_mib: int

    @property
    def promised_mib(self) -> int:
        """Return what it will still take: of a linked clone of ours what is expected, of any other disk all."""
        ours = "/understudy/stacks/" in self.path and "-system-" in self.path
        return max(0, (min(self.capacity_mib, SYSTEM_GROWTH_MIB) if ours else self.capacity_mib) - self.used_mib)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A virtual machine that is on a host already. ``resident_mib`` is the host's memory that it takes now."""

    name: str
    running: bool
    vcpus: int = 0
    memory_mib: int = 0
    resident_mib: int = 0
    disks: tuple[Disk, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpeed:
    """What a disk did, in MiB a second. ``read`` is None where the host cannot read past its own memory."""

    write: float
    read: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The way from one host to another.

    Args:
        to: the other host's name.
        milliseconds: a round trip; None where the other does not answer from there.
        mib_per_second: what got through; None where that was not measured.
    """

    to: str
    milliseconds: float | None = None
    mib_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedHost:
    """What was found on one host. Sizes in MiB.

    Args:
        host: as the user describes it.
        why_not: why it cannot be used now; empty where it can.
        todo: what would change that.
        load: processes that ran or waited, the mean of the last minute.
        free_memory_mib: memory that can be had without swapping.
        libvirt: its version; ``hypervisor`` that of QEMU.
        guests: what runs there or could be started.
        host_key: the key that it showed, which was known beforehand.
        seconds: how long the probe of it took.
        unread: what could not be read, and did not matter so much that it is out.
    """

    host: CapacityHost
    why_not: str = ""
    todo: str = ""
    architecture: str = ""
    cores: int = 0
    load: float = 0.0
    memory_mib: int = 0
    free_memory_mib: int = 0
    disk_mib: int = 0
    free_disk_mib: int = 0
    disk_speed: DiskSpeed | None = None
    libvirt: str = ""
    hypervisor: str = ""
    accelerator: Accelerator | None = None
    on_battery: bool = False
    guests: tuple[Guest, ...] = ()
    host_key: str = ""
    links: tuple[Link, ...] = ()
    seconds: float = 0.0
    unread: tuple[Unread, ...] = ()

    @property
    def usable(self) -> bool:
        """Return whether machines may be placed there."""
        return not self.why_not

    @property
    def promised_memory_mib(self) -> int:
        """Return the memory that running guests were promised and have not taken yet."""
        return sum(max(0, guest.memory_mib - guest.resident_mib) for guest in self.guests if guest.running)

    @property
    def promised_disk_mib(self) -> int:
        """Return the disk that guests were promised and have not taken yet."""
        return sum(disk.promised_mib for guest in self.guests for disk in guest.disks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a stack may have of a host: its cores, and processors of machines, each of them at most; sizes in MiB."""

    cores: int
    vcpus: int
    memory_mib: int
    disk_mib: int


def room(probed: ProbedHost, own: Collection[str] = ()) -> Room:
    """Return what a stack may have of a host: what is free, less what others were promised and the owner's headroom.

    Args:
        probed: what was found there.
        own: the domains of the stack itself: what they take is not taken from it.

    >>> from model.capacity import CapacityHost
    >>> host = ProbedHost(host=CapacityHost(name="desk"), cores=8, load=0.4, memory_mib=16000, free_memory_mib=9000)
    >>> room(host).memory_mib, room(host).vcpus
    (7400, 32)
    """
    ours = [guest for guest in probed.guests if guest.name in own]
    others = [guest for guest in probed.guests if guest.name not in own]
    headroom = probed.host.headroom
    memory_left = int(probed.memory_mib * HEADROOM) if headroom.memory_mib is None else headroom.memory_mib
    disk_left = int(probed.disk_mib * HEADROOM) if headroom.disk_mib is None else headroom.disk_mib
    memory = probed.free_memory_mib + sum(guest.resident_mib for guest in ours if guest.running)
    disk = probed.free_disk_mib + sum(disk.used_mib for guest in ours for disk in guest.disks)
    promised_memory = sum(max(0, each.memory_mib - each.resident_mib) for each in others if each.running)
    promised_disk = sum(disk.promised_mib for each in others for disk in each.disks)
    busy = max(0, math.floor(probed.load + 0.5) - sum(guest.vcpus for guest in probed.guests if guest.running))
    cores = max(0, probed.cores - headroom.cores)
    free = max(0, cores - min(busy, cores // 2)) * probed.host.vcpus_per_core  # a busy minute is no busy day
    taken = sum(guest.vcpus for guest in others if guest.running)
    return Room(
        cores=cores,
        vcpus=max(0, free - taken),
        memory_mib=max(0, min(memory, probed.memory_mib) - promised_memory - memory_left),
        disk_mib=max(0, disk - promised_disk - disk_left),
    )


def ways_to_measure(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return to which others each host measures the way: each pair once, since a way is the same in both directions.

    All have the same number of them, or one more.

    >>> ways_to_measure(["a", "b", "c", "d"])
    {'a': ('b', 'c'), 'b': ('c', 'd'), 'c': ('d',), 'd': ('a',)}
    """
    count = len(names)
    return {
        name: tuple(
            names[(number + step) % count]
            for step in range(1, count // 2 + 1)
            if 2 * step < count or number < count // 2
        )
        for number, name in enumerate(names)
    }
