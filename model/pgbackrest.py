"""pgBackRest's own files, read: which backups a repository has, what each consists of, and what is wrong with them.

Source: pgBackRest 2.45, src/info/info.c (checksum), src/info/infoBackup.c, src/info/infoArchive.c, src/info/manifest.c.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from model.snapshot import BadBackup, Flaw, Snapshot

_SECTION = re.compile(r"\[(.+)\]")
_WAL = re.compile(r"[0-9A-F]{24}")
_DEFAULT_SEGMENT_BYTES = 16 << 20
_SEGMENT_SIZES = tuple(1 << power for power in (24, *range(20, 24), *range(25, 31)))
"""Those that PostgreSQL can have, its usual one first. Source: initdb(1), --wal-segsize."""
EXTENSIONS = {"none": "", "gz": ".gz", "lz4": ".lz4", "zst": ".zst", "bz2": ".bz2"}
"""What pgBackRest adds to a file's name, by the kind of compression."""

Section = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupInfo:
    """A stanza's ``backup.info``: its cluster, and its backups from the oldest on."""

    version: str
    system_identifier: str
    snapshots: tuple[Snapshot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveInfo:
    """A stanza's ``archive.info``: the WAL's directory for each cluster it ever had, as ``version, system id``."""

    version: str
    system_identifier: str
    directories: tuple[tuple[str, tuple[str, str]], ...]

    def directory(self, version: str, system_identifier: str) -> str:
        """Return the directory of a cluster's WAL, such as ``15-1``; empty where there is none."""
        mine = (version, system_identifier)
        return next((name for name, cluster in reversed(self.directories) if cluster == mine), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file of a backup and where it lies in the repository.

    Args:
        name: its name in the backup, such as ``pg_data/base/1/112``.
        path: its path in the stanza's directory of backups; a bundle holds several files.
        offset: where it begins in a bundle, in bytes.
        repository_bytes: how many bytes it has there.
        bad_pages: the pages that failed their checksum when the backup was taken.
        repository_sha1: the digest of these bytes in the repository; empty where pgBackRest did not note it.
    """

    name: str
    path: str
    offset: int
    repository_bytes: int
    bad_pages: str = ""
    repository_sha1: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What one backup consists of."""

    label: str
    version: str
    system_identifier: str
    files: tuple[StoredFile, ...]
    size_bytes: int

    def needed(self) -> dict[str, int]:
        """Return the files in the repository that a restore reads, each with the least size that it must have."""
        sizes: dict[str, int] = {}
        for file in self.files:
            if file.repository_bytes:
                sizes[file.path] = max(sizes.get(file.path, 0), file.offset + file.repository_bytes)
        return sizes


def read_sections(content: bytes, where: str) -> dict[str, dict[str, Any]]:
    """Return the sections of one of pgBackRest's files, after its checksum was found to be right.

    Args:
        content: the file's content.
        where: the file, for the error.

    Raises:
        BadBackup: it is damaged, or encrypted.
    """
    if not content.strip(b"\0 \n"):
        raise BadBackup(
            Flaw.DAMAGED, where=where, found="the file is empty" if not content else "the file is all zeros"
        )
    if content.startswith(b"Salted__"):
        raise BadBackup(Flaw.UNREADABLE, where=where, found="the repository is encrypted", wanted="one that is not")
    try:
        lines = tuple(_lines(content.decode("utf-8")))
        sections: dict[str, dict[str, Any]] = {}
        for section, key, _, value in lines:
            sections.setdefault(section, {})[key] = value
    except ValueError as error:
        raise BadBackup(Flaw.DAMAGED, where=where, found=f"the file cannot be read ({error})") from error
    wanted, found = sections.get("backrest", {}).get("backrest-checksum"), _checksum(lines)
    if wanted is None:
        raise BadBackup(Flaw.DAMAGED, where=where, found="the file is cut short: its checksum is missing")
    if wanted != found:
        raise BadBackup(Flaw.DAMAGED, where=where, found=f"the file's checksum is {found}", wanted=str(wanted))
    return sections


def _lines(text: str) -> Iterator[tuple[str, str, str, Any]]:
    """Give section, key, and the value as it stands there and as it is meant, of each line."""
    section = ""
    for line in text.split("\n"):
        match = _SECTION.fullmatch(line)
        if match:
            section = match[1]
        elif line:
            yield section, *_key_and_value(line)


def _key_and_value(line: str) -> tuple[str, str, Any]:
    """Split at the first ``=`` after which JSON stands: a file's name may have ``=`` itself."""
    at = line.find("=")
    while at >= 0:
        key, text = line[:at], line[at + 1 :]
        try:
            return key, text, json.loads(text)
        except ValueError:
            at = line.find("=", at + 1)
    raise ValueError(f"no value in the line {line[:60]!r}")


def _checksum(lines: tuple[tuple[str, str, str, Any], ...]) -> str:
    sections: dict[str, list[str]] = {}
    for section, key, text, _ in lines:
        if key != "backrest-checksum":
            sections.setdefault(section, []).append(f'"{key}":{text}')
    whole = ",".join(f'"{name}":{{{",".join(values)}}}' for name, values in sections.items())
    return hashlib.sha1(f"{{{whole}}}".encode(), usedforsecurity=False).hexdigest()


def read_twice(main: bytes | None, copy: bytes | None, where: str) -> dict[str, dict[str, Any]]:
    """Return the sections of a file that pgBackRest keeps twice, as both must have them.

    pgBackRest itself goes on with one of the two. Here it is a fault: the repository has been damaged.

    Args:
        main: the file's content; None where it is not there.
        copy: the content of its ``.copy``.
        where: the file, for the error.

    Raises:
        BadBackup: one of them is missing or damaged, or they differ.
    """
    for content, name in ((main, where), (copy, f"{where}.copy")):
        if content is None:
            raise BadBackup(Flaw.INCOMPLETE, where=name, found="the file is missing")
    assert main is not None
    assert copy is not None
    sections = read_sections(main, where)
    if read_sections(copy, f"{where}.copy") != sections:
        raise BadBackup(Flaw.DAMAGED, where=where, found="the file and its copy differ")
    return sections


def read_backup_info(sections: Mapping[str, Section], where: str) -> BackupInfo:
    """Return what ``backup.info`` says.

    Raises:
        BadBackup: it says nothing of the kind.
    """
    try:
        clusters = {
            int(number): (str(each["db-version"]), str(each["db-system-id"]))
            for number, each in sections["db:history"].items()
        }
        snapshots = [_snapshot(label, entry, clusters) for label, entry in sections.get("backup:current", {}).items()]
        return BackupInfo(
            version=str(sections["db"]["db-version"]),
            system_identifier=str(sections["db"]["db-system-id"]),
            snapshots=tuple(sorted(snapshots, key=lambda snapshot: (snapshot.taken_at, snapshot.label))),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadBackup(Flaw.DAMAGED, where=where, found=f"it does not say what it should ({error!r})") from error


def _snapshot(label: str, entry: Section, clusters: Mapping[int, tuple[str, str]]) -> Snapshot:
    version, system_identifier = clusters[int(entry["db-id"])]
    start, stop = entry.get("backup-archive-start") or "", entry.get("backup-archive-stop") or ""
    failed = "pages failed their checksum when it was taken" if entry.get("backup-error") else ""
    return Snapshot(
        label=label,
        kind=str(entry["backup-type"]),
        taken_at=datetime.fromtimestamp(int(entry["backup-timestamp-stop"]), UTC),
        size_bytes=int(entry["backup-info-size"]),
        version=version,
        system_identifier=system_identifier,
        chain=(*sorted(entry.get("backup-reference") or ()), label),
        wal_start=start,
        wal_stop=stop,
        wal_segment_bytes=_segment_bytes(
            ((start, entry.get("backup-lsn-start") or ""), (stop, entry.get("backup-lsn-stop") or ""))
        ),
        fault=failed,
    )


def _segment_bytes(known: tuple[tuple[str, str], ...]) -> int:
    """Return the size of a WAL segment that agrees with what is known: a segment's name and a place in it."""
    fitting = [
        size
        for size in _SEGMENT_SIZES
        if all(
            _WAL.fullmatch(name) is not None and int(lsn.partition("/")[2], 16) // size == int(name[16:], 16)
            for name, lsn in known
            if name and lsn
        )
    ]
    return fitting[0] if fitting else _DEFAULT_SEGMENT_BYTES


def wal_segments(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the names of the WAL segments that a snapshot needs to be consistent.

    >>> from datetime import datetime, UTC
    >>> wal_segments(Snapshot(label="a", kind="full", taken_at=datetime.now(UTC), size_bytes=0,
    ...     wal_start="0000000100000000000000FF", wal_stop="000000010000000100000000"))
    ('0000000100000000000000FF', '000000010000000100000000')
    """
    if not snapshot.wal_start or not snapshot.wal_stop:
        return ()
    each = (1 << 32) // snapshot.wal_segment_bytes
    first, last = _number(snapshot.wal_start, each), _number(snapshot.wal_stop, each)
    timeline = snapshot.wal_stop[:8]
    return tuple(f"{timeline}{number // each:08X}{number % each:08X}" for number in range(first, last + 1))


def _number(segment: str, each: int) -> int:
    return int(segment[8:16], 16) * each + int(segment[16:24], 16)


def read_archive_info(sections: Mapping[str, Section], where: str) -> ArchiveInfo:
    """Return what ``archive.info`` says.

    Raises:
        BadBackup: it says nothing of the kind.
    """
    try:
        return ArchiveInfo(
            version=str(sections["db"]["db-version"]),
            system_identifier=str(sections["db"]["db-system-id"]),
            directories=tuple(
                (f"{each['db-version']}-{number}", (str(each["db-version"]), str(each["db-id"])))
                for number, each in sections["db:history"].items()
            ),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadBackup(Flaw.DAMAGED, where=where, found=f"it does not say what it should ({error!r})") from error


def read_manifest(sections: Mapping[str, Section], where: str) -> Manifest:
    """Return what ``backup.manifest`` says.

    Raises:
        BadBackup: it says nothing of the kind.
    """
    try:
        backup, options = sections["backup"], sections["backup:option"]
        extension = EXTENSIONS[options.get("option-compress-type", "gz" if options.get("option-compress") else "none")]
        files = tuple(
            _stored(name, entry, str(backup["backup-label"]), extension)
            for name, entry in sections["target:file"].items()
        )
        return Manifest(
            label=str(backup["backup-label"]),
            version=str(sections["backup:db"]["db-version"]),
            system_identifier=str(sections["backup:db"]["db-system-id"]),
            files=files,
            size_bytes=sum(int(entry.get("size", 0)) for entry in sections["target:file"].values()),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadBackup(Flaw.DAMAGED, where=where, found=f"it does not say what it should ({error!r})") from error


def _stored(name: str, entry: Section, label: str, extension: str) -> StoredFile:
    holder, size = entry.get("reference", label), int(entry.get("size", 0))
    bundle = entry.get("bni")
    bad = entry.get("checksum-page-error", "") if entry.get("checksum-page") is False else None
    return StoredFile(
        name=name,
        path=f"{holder}/{name}{extension}" if bundle is None else f"{holder}/bundle/{bundle}",
        offset=int(entry.get("bno", 0)),
        repository_bytes=int(entry.get("repo-size", size)) if size else 0,
        bad_pages="" if bad is None else (json.dumps(bad) if bad else "some"),
        repository_sha1=str(entry.get("rck", "")),
    )
