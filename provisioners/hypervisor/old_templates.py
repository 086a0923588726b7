"""Makes room in the host's cache: templates that no disk stands on and that nobody asked for in a while."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from provisioners.hypervisor.host import STACKS, TEMPLATES, ToolFailed, backing_file

_KEPT_SECONDS = 14 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """One template of the cache; ``idle_seconds`` since somebody last asked for it."""

    path: Path
    idle_seconds: float


def decide_removed(cached: Iterable[Cached], stood_on: Iterable[str]) -> tuple[Path, ...]:
    """Return the templates that can go. One that a disk stands on never goes, however old it is.

    Args:
        cached: all templates.
        stood_on: backing files of all disks.

    >>> old, new = (Cached(path=Path("/t") / name, idle_seconds=age) for name, age in (("old", 9e9), ("new", 60)))
    >>> decide_removed([old, new], []) == (Path("/t/old"),), decide_removed([old, new], ["/t/old/disk.qcow2"])
    (True, ())
    """
    below = frozenset(Path(path).parent for path in stood_on)
    return tuple(each.path for each in cached if each.idle_seconds > _KEPT_SECONDS and each.path not in below)


def remove_old_templates() -> None:
    """Remove what is neither used nor was asked for lately; where that cannot be told, nothing."""
    try:
        stood_on = [str(backing_file(disk)) for disk in STACKS.glob("*/*.qcow2")]
    except (ToolFailed, ValueError):
        return
    now = time.time()
    cached = [
        Cached(path=notes.parent, idle_seconds=now - notes.stat().st_mtime)
        for notes in TEMPLATES.glob("*/template.json")
    ]
    for path in decide_removed(cached, stood_on):
        with suppress(OSError):
            (path / "template.json").unlink()  # from here on it is no template to anybody
            shutil.rmtree(path)
