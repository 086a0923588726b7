"""A template's saved memory, in its directory, and how it becomes another machine's.

Where qemu may have it so, the machine's RAM lies in a file of its own, which each clone maps privately: nothing is
copied, a page is read when the clone comes to need it, and it is the clone's own as soon as it is written to. What is
left, the state of the devices, is half a megabyte. Where something (AppArmor, SELinux) keeps qemu from that file, the
memory stays whole, and is copied for each clone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from model.libvirt_xml import MEMORY_BLOCK, with_memory_of
from provisioners.hypervisor.savefile import BadSaveFile, head_bytes, read_head, rewrite

SAVED, RAM = "memory.save", "memory.ram"
_WHOLE = "whole.save"
_BLOCK, _NEW_BLOCK = b"pc.ram", MEMORY_BLOCK.encode()
_PAGE = 4096

# Source: qemu 7.2, migration/savevm.c and migration/ram.c; docs/devel/migration.rst. Numbers are big-endian.
_MAGIC = b"QEVM\0\0\0\3"
_CONFIGURATION, _START, _PART, _END, _FOOTER = b"\x07", b"\x01", b"\x02", b"\x03", b"\x7e"
_ZERO, _SIZES, _DATA, _DONE, _SAME_BLOCK = 0x02, 0x04, 0x08, 0x10, 0x20


def marks(template: Path) -> dict[str, str]:
    """Return what tells a template's memory from any other, also from one that was written to since.

    Whoever may write to a file, as qemu may to the RAM, can set the time at which it was written, but not at which that
    was done.
    """
    return {path.name: _mark(path.stat()) for path in _files(template)}


def is_whole(template: Path, noted: object) -> bool:
    """Return whether a template's memory is there, and nobody wrote to it since these marks were noted."""
    try:
        return bool(noted) and noted == marks(template)
    except FileNotFoundError:
        return False


def lay_down(template: Path, target: Path, xml: str, obstacle: Callable[[], str] = lambda: "") -> str:
    """Write a template's memory as that of another machine, where libvirt starts it from; as `rewrite`."""
    ram = template / RAM
    if ram.exists():
        xml = with_memory_of(xml, str(ram), ram.stat().st_size)
    return rewrite(template / SAVED, target, xml, obstacle)


def take_ram_out(template: Path, owner: int) -> None:
    """Take the RAM out of a memory that was saved whole, so that clones map it; `make_whole_again` is the way back.

    Args:
        template: the directory.
        owner: number of the user that qemu runs as. It opens the file for writing, although it maps it privately.

    Raises:
        BadSaveFile, OSError: it is not as qemu 7.2 writes it, or there is no room; then it stays as it was.
    """
    saved, rest, ram = template / SAVED, template / "rest.save", template / RAM
    try:
        with saved.open("rb") as whole, _new(rest) as out, _new(ram) as pages:
            head = read_head(whole, str(saved))
            out.write(head_bytes(head))
            _Splitter(whole, out, pages, str(saved)).split()
            os.fchown(pages.fileno(), owner, -1)
    except BaseException:
        for path in (rest, ram):
            path.unlink(missing_ok=True)
        raise
    saved.rename(template / _WHOLE)
    rest.rename(saved)


def make_whole_again(template: Path) -> None:
    """Undo `take_ram_out`."""
    (template / RAM).unlink()
    (template / _WHOLE).replace(template / SAVED)


def forget_whole(template: Path) -> None:
    """Remove what only `make_whole_again` needs."""
    (template / _WHOLE).unlink(missing_ok=True)


def _files(template: Path) -> tuple[Path, ...]:
    ram = template / RAM
    return (template / SAVED, *((ram,) if ram.exists() else ()))


def _new(path: Path) -> BinaryIO:
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _mark(status: os.stat_result) -> str:
    return f"{status.st_size}:{status.st_ctime_ns}"


class _Splitter:
    """Reads qemu's stream. The pages of the machine's RAM go into one file, all else into the other.

    Args:
        whole: the stream, from its beginning.
        rest: where it goes without the pages.
        ram: an empty file that can be sought in.
        name: what to call the stream in errors.
    """

    def __init__(self, whole: BinaryIO, rest: BinaryIO, ram: BinaryIO, name: str) -> None:
        self._whole, self._rest, self._ram, self._name = whole, rest, ram, name
        self._size = 0
        self._written = set[int]()

    def split(self) -> None:
        """Do it.

        Raises:
            BadSaveFile: something in it is not known.
        """
        self._expect(_MAGIC)
        kind = self._keep(1)
        if kind == _CONFIGURATION:
            self._keep(self._keep_number(4))
            kind = self._keep(1)
        section = self._keep(4)
        name = self._keep_name()
        self._keep(8)
        if kind != _START or name != b"ram":
            raise self._odd(f"section {name!r} first", "the RAM")
        block = b""
        while True:
            block = self._split_part(block)
            self._expect(_FOOTER + section)
            if kind == _END:
                break
            kind = self._keep(1)
            if kind not in (_PART, _END):
                raise self._odd(f"a section of kind {kind!r} within the RAM", "a part of it")
            self._expect(section)
        while piece := self._whole.read(1 << 20):
            self._rest.write(piece)
        self._ram.truncate(self._size)

    def _split_part(self, block: bytes) -> bytes:
        """Split one part; a page without a name is of the same block as the one before, also of a part before."""
        while True:
            word = self._take(8)
            number = int.from_bytes(word, "big")
            at, flags = number & -_PAGE, number & _PAGE - 1
            if flags == _DONE:
                self._rest.write(word)
                return block
            if flags == _SIZES:
                self._rest.write(word)
                self._keep_sizes(at)
                continue
            if not flags & _SAME_BLOCK:
                block = self._take(self._take(1)[0])
            kind = flags & ~_SAME_BLOCK
            if kind not in (_ZERO, _DATA) or not block:
                raise self._odd(f"flags {flags:#x}", "a page")
            content = self._take(1 if kind == _ZERO else _PAGE)
            if block != _BLOCK:
                self._rest.write((at | kind).to_bytes(8, "big") + bytes([len(block)]) + block + content)
            elif kind == _ZERO and content != b"\0":
                raise self._odd("a page of one byte that is not zero", "zero")
            elif kind == _DATA or at in self._written:  # what was never written is zero in the file
                self._ram.seek(at)
                self._ram.write(content.ljust(_PAGE, b"\0"))
                self._written.add(at)

    def _keep_sizes(self, total: int) -> None:
        while total > 0:
            name = self._take(self._take(1)[0])
            kept = _NEW_BLOCK if name == _BLOCK else name
            self._rest.write(bytes([len(kept)]) + kept)
            size = self._keep_number(8)
            total -= size
            if name == _BLOCK:
                self._size = size
        if total or not self._size:
            raise self._odd("blocks of other sizes", f"{_BLOCK!r} among them, and all together as large as they are")

    def _keep_number(self, length: int) -> int:
        return int.from_bytes(self._keep(length), "big")

    def _keep_name(self) -> bytes:
        return self._keep(self._keep(1)[0])

    def _expect(self, wanted: bytes) -> None:
        found = self._keep(len(wanted))
        if found != wanted:
            raise self._odd(f"{found!r}", f"{wanted!r}")

    def _keep(self, length: int) -> bytes:
        piece = self._take(length)
        self._rest.write(piece)
        return piece

    def _take(self, length: int) -> bytes:
        piece = self._whole.read(length)
        if len(piece) < length:
            raise self._odd("its end", f"{length} bytes more")
        return piece

    def _odd(self, found: str, wanted: str) -> BadSaveFile:
        return BadSaveFile(where=f"{self._name}: byte {self._whole.tell()}", found=found, wanted=wanted)
