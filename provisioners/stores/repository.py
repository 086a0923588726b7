"""Opens the backups of a store: lists its snapshots, says what is wrong with them, fetches what one of them needs."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from model import dumps
from model.snapshot import Snapshot
from model.topology import Backup
from provisioners.outcome import Say
from provisioners.stores.bucket import Bucket, cache_directory
from provisioners.stores.dump_repository import Dumps, Files
from provisioners.stores.pgbackrest_repository import PgBackRest
from provisioners.stores.storage import Directory, Storage, Tree


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
    if backup.kind == "files" and not backup.location.startswith("s3://"):
        return Files(Directory(project_directory / backup.location, keep_links=True))
    storage = open_storage(backup.location, backup.endpoint, backup.region, project_directory, backup.profile)
    if backup.kind == "pgbackrest":
        return PgBackRest(storage, backup.stanza)
    if backup.kind == "files":
        return Files(storage)
    return Dumps(storage, dumps.read_pg_dump if backup.kind == "pg_dump" else dumps.read_mysqldump)


def open_storage(location: str, endpoint: str, region: str, project_directory: Path, profile: str = "") -> Storage:
    """Return the storage at a location.

    Args:
        location: ``s3://bucket/prefix``, or a path, which may be relative to the project.
        endpoint: address of an S3-compatible service; empty for AWS or a path.
        region: the bucket's region; empty for a path.
        project_directory: where the project is.
        profile: name of the credentials in ``~/.aws``; empty for the usual ones.

    Raises:
        BadBackup: nothing is there.
    """
    if location.startswith("s3://"):
        return Bucket(location, endpoint, region, cache_directory(), profile)
    return Directory(project_directory / location)
