"""Copies the machine image of this computer to another host, once; a copy that was cut goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from images.cache import RECORD
from provisioners.hypervisor.copies import part
from provisioners.hypervisor.door import There
from provisioners.outcome import Say, pause

_CHUNK = 1 << 18
_SHOW_SECONDS = 2.0
_AGAIN_SECONDS = 2.0


def copy_image(host: There, directory: Path, say: Say) -> None:
    """See that a host has an image that is whole on this computer.

    Args:
        host: where to.
        directory: the image's, in the cache here.
        say: shows how far it is.

    Raises:
        UnderstudyError: it has no room for it, or what arrived is not what was sent.
    """
    name, record = directory.name, json.loads((directory / RECORD).read_text(encoding="utf-8"))
    while there := host.call("lacking of image", name, record, say=say):
        if _send(host, directory, record, there, say):
            host.call("copied image", name, record, say=say)
            say(f"image {name} is on {host.name}")
            return
        say(f"waiting: another run copies image {name} to {host.name}")
        pause(_AGAIN_SECONDS, host.name)


def _send(host: There, directory: Path, record: Mapping[str, Any], there: Mapping[str, int], say: Say) -> bool:
    """Send what is missing and return whether it was ours to send."""
    whole, sent = sum(each["size"] for each in record["files"].values()), sum(there.values())
    for file, size in there.items():
        if size < record["files"][file]["size"]:
            chunks = _chunks(directory / file, size, f"image {directory.name} to {host.name}", (sent, whole), say)
            if not host.append(str(part(directory.name, file)), size, chunks, say):
                return False
            sent += record["files"][file]["size"] - size
    return True


def _chunks(file: Path, begin: int, what: str, of: tuple[int, int], say: Say) -> Iterator[bytes]:
    sent, whole = of
    shown = time.monotonic() - _SHOW_SECONDS
    with file.open("rb") as stream:
        stream.seek(begin)
        while piece := stream.read(_CHUNK):
            if time.monotonic() - shown >= _SHOW_SECONDS:
                shown = time.monotonic()
                say(f"{what}: {sent >> 20} of {whole >> 20} MiB")
            yield piece
            sent += len(piece)
