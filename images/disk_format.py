"""What a file is that is said to be a machine image. Pure: looks at its first bytes, and trusts nothing in them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEAD_BYTES = 1024
SECTOR = 512
QCOW2 = b"QFI\xfb"
_OTHERS = {
    b"KDMV": "a VMDK image",
    b"COWD": "a VMDK image",
    b"vhdxfile": "a VHDX image",
    b"conectix": "a VHD image",
    b"<<< ": "a VDI image",
    b"QED\0": "a QED image",
    b"\x1f\x8b": "compressed with gzip",
    b"\xfd7zXZ": "compressed with xz",
    b"BZh": "compressed with bzip2",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"PK\x03\x04": "a zip archive",
    b"<": "a page or a document",
    b"{": "a document",
}
_CORRUPT, _DATA_FILE = 1 << 1, 1 << 2
_PROTECTIVE = 0xEE
"""The type of the one partition that stands for a GPT; some tools give it the largest size that there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFormat:
    """A disk image's format, ``qcow2`` or ``raw``, and the size of the disk in bytes; 0 for raw: that of the file."""

    name: str
    size_bytes: int


def disk_format(head: bytes) -> DiskFormat | str:
    """Return the format of the image that begins so, or what is wrong with it, in words.

    A qcow2 file that names another file is refused: whoever wrote it could read any file of this computer through it.

    Source: QEMU, docs/interop/qcow2.txt.

    >>> disk_format(b"\\x1f\\x8b" + bytes(1000))
    'it is compressed with gzip'
    """
    if head.startswith(QCOW2):
        return _qcow2(head)
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            return f"it is {what}"
    fault = boot_fault(head, 0)
    return fault or DiskFormat(name="raw", size_bytes=0)


def _qcow2(head: bytes) -> DiskFormat | str:
    if len(head) < 104:
        return "it is cut short"
    version, backing, _, _, size, encrypted = struct.unpack_from(">IQIIQI", head, 4)
    features = struct.unpack_from(">Q", head, 72)[0] if version == 3 else 0
    if version not in (2, 3):
        return f"it is qcow version {version}"
    if backing:
        return "it has a backing file: it is only the difference to another disk"
    if features & _DATA_FILE:
        return "it has an external data file: its content lies in another file"
    if encrypted:
        return "it is encrypted"
    if features & _CORRUPT:
        return "it is marked as damaged"
    return DiskFormat(name="qcow2", size_bytes=size)


def boot_fault(sector: bytes, size_bytes: int) -> str:
    """Return why a disk with this first sector does not boot from a BIOS, or is cut short; empty where it looks well.

    Args:
        sector: the disk's first 512 bytes.
        size_bytes: the disk's size; 0 where it is not known.

    >>> boot_fault(bytes(512), 0)
    'it has no boot sector, so no BIOS boots it; and it is no qcow2'
    """
    if sector[510:SECTOR] != b"\x55\xaa":
        return "it has no boot sector, so no BIOS boots it; and it is no qcow2"
    if not any(sector[:440]):
        return "its boot sector has no boot loader: it boots from UEFI alone"
    for at in range(446, 510, 16):
        kind, start, count = struct.unpack_from("<4xB3xII", sector, at)
        if size_bytes and kind not in (0, _PROTECTIVE) and (start + count) * SECTOR > size_bytes:
            return "it is cut short: its partitions end after its end"
    return ""
