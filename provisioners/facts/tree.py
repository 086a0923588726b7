"""Configuration files: kind, mode, owner, and a digest of the content, which itself never leaves the machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from provisioners.facts.fact import ROOT, Fact

ROOTS = ("/etc", "/usr/local/bin", "/usr/local/etc", "/usr/local/sbin", "/var/spool/cron")
"""Where configuration lies, beside the files that a service brings. All of /usr/local can be anything, and large."""
LARGEST_BYTES = 4 << 20
"""Of larger files the size stands for the content."""
_RECORD = re.compile(r"@([a-zA-Z]) ([0-9]+) ([0-7]{1,4}) ([^ ]+) ([^ ]+) ", re.ASCII)
_DIGEST = re.compile(r"([0-9a-f]{64})  ", re.ASCII)
# What the units' enablement says already, and the compiled copies of what is there as text.
_LEFT_OUT = ("*.wants", "*.requires", "__pycache__", "rc[0-6S].d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file or a link.

    Args:
        kind: ``f`` for a file, ``l`` for a link.
        mode: permissions in octal.
        size_bytes: of a file's content; 0 for a link.
        digest: SHA-256 of a file's content; empty for a link, for a large file, and where it could not be read.
        target: where a link leads.
    """

    kind: str
    mode: str
    owner: str
    group: str
    size_bytes: int = 0
    digest: str = ""
    target: str = ""

    @property
    def unread(self) -> bool:
        """Return whether its content could not be read."""
        return self.kind == "f" and not self.digest and self.size_bytes <= LARGEST_BYTES


def parse_entries(output: str) -> dict[str, Entry]:
    r"""Return what there is, by path.

    Args:
        output: records that end in a zero byte: of ``find``, and between them those of ``sha256sum``.

    Raises:
        ValueError: a record is neither.

    >>> parse_entries("@f 7 644 root root /etc/a\0\0" + "0" * 64 + "  /etc/a\0")["/etc/a"].digest == "0" * 64
    True
    """
    found: dict[str, Entry] = {}
    digests: dict[str, str] = {}
    records = iter(output.split("\0")[:-1])
    for record in records:
        if digest := _DIGEST.match(record):
            digests[record[digest.end() :]] = digest[1]
        elif head := _RECORD.match(record):
            kind, size, mode, owner, group = head.groups()
            entry = Entry(kind=kind, mode=mode, owner=owner, group=group, target=next(records, ""))
            found[record[head.end() :]] = entry if kind == "l" else replace(entry, size_bytes=int(size))
        else:
            raise ValueError("neither a file nor its digest")
    return {path: replace(entry, digest=digests.get(path, "")) for path, entry in found.items()}


def entries(paths: Sequence[str] = ()) -> Fact[dict[str, Entry]]:
    """Return the question for all configuration files; large ones come without a digest.

    Args:
        paths: further files, such as those that a service brings; those that are missing are left out.
    """
    left_out = [word for name in _LEFT_OUT for word in ("-o", "-name", name)][1:]
    argv = (
        *("find", "-P", *ROOTS, *sorted(path for path in set(paths) if path.startswith("/")), "-xdev"),
        *("(", *left_out, ")", "-prune", "-o"),
        *("(", "-type", "f", "-o", "-type", "l", ")"),
        *("-printf", r"@%y %s %m %u %g %p\0%l\0"),
        *("-type", "f", "-size", f"-{LARGEST_BYTES + 1}c", "-exec", "sha256sum", "--zero", "--", "{}", "+"),
    )
    return Fact(name="files", argv=argv, parse=parse_entries, user=ROOT, codes=(0, 1))
