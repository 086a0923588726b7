"""Machine images that come from another computer, as the host that takes them sees it: a copy that was cut goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from images import cache
from model.errors import UnderstudyError
from provisioners.hypervisor.host import IMAGES, locked
from provisioners.outcome import Say


def part(name: str, file: str) -> Path:
    """Return where a file of an image lies until all of it is there."""
    return IMAGES / f".copying-{name}" / file


def lacking(name: str, record: Mapping[str, Any]) -> dict[str, int]:
    """Return how many bytes of each file of an image this host has; nothing where it has the whole image.

    Args:
        name: the image's in the cache.
        record: what was written down of it where it is whole.

    Raises:
        UnderstudyError: there is no room for it.
    """
    if not isinstance(cache.whole_record(IMAGES / name, record["digest"], tuple(record["files"])), str):
        return {}
    unfinished = part(name, "")
    unfinished.mkdir(parents=True, exist_ok=True)
    IMAGES.chmod(0o755)
    there = {file: _size(unfinished / file) for file in record["files"]}
    wanted = sum(each["size"] for each in record["files"].values()) - sum(there.values())
    free = shutil.disk_usage(unfinished).free
    if free < wanted:
        raise UnderstudyError(
            where=str(IMAGES),
            found=f"{free >> 20} MiB are free",
            wanted=f"{wanted >> 20} MiB more for image {name}",
            todo="Make room there, then run it again.",
        )
    return there


def complete(name: str, record: Mapping[str, Any], say: Say) -> None:
    """Give an image its name, if every file of it is what was written down; what is not is sent anew by the next run.

    Raises:
        UnderstudyError: a file is not.
    """
    with locked(IMAGES / f".{name}.lock", say, "another run copies the same image"):
        unfinished, names = part(name, ""), tuple(record["files"])
        if not unfinished.exists():
            return
        (unfinished / cache.RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        fault = cache.whole_record(unfinished, record["digest"], names, verify=True)
        if isinstance(fault, str):
            shutil.rmtree(unfinished)
            raise UnderstudyError(
                where=f"image {name}", found=f"its copy: {fault}", todo="Run it again: it is sent anew."
            )
        more = {key: value for key, value in record.items() if key not in ("digest", "files", "packages")}
        cache.seal(unfinished, record["digest"], record.get("packages", {}), names=names, **more)
        shutil.rmtree(IMAGES / name, ignore_errors=True)
        unfinished.rename(IMAGES / name)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
