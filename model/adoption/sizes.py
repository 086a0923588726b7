"""How large a machine is: its memory, and the disks that a mirror of it needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model import rules
from model.adoption.remarks import gibibytes, listed
from model.facts import Block, HostFacts

_MIB = 1024**2
_GIB = 1024**3

# Mounts that belong to the system itself, and so to the disk that a mirror boots from.
_SYSTEM_MOUNTS = frozenset(
    {
        *("/", "/boot", "/boot/efi", "/efi", "/usr", "/usr/local", "/home", "/opt", "/root", "/tmp", "[SWAP]"),  # noqa: S108 - read, not used
        *("/var", "/var/log", "/var/log/audit", "/var/tmp", "/var/cache", "/var/lib"),  # noqa: S108
    }
)
_NOT_COUNTED = ("/snap/", "/media/", "/mnt/", "/run/", "/var/snap/", "/boot/", "/backup")
_NO_DISKS = frozenset({"loop", "rom"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes in MiB; None where they could not be told. ``notes`` are about all of them."""

    memory_mib: int | None
    system_disk_mib: int | None
    data_disk_mib: int | None
    notes: tuple[str, ...] = ()


def sizes(facts: HostFacts) -> Sizes:
    """Return a machine's sizes; ``data_disk_mib`` is 0 for a machine that needs no data disk."""
    notes: list[str] = []
    return Sizes(
        memory_mib=_memory(facts, notes),
        system_disk_mib=_system_disk(facts, notes),
        data_disk_mib=_data_disk(facts, notes),
        notes=tuple(notes),
    )


def _memory(facts: HostFacts, notes: list[str]) -> int | None:
    managed, installed = facts.memory_mib, facts.installed_mib
    if managed is None:
        return installed
    # In a container the firmware's table is the host's: it counts only where the kernel manages nearly all of it.
    if installed is not None and managed <= installed <= managed * 4 / 3 + 64:
        return installed
    rounded = rounded_memory(managed)
    notes.append(f"Memory: the kernel manages {managed} MiB; what is installed was rounded up from that.")
    return rounded


def rounded_memory(managed_mib: int) -> int:
    """Return what is probably installed, where the kernel, which keeps some for itself, manages this much.

    >>> rounded_memory(221), rounded_memory(1975), rounded_memory(64261)
    (256, 2048, 65536)
    """
    power = 1 << (managed_mib - 1).bit_length() if managed_mib > 1 else 1
    step = max(power // 8, 128)
    return math.ceil(managed_mib / step) * step


def _mib(size_bytes: int) -> int:
    return math.ceil(size_bytes / _MIB)


class _Tree:
    """Block devices by name, and what lies on what."""

    def __init__(self, facts: HostFacts) -> None:
        self.blocks = {block.name: block for block in facts.blocks if block.kind not in _NO_DISKS}
        self.facts = facts

    def at(self, mount: str) -> Block | None:
        return next((block for block in self.blocks.values() if block.mount == mount), None)

    def disks_under(self, block: Block) -> set[str]:
        """Return the names of the devices at the bottom, on which the device lies in the end."""
        seen, waiting, found = set[str](), [block.name], set[str]()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            parents = [parent for parent in self.blocks[name].parents if parent in self.blocks]
            waiting += parents
            found |= set() if parents else {name}
        return found

    def plain_disk(self, block: Block) -> Block | None:
        """Return the disk of which the device is a partition, or which it is; None for RAID, LVM and the like."""
        if block.kind == "disk":
            return block
        parents = [self.blocks[name] for name in block.parents if name in self.blocks]
        return parents[0] if block.kind == "part" and len(parents) == 1 and parents[0].kind == "disk" else None

    def system(self) -> list[Block]:
        return [block for block in self.blocks.values() if block.mount in _SYSTEM_MOUNTS]

    def data(self) -> list[Block]:
        """Return the mounted devices that are not the system's."""
        return [
            block
            for block in self.blocks.values()
            if block.mount.startswith("/")
            and block.mount not in _SYSTEM_MOUNTS
            and not f"{block.mount}/".startswith(_NOT_COUNTED)
        ]


def _system_disk(facts: HostFacts, notes: list[str]) -> int | None:
    tree = _Tree(facts)
    _note_spare(tree, notes)
    root = tree.at("/")
    if root is None:
        filesystem = next((item for item in facts.filesystems if item.mount == "/"), None)
        return max(_mib(filesystem.size_bytes), rules.LEAST_SYSTEM_DISK_MIB) if filesystem else None
    disk = tree.plain_disk(root)
    if disk is None:
        size = sum(block.size_bytes for block in tree.system())
    else:
        beside = [block for block in tree.data() if block is not disk and disk.name in tree.disks_under(block)]
        size = disk.size_bytes - sum(block.size_bytes for block in beside)
    return max(_mib(size), rules.LEAST_SYSTEM_DISK_MIB)


def _note_spare(tree: _Tree, notes: list[str]) -> None:
    used = {name for block in tree.blocks.values() for name in block.parents}
    spare = [
        f"{block.name} ({gibibytes(block.size_bytes)})"
        for block in tree.blocks.values()
        if block.kind == "disk"
        and block.name not in used
        and not block.mount
        and not block.filesystem
        and block.size_bytes >= _GIB
    ]
    if spare:
        notes.append(f"Used by nothing that could be seen: {listed(spare)}.")


def _data_disk(facts: HostFacts, notes: list[str]) -> int | None:
    tree = _Tree(facts)
    servers = [server for server in facts.servers if server.running]
    if not servers:
        mounts = {block.mount for block in tree.data()}
    elif any(not server.mount for server in servers):
        return None
    else:
        mounts = {server.mount for server in servers}
        _note_beside(tree, mounts, notes)
    apart = {mount for mount in mounts if mount not in _SYSTEM_MOUNTS}
    total = sum(_volume(tree, mount) for mount in apart)
    if servers and apart != mounts:
        stored = sum(database.size_bytes for server in servers for database in server.databases)
        room = max(math.ceil(2 * stored / _GIB), 1) * _GIB
        notes.append(
            f"Its data ({gibibytes(stored)}) lies on the system's disk; a mirror keeps it apart, with room to double."
        )
        total += room
    return max(_mib(total), rules.LEAST_DATA_DISK_MIB) if total else 0


def _note_beside(tree: _Tree, mounts: set[str], notes: list[str]) -> None:
    beside = [f"{block.mount} ({gibibytes(block.size_bytes)})" for block in tree.data() if block.mount not in mounts]
    if beside:
        notes.append(f"Not counted, since no database lies there: {listed(beside)}.")


def _volume(tree: _Tree, mount: str) -> int:
    """Return the size in bytes of what is mounted there: the whole disk where it has it to itself."""
    block = tree.at(mount)
    if block is None:
        return next((item.size_bytes for item in tree.facts.filesystems if item.mount == mount), 0)
    disk = tree.plain_disk(block)
    if disk is None or any(
        other is not block and other.mount and disk.name in tree.disks_under(other) for other in tree.blocks.values()
    ):
        return block.size_bytes
    return disk.size_bytes
