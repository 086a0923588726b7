"""Whether an image on this computer is whole: its files have the sizes, or the digests, that were written down."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILES = ("disk.qcow2", "vmlinuz", "initrd.img")
RECORD = "image.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePaths:
    """A whole image: its directory, whose name is the digest, and the files in it."""

    directory: Path
    digest: str
    disk: Path
    kernel: Path
    initrd: Path


def usable(directory: Path, *, verify: bool = False) -> ImagePaths | str:
    """Return the image's files, or what is wrong with them.

    Args:
        directory: the image's; its name is the digest.
        verify: compare the digests of all contents too, which takes seconds.
    """
    record = whole_record(directory, directory.name, FILES, verify=verify)
    if isinstance(record, str):
        return record
    disk, kernel, initrd = (directory / name for name in FILES)
    return ImagePaths(directory=directory, digest=directory.name, disk=disk, kernel=kernel, initrd=initrd)


def whole_record(
    directory: Path, digest: str, names: Sequence[str], *, verify: bool = False
) -> Mapping[str, Any] | str:
    """Return what was written down of an image of that digest whose files are whole, or what is wrong with them."""
    try:
        record: dict[str, Any] = json.loads((directory / RECORD).read_text(encoding="utf-8"))
        faults = [fault for name in names if (fault := _fault(directory / name, record["files"][name], verify))]
        if record["digest"] != digest:
            faults.append(f"{RECORD} is of image {record['digest']}")
    except FileNotFoundError:
        return "missing" if not directory.exists() else f"{RECORD} is missing"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{RECORD} cannot be read ({type(error).__name__})"
    return "; ".join(faults) or record


def _fault(path: Path, wanted: dict[str, object], verify: bool) -> str:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return f"{path.name} is missing"
    if size != wanted["size"]:
        return f"{path.name} is cut short or changed: {size} bytes instead of {wanted['size']}"
    if verify and sha256(path) != wanted["sha256"]:
        return f"{path.name} is damaged: its content has changed"
    return ""


def sha256(path: Path) -> str:
    """Return a file's SHA-256 as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(
    directory: Path, digest: str, packages: Mapping[str, str], *, names: Sequence[str] = FILES, **more: object
) -> None:
    """Write down the sizes and digests of the image's files, and its packages, and get all of it onto the disk.

    The disk of an image that was built has a name of its own with a part of its digest, and the usual name leads there.
    Machines are linked to the own name: so what stands on one build's disk never meets that of another build of the
    same recipe. An image that was not built holds the same disk each time.
    """
    files = {}
    for name in names:
        path = directory / name
        path.chmod(0o644)
        _to_disk(path)
        files[name] = {"size": path.stat().st_size, "sha256": sha256(path)}
    if names == FILES:
        own = directory / f"disk-{str(files['disk.qcow2']['sha256'])[:12]}.qcow2"
        (directory / "disk.qcow2").rename(own)
        (directory / "disk.qcow2").symlink_to(own.name)
    record = directory / RECORD
    content = {"digest": digest, "files": files, "packages": dict(packages), **more}
    record.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    record.chmod(0o644)
    _to_disk(record)


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
