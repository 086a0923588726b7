"""Dumps of databases, and directories of plain files, as backups."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from model import dumps
from model.snapshot import BadBackup, Flaw, Snapshot, named
from provisioners.outcome import Say
from provisioners.stores.storage import Entry, Storage, Tree, file_digest, newest_inspected

_PIECE = 1 << 20
"""Each is one request where the dump lies in a bucket."""


class Dumps:
    """One dump, or a directory with a dump for each snapshot.

    Args:
        storage: where it lies.
        read: reads the head and the tail of a dump; the tail is None where it was not looked at.
    """

    def __init__(self, storage: Storage, read: Callable[[bytes, bytes | None, str], dumps.Dump]) -> None:
        self._storage, self._read = storage, read
        self._known: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        self.where, self.passed_over = storage.where, dict[str, str]()

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return each dump; one that cannot be read has a fault. Of a packed one only the beginning is read."""
        entries = self._storage.entries()
        if not entries:
            raise BadBackup(Flaw.EMPTY, where=self.where, found="nothing lies there", todo="Take a backup first.")
        labels = {_dump_label(name, entries) for name in entries if not name.rpartition("/")[2].startswith(".")}
        found = [self._snapshot(label, entries, whole=False) for label in sorted(labels)]
        return tuple(sorted(found, key=lambda snapshot: (snapshot.taken_at, snapshot.label)))

    def inspect(self, label: str) -> Snapshot:
        """Return a dump that begins and ends as one does; a packed one is unpacked for that."""
        named(self.snapshots(), label, self.where)
        return named((self._snapshot(label, self._storage.entries(), whole=True),), label, self.where)

    def newest(self) -> Snapshot:
        """Return the newest whole dump."""
        return newest_inspected(self)

    def digest(self, label: str) -> str:
        """Return the digest of the dump's files."""
        return _digest(self.fetch(label, _quietly))

    def fetch(self, label: str, say: Say) -> Tree:
        """Bring the dump."""
        self.inspect(label)
        entries = self._storage.entries()
        return self._storage.tree((name for name in entries if _dump_label(name, entries) == label), say)

    def format(self, label: str) -> str:
        """Return the dump's format, as `model.dumps.Dump` has it."""
        entries = self._storage.entries()
        name = label if label in entries else _inside(label, entries)
        return self._read(*self._ends(name, entries[name], whole=False), f"{self.where}: {label}").format

    def path(self, label: str) -> str:
        """Return where a dump is among what `fetch` brings."""
        entries = self._storage.entries()
        return label if label in entries or f"{label}/toc.dat" in entries else "."

    def _snapshot(self, label: str, entries: dict[str, Entry], *, whole: bool) -> Snapshot:
        mine = {name: entry for name, entry in entries.items() if _dump_label(name, entries) == label}
        changed_at = max(entry.changed_at for entry in mine.values())
        said, fault = dumps.Dump(format="", version=""), ""
        try:
            name = label if label in entries else _inside(label, entries)
            said = self._read(*self._ends(name, entries[name], whole=whole), f"{self.where}: {label}")
        except BadBackup as error:
            fault = f"{error.flaw.value}: {error.found.partition(': ')[2]}"
        return Snapshot(
            label=label,
            kind="dump",
            taken_at=dumps.moment(said.taken_at, changed_at),
            size_bytes=sum(entry.size_bytes for entry in mine.values()),
            version=said.version,
            fault=fault,
        )

    def _ends(self, name: str, entry: Entry, *, whole: bool) -> tuple[bytes, bytes | None]:
        """Return the first bytes and the last; of a packed dump the last only if the ``whole`` is to be unpacked."""
        if not name.endswith(".gz"):
            head = self._storage.read(name, 0, dumps.HEAD_BYTES) or b""
            return head, self._storage.read(name, -dumps.TAIL_BYTES) or b""
        if (name, entry.mark) in self._known:
            return self._known[name, entry.mark]
        try:
            with gzip.open(io.BufferedReader(_Pieces(self._storage, name), _PIECE)) as file:
                head = tail = file.read(dumps.HEAD_BYTES)
                if not whole:
                    return head, None
                while piece := file.read(_PIECE):
                    tail = (tail + piece)[-dumps.TAIL_BYTES :]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            found = f"its compression is broken ({error})"
            raise BadBackup(Flaw.DAMAGED, where=f"{self.where}: {name}", found=found) from error
        self._known[name, entry.mark] = head, tail
        return head, tail


class _Pieces(io.RawIOBase):
    """A file of a storage, read from its beginning to its end in pieces."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage, self._name, self._at = storage, name, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._storage.read(self._name, self._at, max(len(buffer), 1)) or b""
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _dump_label(name: str, entries: dict[str, Entry]) -> str:
    """Return the dump that a file belongs to: itself, or the directory with a ``toc.dat``."""
    directory = name.rpartition("/")[0]
    return (directory or "dump") if _beside(directory, "toc.dat") in entries else name


def _beside(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def _inside(label: str, entries: dict[str, Entry]) -> str:
    return f"{label}/toc.dat" if f"{label}/toc.dat" in entries else "toc.dat"


class Files:
    """A directory of plain files: one snapshot, which is what lies there now."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.where, self.passed_over = storage.where, dict[str, str]()

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return the one snapshot; it is named after the newest file's time."""
        entries = self._storage.entries()
        if not entries:
            raise BadBackup(Flaw.EMPTY, where=self.where, found="no file lies there", todo="Take a backup first.")
        newest = max(entry.changed_at for entry in entries.values()).astimezone(UTC)
        size = sum(entry.size_bytes for entry in entries.values())
        return (Snapshot(label=f"{newest:%Y%m%d-%H%M%S}", kind="files", taken_at=_whole(newest), size_bytes=size),)

    def inspect(self, label: str) -> Snapshot:
        """Return the snapshot if it is still the one that lies there."""
        return named(self.snapshots(), label, self.where)

    def newest(self) -> Snapshot:
        """Return the one snapshot."""
        return self.snapshots()[0]

    def digest(self, label: str) -> str:
        """Return the digest of all names and contents."""
        return _digest(self.fetch(label, _quietly))

    def fetch(self, label: str, say: Say) -> Tree:
        """Bring all files."""
        self.inspect(label)
        return self._storage.tree(self._storage.entries(), say)


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _digest(tree: Tree) -> str:
    digest = hashlib.sha256()
    for name in tree.names:
        digest.update(f"{name}\0{file_digest(tree.root / name)}\n".encode("utf-8", "surrogateescape"))
    for name, target in tree.links:
        digest.update(f"{name}\0-> {target}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _quietly(_: str) -> None:
    """Show nothing."""
