"""How much memory the machine has: what the kernel manages, and what the firmware says is installed."""

from __future__ import annotations

import base64
import re
import struct

from provisioners.facts.fact import ROOT, Fact

_MEMORY_DEVICE = 17
_END = 127


def parse_managed(output: str) -> int:
    r"""Return MemTotal in MiB.

    Raises:
        ValueError: there is no such line.

    >>> parse_managed("MemTotal:         997460 kB\nMemFree: 1 kB\n")
    974
    """
    match = re.search(r"^MemTotal:\s+(\d+) kB$", output, re.MULTILINE)
    if match is None:
        raise ValueError("no MemTotal")
    return int(match[1]) // 1024


def parse_installed(output: str) -> int:
    """Return the sum of the memory devices of an SMBIOS table, in MiB.

    Args:
        output: the table in base64.

    Raises:
        ValueError: the table is cut short or has no memory device of known size.

    Source: DMTF DSP0134 (SMBIOS 3.6), 6.1.2 structure header, 6.1.3 text strings, 7.18 Memory Device (Type 17).
    """
    table = base64.b64decode(output, validate=False)
    total, position = 0, 0
    while position + 4 <= len(table):
        kind, length = table[position], table[position + 1]
        if length < 4 or position + length > len(table):
            raise ValueError("a broken SMBIOS table")
        if kind == _MEMORY_DEVICE:
            total += _device_mib(table[position : position + length])
        if kind == _END:
            break
        strings_end = table.find(b"\0\0", position + length)
        if strings_end < 0:
            raise ValueError("a broken SMBIOS table")
        position = strings_end + 2
    if total == 0:
        raise ValueError("no memory device of known size")
    return total


def _device_mib(structure: bytes) -> int:
    """Return the size of one memory device: 0 for an empty slot, and for one of unknown size."""
    if len(structure) < 0x0E:
        return 0
    (size,) = struct.unpack_from("<H", structure, 0x0C)
    if size == 0xFFFF:
        return 0
    if size == 0x7FFF and len(structure) >= 0x20:
        (extended,) = struct.unpack_from("<I", structure, 0x1C)
        return int(extended) & 0x7FFFFFFF
    return (int(size) & 0x7FFF) // 1024 if size & 0x8000 else int(size)


MANAGED = Fact(name="memory", argv=("cat", "/proc/meminfo"), parse=parse_managed)
INSTALLED = Fact(
    name="installed memory",
    argv=("base64", "--wrap=0", "/sys/firmware/dmi/tables/DMI"),
    parse=parse_installed,
    user=ROOT,
)
