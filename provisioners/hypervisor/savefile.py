"""A machine's saved memory, as libvirt's file has it: a header, the machine's XML, a cookie, and the memory.

Source: libvirt 9.0, ``src/qemu/qemu_saveimage.h`` (``virQEMUSaveHeader``); the same since version 2 of the format.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from model.errors import UnderstudyError

_MAGIC = b"LibvirtQemudSave"
_HEADER = struct.Struct("<16s5I14I")
_VERSION = 2
_LARGEST_XML = 16 * 1024 * 1024
_PAGE = 4096
_MOST = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveHead:
    """What stands before the memory.

    Args:
        xml: the machine that the memory belongs to.
        cookie: libvirt's own notes on it, XML too; empty where there are none.
        was_running: whether the machine ran, or was paused, when it was saved.
        compression: libvirt's number of the format of the memory; 0 is raw.
        length: bytes before the memory.
    """

    xml: str
    cookie: str
    was_running: bool
    compression: int
    length: int


class BadSaveFile(UnderstudyError):
    """The file is not the memory of a machine, or was cut short."""


def read_head(stream: BinaryIO, name: str) -> SaveHead:
    """Return what stands before the memory; the stream is at the memory afterwards.

    Args:
        stream: the file, from its beginning.
        name: how to call the file in errors.

    Raises:
        BadSaveFile: it is not such a file.
    """
    raw = stream.read(_HEADER.size)
    if len(raw) < _HEADER.size:
        raise BadSaveFile(where=name, found=f"{len(raw)} bytes", wanted=f"a header of {_HEADER.size} bytes")
    magic, version, length, was_running, compression, cookie_offset, *_ = _HEADER.unpack(raw)
    if magic != _MAGIC or version != _VERSION:
        raise BadSaveFile(
            where=name, found=f"{magic!r} version {version}", wanted=f"a memory image of libvirt, version {_VERSION}"
        )
    if not 0 < length <= _LARGEST_XML or cookie_offset > length:
        raise BadSaveFile(
            where=name, found=f"lengths {length} and {cookie_offset}", wanted="lengths that fit each other"
        )
    data = stream.read(length)
    if len(data) < length:
        raise BadSaveFile(where=name, found=f"cut short within its first {length} bytes")
    xml = data[: cookie_offset or length].split(b"\0", 1)[0]
    cookie = data[cookie_offset:].split(b"\0", 1)[0] if cookie_offset else b""
    return SaveHead(
        xml=xml.decode(),
        cookie=cookie.decode(),
        was_running=bool(was_running),
        compression=compression,
        length=_HEADER.size + length,
    )


def head_bytes(head: SaveHead) -> bytes:
    """Return the bytes that stand before the memory, filled up to a whole page with zero bytes.

    >>> import io
    >>> head = SaveHead(xml="<domain/>", cookie="<cookie/>", was_running=True, compression=0, length=4096)
    >>> read_head(io.BytesIO(head_bytes(head)), "x") == head
    True
    """
    xml, cookie = head.xml.encode() + b"\0", head.cookie.encode() + b"\0" if head.cookie else b""
    length = len(xml) + len(cookie)
    length += -(_HEADER.size + length) % _PAGE
    offset = len(xml) if cookie else 0
    header = _HEADER.pack(_MAGIC, _VERSION, length, head.was_running, head.compression, offset, *([0] * 14))
    return (header + xml + cookie).ljust(_HEADER.size + length, b"\0")


def rewrite(source: Path, target: Path, xml: str, obstacle: Callable[[], str] = lambda: "") -> str:
    """Write the memory of one machine as that of another, whole or not at all; only root can read it.

    Args:
        source: the template's memory.
        target: where the other machine's goes; what is there is replaced.
        xml: the other machine. Its devices must be those of the first.
        obstacle: asked once all is written. With a text as its answer, nothing is put in place.

    Returns:
        that text.

    Raises:
        BadSaveFile: the source is not the memory of a machine.
        OSError: it cannot be read or written.
    """
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with source.open("rb") as memory, unfinished.open("wb") as out:
            os.fchmod(out.fileno(), 0o600)
            head = read_head(memory, str(source))
            out.write(head_bytes(replace(head, xml=xml, was_running=True)))
            out.flush()
            _copy(memory.fileno(), head.length, out.fileno())
        if not (reason := obstacle()):
            unfinished.replace(target)
        return reason
    finally:
        unfinished.unlink(missing_ok=True)


def _copy(source: int, offset: int, target: int) -> None:
    """Copy the rest of a file to the end of another, sharing its blocks where one file system holds both and can."""
    try:
        while count := os.copy_file_range(source, target, _MOST, offset_src=offset):
            offset += count
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        while count := os.sendfile(target, source, offset, _MOST):
            offset += count
