"""What is rented in a cloud for a machine: its image, its disks, and how a tag says whose it is. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from model.capacity import CloudImage
from model.errors import UnderstudyError
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

_GOOGLE_LONGEST = 63
"""Source: Google, "Naming resources"; RFC 1035."""


def gib(mib: int) -> int:
    """Return a size in GiB, as clouds sell disks; rounded up.

    >>> gib(1), gib(2048)
    (1, 2)
    """
    return -(-mib // 1024)


def system_disk_gib(machine: Machine) -> int:
    """Return the size of a machine's system disk, GiB."""
    return max(gib(machine.system_disk_mib), LEAST_SYSTEM_DISK_GIB)


def google_name(owner: str, what: str) -> str:
    """Return a name that no other thing in a project has, in what Google allows: 63 of a-z, 0-9 and hyphens.

    Args:
        owner: the stack's mark, with which all of its names begin.
        what: what it is; of a long one the end is a digest, so that two never become one.

    Raises:
        UnderstudyError: the stack's name leaves no room.

    >>> google_name("understudy-dr-a2ad7316", "network-far")
    'understudy-dr-a2ad7316-network-far'
    >>> google_name("understudy-dr-a2ad7316", f"fence-{'a' * 32}-ssh")
    'understudy-dr-a2ad7316-fence-aaaaaaaaaaaaaaaaaaaaaaaaa-f18f7366'
    """
    prefix = f"{owner}-".replace("_", "-")
    room = _GOOGLE_LONGEST - len(prefix)
    if len(what) <= room:
        return prefix + what
    digest = sha256(what.encode()).hexdigest()[:8]
    if room < 2 * len(digest):
        raise UnderstudyError(
            where="the stack's name",
            found=f"so long that things at Google would be called {prefix}…",
            wanted=f"one that is {2 * len(digest) - room} letters shorter: names there have {_GOOGLE_LONGEST} at most",
        )
    return f"{prefix}{what[: room - len(digest) - 1]}-{digest}"


def mark(owner: str) -> str:
    """Return the stack's mark as all clouds can have it in a tag.

    >>> mark("understudy/stage/a2ad7316")
    'understudy-stage-a2ad7316'
    """
    return re.sub(r"[^a-z0-9_-]", "-", owner.lower())
