"""Opens the backups of a store, lists its snapshots, says what is wrong with them, and fetches what one of them needs."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from model import dumps, pgbackrest
from model.snapshot import BadBackup, Flaw, Snapshot, named
from model.topology import Backup
from provisioners.outcome import Say
from provisioners.stores.storage import Directory, Entry, Storage, Tree, open_storage


class Repository(Protocol):
    """The backups of one store."""

    where: str
    passed_over: dict[str, str]
    """Snapshots that `newest` found to be bad, and why."""

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return all snapshots, oldest first; raise `BadBackup` where the repository cannot be used."""

    def inspect(self, label: str) -> Snapshot:
        """Return a snapshot after looking whether all is there that it needs; raise `BadBackup` otherwise."""

    def newest(self) -> Snapshot:
        """Return the newest snapshot that is good as far as can be told without restoring it."""

    def digest(self, label: str) -> str:
        """Return the SHA-256 of what identifies the snapshot."""

    def fetch(self, label: str, say: Say) -> Tree:
        """Bring onto this machine what a restore of the snapshot needs, and only that."""


def open_repository(backup: Backup, project_directory: Path) -> Repository:
    """Return the backups that a stack's file names.

    Raises:
        BadBackup: they cannot be used; the text says why.
    """
    storage = open_storage(backup.location, backup.endpoint, backup.region, project_directory)
    if backup.kind == "pgbackrest":
        return PgBackRest(storage, backup.stanza)
    if backup.kind == "files":
        return Files(storage)
    return Dumps(storage, dumps.read_pg_dump if backup.kind == "pg_dump" else dumps.read_mysqldump)


def _newest(repository: Repository) -> Snapshot:
    first: BadBackup | None = None
    for snapshot in reversed(repository.snapshots()):
        try:
            return repository.inspect(snapshot.label)
        except BadBackup as error:
            repository.passed_over[snapshot.label] = str(error)
            first = first or error
    if first is not None:
        raise first
    raise BadBackup(Flaw.EMPTY, where=repository.where, found="it holds no snapshot", todo="Take a backup first.")


class PgBackRest:
    """A pgBackRest repository, of which one stanza is looked at."""

    def __init__(self, storage: Storage, stanza: str) -> None:
        self._storage, self._stanza = storage, stanza
        self.where, self.passed_over = storage.where, dict[str, str]()
        self._manifests: dict[str, tuple[pgbackrest.Manifest, str]] = {}

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return what ``backup.info`` lists."""
        return self._info().snapshots

    def clusters(self) -> frozenset[str]:
        """Return the system identifiers of all clusters that the stanza has ever been of."""
        archive = pgbackrest.read_archive_info(*self._twice(f"archive/{self._stanza}/archive.info"))
        return frozenset(cluster[1] for _, cluster in archive.directories)

    def inspect(self, label: str) -> Snapshot:
        """Look at the snapshot's manifest, files and WAL: whether they are there, and long enough."""
        snapshot = self._named(label)
        manifest, _ = self._manifest(label)
        bad = [file for file in manifest.files if file.bad_pages]
        if snapshot.fault or bad:
            places = "; ".join(f"{file.name}, pages {file.bad_pages}" for file in bad[:3])
            found = f"{snapshot.fault or 'pages failed their checksum when it was taken'}: {places or 'no page is named'}"
            raise BadBackup(Flaw.DAMAGED, where=f"{self.where}: {label}", found=found)
        if (manifest.version, manifest.system_identifier) != (snapshot.version, snapshot.system_identifier):
            raise BadBackup(
                Flaw.OTHER_CLUSTER,
                where=f"{self.where}: {label}",
                found=f"its manifest is of cluster {manifest.system_identifier}, version {manifest.version}",
                wanted=f"cluster {snapshot.system_identifier}, version {snapshot.version}, as backup.info says",
            )
        self._check_files(manifest)
        self._wal(snapshot)
        return snapshot

    def newest(self) -> Snapshot:
        """Return the newest snapshot that has all that it needs."""
        return _newest(self)

    def digest(self, label: str) -> str:
        """Return the digest of the snapshot's manifest, which holds a checksum of each file."""
        self._named(label)
        return self._manifest(label)[1]

    def fetch(self, label: str, say: Say) -> Tree:
        """Bring the information files, the snapshot, what it builds on and its WAL."""
        snapshot = self.inspect(label)
        manifest, _ = self._manifest(label)
        backups, archive = f"backup/{self._stanza}", f"archive/{self._stanza}"
        names = {f"{backups}/{path}" for path in manifest.needed()}
        for name in (f"{backups}/backup.info", f"{archive}/archive.info", f"{backups}/{label}/backup.manifest"):
            names |= {name, f"{name}.copy"}
        return self._storage.tree(names | set(self._wal(snapshot)), say)

    def _named(self, label: str) -> Snapshot:
        snapshots = self.snapshots()
        listed = next((each for each in snapshots if each.label == label), None)
        return listed or named(snapshots, label, self.where)

    def _info(self) -> pgbackrest.BackupInfo:
        self._check_stanza()
        info = pgbackrest.read_backup_info(*self._twice(f"backup/{self._stanza}/backup.info"))
        archive = pgbackrest.read_archive_info(*self._twice(f"archive/{self._stanza}/archive.info"))
        if (info.version, info.system_identifier) != (archive.version, archive.system_identifier):
            raise BadBackup(
                Flaw.OTHER_CLUSTER,
                where=f"{self.where}: archive/{self._stanza}/archive.info",
                found=f"its WAL is of cluster {archive.system_identifier}, version {archive.version}",
                wanted=f"cluster {info.system_identifier}, version {info.version}, as backup.info says",
            )
        if not info.snapshots:
            todo = "Take a backup first."
            raise BadBackup(Flaw.EMPTY, where=self.where, found=f"stanza {self._stanza} has no snapshot", todo=todo)
        return info

    def _check_stanza(self) -> None:
        if self._storage.entries(f"backup/{self._stanza}/") or self._storage.entries(f"archive/{self._stanza}/"):
            return
        found = self._storage.entries()
        stanzas = sorted({name.split("/")[1] for name in found if name.startswith("backup/") and name.count("/") > 1})
        if stanzas:
            raise BadBackup(
                Flaw.UNKNOWN_STANZA,
                where=self.where,
                found=f"it has no stanza {self._stanza}",
                wanted=f"one of {', '.join(stanzas)}",
                todo="Correct `stanza` in the stack's file.",
            )
        what = "it has files, but no directory `backup` of pgBackRest" if found else "nothing lies there"
        raise BadBackup(Flaw.EMPTY, where=self.where, found=what, todo="Take a backup first, or correct the location.")

    def _twice(self, name: str) -> tuple[dict[str, dict[str, Any]], str]:
        where = f"{self.where}: {name}"
        return pgbackrest.read_twice(self._storage.read(name), self._storage.read(f"{name}.copy"), where), where

    def _manifest(self, label: str) -> tuple[pgbackrest.Manifest, str]:
        if label not in self._manifests:
            name = f"backup/{self._stanza}/{label}/backup.manifest"
            sections, where = self._twice(name)
            manifest = pgbackrest.read_manifest(sections, where)
            if manifest.label != label:
                raise BadBackup(Flaw.DAMAGED, where=where, found=f"it is the manifest of {manifest.label}")
            content = self._storage.read(name) or b""
            self._manifests[label] = manifest, hashlib.sha256(content).hexdigest()
        return self._manifests[label]

    def _check_files(self, manifest: pgbackrest.Manifest) -> None:
        directory = f"backup/{self._stanza}/"
        holders = {path.split("/")[0] for path in manifest.needed()}
        there: dict[str, Entry] = {}
        for holder in holders:
            there |= self._storage.entries(f"{directory}{holder}/")
        for path, size in manifest.needed().items():
            entry = there.get(directory + path)
            where = f"{self.where}: {directory}{path}"
            if entry is None:
                raise BadBackup(Flaw.INCOMPLETE, where=where, found=f"the file is missing, and {manifest.label} needs it")
            if entry.size_bytes < size:
                found = f"the file is cut short: it has {entry.size_bytes} bytes"
                raise BadBackup(Flaw.DAMAGED, where=where, found=found, wanted=f"at least {size}")

    def _wal(self, snapshot: Snapshot) -> tuple[str, ...]:
        archive = pgbackrest.read_archive_info(*self._twice(f"archive/{self._stanza}/archive.info"))
        directory = archive.directory(snapshot.version, snapshot.system_identifier)
        if not directory:
            raise BadBackup(
                Flaw.OTHER_CLUSTER,
                where=f"{self.where}: archive/{self._stanza}/archive.info",
                found=f"it knows no cluster {snapshot.system_identifier} of version {snapshot.version}",
            )
        there = self._storage.entries(f"archive/{self._stanza}/{directory}/")
        by_segment = {name.rpartition("/")[2].partition("-")[0]: name for name in there if "-" in name.rpartition("/")[2]}
        needed = pgbackrest.wal_segments(snapshot)
        for segment in needed:
            name = by_segment.get(segment)
            where = f"{self.where}: archive/{self._stanza}/{directory}"
            if name is None:
                found = f"the WAL segment {segment} is missing, and {snapshot.label} needs it"
                raise BadBackup(Flaw.INCOMPLETE, where=where, found=found)
            if not there[name].size_bytes:
                raise BadBackup(Flaw.DAMAGED, where=where, found=f"the WAL segment {segment} has no content")
        histories = (name for name in there if name.endswith(".history"))
        return (*(by_segment[segment] for segment in needed), *histories)


class Dumps:
    """One dump, or a directory with a dump for each snapshot.

    Args:
        storage: where it lies.
        read: reads the head and the tail of a dump.
    """

    def __init__(self, storage: Storage, read: Callable[[bytes, bytes, str], dumps.Dump]) -> None:
        self._storage, self._read = storage, read
        self.where, self.passed_over = storage.where, dict[str, str]()

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return each dump; one that cannot be read has a fault."""
        entries = self._storage.entries()
        if not entries:
            raise BadBackup(Flaw.EMPTY, where=self.where, found="nothing lies there", todo="Take a backup first.")
        labels = {_dump_label(name, entries) for name in entries if not name.rpartition("/")[2].startswith(".")}
        found = [self._snapshot(label, entries) for label in sorted(labels)]
        return tuple(sorted(found, key=lambda snapshot: (snapshot.taken_at, snapshot.label)))

    def inspect(self, label: str) -> Snapshot:
        """Return a dump that begins and ends as one does."""
        return named(self.snapshots(), label, self.where)

    def newest(self) -> Snapshot:
        """Return the newest whole dump."""
        return _newest(self)

    def digest(self, label: str) -> str:
        """Return the digest of the dump's files."""
        return _digest(self.fetch(label, lambda line: None))

    def fetch(self, label: str, say: Say) -> Tree:
        """Bring the dump."""
        self.inspect(label)
        entries = self._storage.entries()
        return self._storage.tree((name for name in entries if _dump_label(name, entries) == label), say)

    def _snapshot(self, label: str, entries: dict[str, Entry]) -> Snapshot:
        mine = {name: entry for name, entry in entries.items() if _dump_label(name, entries) == label}
        changed_at = max(entry.changed_at for entry in mine.values())
        said, fault = dumps.Dump(format="", version=""), ""
        try:
            head, tail = self._ends(label if label in entries else _inside(label, entries))
            said = self._read(head, tail, f"{self.where}: {label}")
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

    def _ends(self, name: str) -> tuple[bytes, bytes]:
        if not name.endswith(".gz"):
            head = self._storage.read(name, 0, dumps.HEAD_BYTES) or b""
            return head, self._storage.read(name, -dumps.TAIL_BYTES) or b""
        where = f"{self.where}: {name}"
        try:
            with gzip.open(_Pieces(self._storage, name)) as file:
                head = tail = file.read(dumps.HEAD_BYTES)
                while piece := file.read(1 << 20):
                    tail = (tail + piece)[-dumps.TAIL_BYTES :]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadBackup(Flaw.DAMAGED, where=where, found=f"its compression is broken ({error})") from error
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
        return _digest(self.fetch(label, lambda line: None))

    def fetch(self, label: str, say: Say) -> Tree:
        """Bring all files."""
        self.inspect(label)
        return self._storage.tree(self._storage.entries(), say)


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _digest(tree: Tree) -> str:
    digest = hashlib.sha256()
    for name in tree.names:
        digest.update(f"{name}\0{file_digest(tree.root / name)}\n".encode())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return a file's SHA-256 as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = ["Directory", "Repository", "Tree", "file_digest", "open_repository"]
