"""What is rented in a cloud for a machine: its image, its disks, and how a tag says whose it is. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from model.capacity import CloudImage
from model.topology import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketImage:
    """A machine image in Azure's marketplace; the newest version of it is taken."""

    publisher: str
    offer: str
    sku: str


# Source: wiki.debian.org/Cloud/AmazonEC2Image/Bookworm: Debian's own account there, and how its images are called.
DEBIAN = "136693071363"
IMAGE_NAMES = "debian-12-amd64-*"
AWS_IMAGE = CloudImage(owner=DEBIAN, name=IMAGE_NAMES)
GOOGLE_IMAGE = CloudImage(owner="debian-cloud", name="debian-12")
AZURE_IMAGE = MarketImage(publisher="Debian", offer="debian-12", sku="12-gen2")
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


def mark(owner: str) -> str:
    """Return the stack's mark as all clouds can have it in a tag.

    >>> mark("understudy/stage/a2ad7316")
    'understudy-stage-a2ad7316'
    """
    return re.sub(r"[^a-z0-9_-]", "-", owner.lower())
