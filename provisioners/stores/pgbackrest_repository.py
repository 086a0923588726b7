"""A pgBackRest repository: its snapshots, whether each has all that it needs, and what a restore of one reads."""

from __future__ import annotations

import hashlib
from typing import Any

from model import pgbackrest
from model.snapshot import BadBackup, Flaw, Snapshot, named
from provisioners.outcome import Say
from provisioners.stores.storage import Entry, Storage, Tree, newest_inspected


class PgBackRest:
    """A pgBackRest repository, of which one stanza is looked at. What it lists is read once."""

    def __init__(self, storage: Storage, stanza: str) -> None:
        self._storage, self._stanza = storage, stanza
        self.where, self.passed_over = storage.where, dict[str, str]()
        self._known: pgbackrest.BackupInfo | None = None
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
            found = (
                f"{snapshot.fault or 'pages failed their checksum when it was taken'}: {places or 'no page is named'}"
            )
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
        return newest_inspected(self)

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

    def wal(self, label: str) -> tuple[str, ...]:
        """Return the WAL segments that a snapshot needs, as ``NAME-SHA1``."""
        names = (name.rpartition("/")[2].partition(".")[0] for name in self._wal(self._named(label)))
        return tuple(name for name in names if "-" in name)

    def damaged_files(self, label: str) -> tuple[str, ...]:
        """Return the files of a snapshot whose bytes in the repository are not those that were stored.

        It reads all of them: for saying what is wrong after a restore has failed.
        """
        manifest, _ = self._manifest(label)
        return tuple(
            f"{file.name} (in {file.path})"
            for file in manifest.files
            if file.repository_bytes and file.repository_sha1 and self._sha1(file) != file.repository_sha1
        )

    def _sha1(self, file: pgbackrest.StoredFile) -> str:
        name = f"backup/{self._stanza}/{file.path}"
        content = self._storage.read(name, file.offset, file.repository_bytes) or b""
        return hashlib.sha1(content, usedforsecurity=False).hexdigest()

    def _named(self, label: str) -> Snapshot:
        snapshots = self.snapshots()
        listed = next((each for each in snapshots if each.label == label), None)
        return listed or named(snapshots, label, self.where)

    def _info(self) -> pgbackrest.BackupInfo:
        if self._known is None:
            self._known = self._read_info()
        return self._known

    def _read_info(self) -> pgbackrest.BackupInfo:
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
                raise BadBackup(
                    Flaw.INCOMPLETE, where=where, found=f"the file is missing, and {manifest.label} needs it"
                )
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
        by_segment = {
            name.rpartition("/")[2].partition("-")[0]: name for name in there if "-" in name.rpartition("/")[2]
        }
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
