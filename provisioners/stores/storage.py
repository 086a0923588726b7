"""Where backups lie: a directory, or a bucket of an S3-compatible service. Read only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from model.snapshot import BadBackup, Flaw, Snapshot
from provisioners.outcome import Say

_CHUNK = 1 << 20
_TRIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file in a storage. ``mark`` is new whenever its content is."""

    size_bytes: int
    changed_at: datetime
    mark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Files on this machine.

    Args:
        root: the directory that they lie in.
        names: their paths in it, sorted.
        size_bytes: of all of them.
        links: paths of symbolic links in it, each with what it says, sorted.
    """

    root: Path
    names: tuple[str, ...]
    size_bytes: int
    links: tuple[tuple[str, str], ...] = ()


class Storage(Protocol):
    """A place with files, named by their path with ``/``."""

    where: str

    def entries(self, prefix: str = "") -> dict[str, Entry]:
        """Return the files whose names begin so, by name; none where nothing is there."""

    def read(self, name: str, start: int = 0, size: int = -1) -> bytes | None:
        """Return a part of a file, None where it is not there."""

    def tree(self, names: Iterable[str], say: Say) -> Tree:
        """Bring these files onto this machine, if they are not here."""


class Directory:
    """A directory, or one file, of this machine.

    Args:
        path: where it is.
        keep_links: whether symbolic links are kept as such; otherwise files are found through them.
    """

    def __init__(self, path: Path, *, keep_links: bool = False) -> None:
        self.where, self._keep_links = str(path), keep_links
        self._only = path.name if path.is_file() else ""
        self.root = path.parent if self._only else path
        if not path.exists():
            todo = "Correct the path, or mount what lies there."
            raise BadBackup(Flaw.ABSENT, where=self.where, found="there is no such file or directory", todo=todo)

    def entries(self, prefix: str = "") -> dict[str, Entry]:
        """Return the files below, by name."""
        if self._only:
            return {self._only: self._entry(self.root / self._only)}
        found: dict[str, Entry] = {}
        start = self.root / prefix.rpartition("/")[0]
        for directory, below, files in os.walk(start, onerror=self._unreadable):
            for file in (*files, *below):
                path = Path(directory, file)
                name = path.relative_to(self.root).as_posix()
                if name.startswith(prefix) and (self._is_link(path) or path.is_file()):
                    found[name] = self._entry(path)
        return found

    def read(self, name: str, start: int = 0, size: int = -1) -> bytes | None:
        """Return a part of a file; counted from its end where ``start`` is negative."""
        try:
            with (self.root / name).open("rb") as file:
                if start < 0:
                    file.seek(max(0, file.seek(0, os.SEEK_END) + start))
                else:
                    file.seek(start)
                return file.read(size)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._unreadable(error)
            return None

    def tree(self, names: Iterable[str], say: Say) -> Tree:
        """Return the files where they are; nothing is copied."""
        listed = sorted(names)
        links = tuple((name, _target(self.root / name)) for name in listed if self._is_link(self.root / name))
        files = tuple(name for name in listed if not self._is_link(self.root / name))
        size = sum((self.root / name).stat().st_size for name in files)
        return Tree(root=self.root, names=files, size_bytes=size, links=links)

    def _is_link(self, path: Path) -> bool:
        return self._keep_links and path.is_symlink()

    def _entry(self, path: Path) -> Entry:
        status = path.stat(follow_symlinks=not self._is_link(path))
        changed = datetime.fromtimestamp(status.st_mtime, UTC)
        return Entry(size_bytes=status.st_size, changed_at=changed, mark=f"{status.st_size}-{status.st_mtime_ns}")

    def _unreadable(self, error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            return
        found = f"{error.filename or self.where} cannot be read ({error.strerror})"
        todo = "Let whoever runs this read it."
        raise BadBackup(Flaw.UNREADABLE, where=self.where, found=found, todo=todo) from error


def _target(link: Path) -> str:
    return os.readlink(link)  # noqa: PTH115  # a Path would tidy it up


class Inspected(Protocol):
    """Snapshots that can be looked at one by one."""

    where: str
    passed_over: dict[str, str]

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return all, oldest first."""

    def inspect(self, label: str) -> Snapshot:
        """Return one that is good."""


def newest_inspected(repository: Inspected) -> Snapshot:
    """Return the newest snapshot that is good; note what is wrong with those that are newer."""
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


def file_digest(path: Path) -> str:
    """Return a file's SHA-256 as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
