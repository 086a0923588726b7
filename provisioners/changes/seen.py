"""What is at a path of a machine, as a resource's inputs show it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHOWN_BYTES = 1 << 20
"""No more of a file's content is fetched; a larger one is shown cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is at a path: a file, or something else that its ``mode`` then names."""

    mode: str
    owner: str
    group: str
    numbers: tuple[str, str]
    size: int
    content: bytes

    @property
    def replaceable(self) -> bool:
        """Return whether a file may take its place: it is a file or a symbolic link, and no directory or device."""
        return not self.mode.startswith("(") or self.mode.startswith("(symbolic link ")

    def content_beside(self, wanted: str | None) -> str:
        """Return the content as text; the wanted one's very text only where it is the same byte for byte."""
        if wanted is not None and self.content == wanted.encode("utf-8", "surrogatepass"):
            return wanted
        shown = self.content[:SHOWN_BYTES].decode("utf-8", "backslashreplace")
        if self.size > SHOWN_BYTES:
            return f"{shown}\n… {self.size} bytes in all\n"
        return shown if shown != wanted else f"{shown}\n(not UTF-8)\n"

    def beside(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Return mode, owner and group, in the wanted ones' notation where they are the same."""
        owner, group = wanted.get("owner"), wanted.get("group")
        same_owner = (owner or "root") in (self.owner, self.numbers[0])
        same_group = (group or "root") in (self.group, self.numbers[1])
        found = {
            "mode": (wanted.get("mode"), (wanted.get("mode") or "0644") == self.mode, self.mode),
            "owner": (owner, same_owner, self.owner),
            "group": (group, same_group, self.group),
        }
        real = {key: (want if same else is_there) for key, (want, same, is_there) in found.items()}
        return {key: value for key, value in real.items() if value is not None}


def seen(output: bytes) -> Seen | None:
    """Return what the script ``show`` printed, or None where nothing is there.

    >>> seen(b"absent\\n")
    >>> seen(b"file 644 root root 0 0 3\\nabc").mode
    '0644'
    """
    head, _, rest = output.partition(b"\n")
    words = head.decode("utf-8", "replace").split(" ")
    if words == ["absent"]:
        return None
    if words[0] == "file":
        _, mode, owner, group, user, team, size = words
        return Seen(mode=mode.zfill(4), owner=owner, group=group, numbers=(user, team), size=int(size), content=rest)
    kind = f"symbolic link to {rest.decode('utf-8', 'replace').strip()}" if words == ["link"] else " ".join(words)
    return Seen(mode=f"({kind})", owner="root", group="root", numbers=("0", "0"), size=0, content=b"")


def left_as(is_there: Seen | None) -> str:
    """Return what is at a path as a step notes what a manifest or playbook left there.

    >>> left_as(None)
    '-'
    """
    if is_there is None:
        return "-"
    if is_there.mode.startswith("("):
        return is_there.mode
    user, group = is_there.numbers
    return f"{hashlib.sha256(is_there.content).hexdigest()} {int(is_there.mode, 8):o} {user} {group}"
