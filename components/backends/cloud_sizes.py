"""How large a machine's disks are in a cloud. Loads nothing of Pulumi: the command line asks as well."""

from __future__ import annotations

from model.topology import Machine

LEAST_SYSTEM_DISK_GIB = 10
"""Debian's images for clouds are of 3 to 10 GiB, and Google's never start on less than theirs."""


def gib(mib: int) -> int:
    """Return a size in GiB, as clouds sell disks; rounded up.

    >>> gib(1), gib(2048)
    (1, 2)
    """
    return -(-mib // 1024)


def system_disk_gib(machine: Machine) -> int:
    """Return the size of a machine's system disk, GiB."""
    return max(gib(machine.system_disk_mib), LEAST_SYSTEM_DISK_GIB)
