"""Figures as people read them."""

from __future__ import annotations

from datetime import UTC, datetime


def duration(seconds: float | None, unknown: str = "not known") -> str:
    """Return a duration in its two largest units.

    >>> [duration(value) for value in (0.04, 7.9, 93, 3600 * 5 + 60 * 7, 86400 * 3 + 3600)]
    ['40 ms', '7.9 s', '1 min 33 s', '5 h 7 min', '3 d 1 h']
    """
    if seconds is None:
        return unknown
    if 0 < abs(seconds) < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if abs(seconds) < 59.95:
        return f"{seconds:.1f} s"
    whole = round(abs(seconds))
    sign = "-" if seconds < 0 else ""
    units = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next(index for index, (count, _) in enumerate(units) if count)
    return sign + " ".join(f"{count} {unit}" for count, unit in units[first : first + 2] if count)


def size(mib: int) -> str:
    """Return a size.

    >>> size(512), size(1024), size(1536), size(0)
    ('512 MiB', '1 GiB', '1.5 GiB', '')
    """
    if mib <= 0:
        return ""
    return f"{mib / 1024:.4g} GiB" if mib >= 1024 else f"{mib} MiB"


def moment(text: str) -> str:
    """Return a moment in UTC; a text that is none as it is.

    >>> moment("2026-11-23T02:00:00+01:00"), moment("?")
    ('2026-11-23 01:00 UTC', '?')
    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{(read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    >>> count(1, "machine"), count(5, "machine"), count(0, "copy", "copies")
    ('1 machine', '5 machines', '0 copies')
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"
