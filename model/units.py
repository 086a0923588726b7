"""Quantities with their units: sizes in MiB, durations in seconds. A number without a unit is refused."""

from __future__ import annotations

import re

_SIZE = re.compile(r"^(\d+)\s*(MiB|GiB|TiB)$")
_DURATION = re.compile(r"^(\d+)\s*(s|min|h|d)$")
_MIB = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def mib(text: str) -> int:
    """Return a size in MiB.

    Raises:
        ValueError: the text is not a positive whole number with MiB, GiB or TiB.

    >>> mib("2 GiB")
    2048
    """
    match = _SIZE.match(text) if isinstance(text, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError("a positive whole number with its unit, such as 512MiB or 2GiB")
    return int(match[1]) * _MIB[match[2]]


def seconds(text: str) -> int:
    """Return a duration in seconds.

    Raises:
        ValueError: the text is not a whole number with s, min, h or d.

    >>> seconds("15min")
    900
    """
    match = _DURATION.match(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("a whole number with its unit, such as 30s, 15min, 4h or 7d")
    return int(match[1]) * _SECONDS[match[2]]
