"""Names on a host, derived from the stack's and the machine's: the same input gives the same name, always."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import PurePosixPath

ROOT = PurePosixPath("/var/lib/understudy")


def _hex(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def owner(stack: str, state_place: str) -> str:
    """Return the mark that everything made for a stack carries: no other state may sweep it.

    >>> owner("stage", "file:///state")
    'understudy/stage/a2ad7316'
    """
    return f"understudy/{stack}/{_hex(state_place, 8)}"


def domain(stack: str, machine: str) -> str:
    """Return the libvirt domain's name."""
    return f"{stack}-{machine}"


def domain_uuid(owner_mark: str, machine: str) -> str:
    """Return the domain's UUID, so that a start can be prepared before libvirt knows the domain."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{owner_mark}/{machine}"))


def network(stack: str, card: str) -> str:
    """Return the libvirt network's name for the card ``mirror`` or ``control``."""
    return f"{stack}-{card}"


def bridge(stack: str, card: str) -> str:
    """Return the bridge's name; Linux allows 15 characters."""
    return f"us{_hex(stack, 6)}{card[0]}"


def tap(stack: str, machine: str, card: str) -> str:
    """Return the host's end of a card: its bridge's name goes first, by which the fence knows it. 15 characters.

    >>> tap("stage", "db1", "mirror").startswith(bridge("stage", "mirror"))
    True
    """
    return bridge(stack, card) + _hex(f"{stack}/{machine}", 6)


def mac(stack: str, machine: str, card: str) -> str:
    """Return the card's address in QEMU's own range 52:54:00."""
    digits = _hex(f"{stack}/{machine}/{card}", 6)
    return f"52:54:00:{digits[0:2]}:{digits[2:4]}:{digits[4:6]}"


def stack_directory(stack: str) -> PurePosixPath:
    """Return the directory of a stack's volumes and media; destroy removes it."""
    return ROOT / "stacks" / stack
