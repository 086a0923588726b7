"""Block devices and mounted file systems."""

from __future__ import annotations

import re
from collections.abc import Iterator

from model.facts import Block, Filesystem
from provisioners.facts.fact import ROOT, Fact

_PAIR = re.compile(r'([A-Z]+)="([^"]*)"')
_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})")
_COLUMNS = "NAME,KNAME,TYPE,SIZE,FSTYPE,MOUNTPOINT,PKNAME"


def _plain(text: str) -> str:
    r"""Undo lsblk's escapes, which stand for bytes.

    >>> _plain(r"data\x20one")
    'data one'
    """
    return (
        _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text).encode("latin-1", "replace").decode("utf-8", "replace")
    )


def _rows(output: str) -> Iterator[dict[str, str]]:
    for line in output.splitlines():
        row = dict(_PAIR.findall(line))
        if row:
            yield row


def parse_blocks(output: str) -> tuple[Block, ...]:
    """Return the block devices; one that stands below several others, as a RAID does, comes once.

    Args:
        output: of ``lsblk --pairs --bytes``, which all versions since 2.22 print alike (JSON came later, and changed).

    Raises:
        ValueError: a size is not a number.
    """
    blocks: dict[str, Block] = {}
    names = {row.get("KNAME", ""): row["NAME"] for row in _rows(output) if "NAME" in row}
    for row in _rows(output):
        kernel_name = row.get("KNAME", row["NAME"])
        parent = names.get(row.get("PKNAME", ""), "")
        known = blocks.get(kernel_name)
        parents = (known.parents if known else ()) + ((_plain(parent),) if parent else ())
        blocks[kernel_name] = Block(
            name=_plain(row["NAME"]),
            kind=row["TYPE"],
            size_bytes=int(row["SIZE"]),
            filesystem=row.get("FSTYPE", ""),
            mount=_plain(row.get("MOUNTPOINT", "")),
            parents=tuple(dict.fromkeys(parents)),
        )
    return tuple(blocks.values())


def parse_filesystems(output: str) -> tuple[Filesystem, ...]:
    """Return the mounted file systems of ``df``; memory and network file systems are left out.

    Raises:
        ValueError: a size is not a number.
    """
    found = []
    for line in output.splitlines()[1:]:
        source, kind, size, used, mount = line.split(maxsplit=4)
        if size == "-" or kind in _NOT_ON_DISK:
            continue
        found.append(Filesystem(source=source, kind=kind, size_bytes=int(size), used_bytes=int(used), mount=mount))
    return tuple(found)


_NOT_ON_DISK = frozenset({"tmpfs", "devtmpfs", "squashfs", "efivarfs", "ramfs", "iso9660", "fuse.snapfuse"})

BLOCKS = Fact(
    name="block devices",
    argv=("lsblk", "--pairs", "--bytes", "--output", _COLUMNS),
    parse=parse_blocks,
    codes=(0, 32, 64),
)
FILESYSTEMS = Fact(
    name="file systems",
    argv=("df", "--local", "--block-size=1", "--output=source,fstype,size,used,target"),
    parse=parse_filesystems,
    codes=(0, 1),
)


def holding(directory: str) -> Fact[tuple[Filesystem, ...]]:
    """Return the question for the file system on which a directory lies, whatever links lead there."""
    argv = ("df", "--block-size=1", "--output=source,fstype,size,used,target", "--", directory)
    return Fact(name=f"file system of {directory}", argv=argv, parse=parse_filesystems, user=ROOT)
