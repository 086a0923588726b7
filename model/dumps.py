"""Dumps of databases: what their first and last bytes tell.

Source: PostgreSQL 15, src/bin/pg_dump/pg_backup_archiver.c (ReadHead, ReadInt, ReadStr) and pg_dump.c (main, for the
plain format); MariaDB 10.11, client/mysqldump.c (write_header, write_footer).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from model.snapshot import BadBackup, Flaw

HEAD_BYTES = 16384
TAIL_BYTES = 4096
"""How much of a dump's beginning and end must be read."""
_PLAIN = re.compile(rb"^-- PostgreSQL database dump$", re.MULTILINE)
_WHOLE_CLUSTER = re.compile(rb"^-- PostgreSQL database cluster dump$", re.MULTILINE)
_PLAIN_VERSION = re.compile(rb"^-- Dumped from database version (\d+(?:\.\d+)*)", re.MULTILINE)
_PLAIN_END = re.compile(rb"^-- PostgreSQL database dump complete$", re.MULTILINE)
_MYSQL = re.compile(rb"^-- (?:MariaDB|MySQL) dump ", re.MULTILINE)
_MYSQL_VERSION = re.compile(rb"^-- Server version\s+(\d+(?:\.\d+)*)", re.MULTILINE)
_MYSQL_END = re.compile(rb"^-- Dump completed(?: on (\d{4}-\d\d-\d\d\s+\d{1,2}:\d\d:\d\d))?\s*$", re.MULTILINE)
_FURTHEST_ZONE = timedelta(hours=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """What a dump says of itself.

    Args:
        format: ``custom``, ``directory`` or ``plain`` of pg_dump, or ``mysqldump``.
        version: of the server that was dumped; empty where it does not say.
        taken_at: when it was taken, in the dumping machine's own time, as if that were UTC; None where it does not say.
    """

    format: str
    version: str
    taken_at: datetime | None = None


def read_pg_dump(head: bytes, tail: bytes | None, where: str) -> Dump:
    """Return what a dump of PostgreSQL says of itself.

    Args:
        head: its first bytes, `HEAD_BYTES` or all; of a dump in a directory, of its ``toc.dat``.
        tail: its last bytes, `TAIL_BYTES` or all; None where they are not looked at.
        where: the file, for the error.

    Raises:
        BadBackup: it is none, or is cut short.
    """
    _refuse_empty(head, where)
    if head.startswith(b"PGDMP"):
        return _read_archive(head, where)
    if _WHOLE_CLUSTER.search(head):
        raise BadBackup(
            Flaw.UNREADABLE,
            where=where,
            found="it is the dump of a whole cluster (pg_dumpall)",
            wanted="the dump of one database (pg_dump)",
        )
    if not _PLAIN.search(head):
        raise BadBackup(Flaw.DAMAGED, where=where, found="it does not begin as a dump of PostgreSQL does")
    if tail is not None and not _PLAIN_END.search(tail):
        raise BadBackup(Flaw.DAMAGED, where=where, found="it is cut short: the line `dump complete` is missing")
    version = _PLAIN_VERSION.search(head)
    return Dump(format="plain", version=version[1].decode() if version else "")


def read_mysqldump(head: bytes, tail: bytes | None, where: str) -> Dump:
    """Return what a dump of MariaDB or MySQL says of itself; otherwise as `read_pg_dump`.

    Raises:
        BadBackup: it is none, or is cut short.
    """
    _refuse_empty(head, where)
    if not _MYSQL.search(head):
        raise BadBackup(Flaw.DAMAGED, where=where, found="it does not begin as a dump of MariaDB does")
    end, version = _MYSQL_END.search(tail or b""), _MYSQL_VERSION.search(head)
    if end is None and tail is not None:
        raise BadBackup(Flaw.DAMAGED, where=where, found="it is cut short: the line `Dump completed` is missing")
    taken_at = None
    if end is not None and end[1]:
        taken_at = datetime.strptime(" ".join(end[1].decode().split()), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return Dump(format="mysqldump", version=version[1].decode() if version else "", taken_at=taken_at)


def moment(says: datetime | None, changed_at: datetime) -> datetime:
    """Return when a dump was taken.

    Args:
        says: what it says, in an unknown time zone, as if it were UTC.
        changed_at: when its file was last written, which a copy may have changed.
    """
    if says is None or abs(says - changed_at) <= _FURTHEST_ZONE:
        return changed_at
    return says


def _refuse_empty(head: bytes, where: str) -> None:
    if not head:
        raise BadBackup(Flaw.EMPTY, where=where, found="the file has no content")
    if not head.strip(b"\0"):
        raise BadBackup(Flaw.DAMAGED, where=where, found="the file begins with zeros only")


class _Reader:
    """Reads the numbers and texts of an archive's head."""

    def __init__(self, head: bytes) -> None:
        self._head, self._at, self.int_bytes = head, 5, 4

    def byte(self) -> int:
        if self._at >= len(self._head):
            raise ValueError("it ends within its head")
        self._at += 1
        return self._head[self._at - 1]

    def number(self) -> int:
        sign = self.byte()
        value = int.from_bytes(bytes(self.byte() for _ in range(self.int_bytes)), "little")
        return -value if sign else value

    def text(self) -> str:
        length = self.number()
        if length > HEAD_BYTES:
            raise ValueError("a text in its head is too long")
        return bytes(self.byte() for _ in range(length)).decode("utf-8", "replace") if length > 0 else ""


def _read_archive(head: bytes, where: str) -> Dump:
    reader = _Reader(head)
    try:
        archive_version = (reader.byte(), reader.byte(), reader.byte())
        reader.int_bytes = reader.byte()
        reader.byte()  # the size of an offset
        kind = {1: "custom", 3: "directory"}[reader.byte()]
        if archive_version >= (1, 15, 0):
            reader.byte()  # the algorithm of compression
        else:
            reader.number()  # its level
        second, minute, hour, day, month, year, _ = (reader.number() for _ in range(7))
        reader.text()  # the database's name
        version = reader.text().split(" ")[0]
        taken_at = datetime(year + 1900, month + 1, day, hour, minute, min(second, 59), tzinfo=UTC)
    except (ValueError, KeyError, OverflowError) as error:
        raise BadBackup(Flaw.DAMAGED, where=where, found=f"the dump's head cannot be read ({error})") from error
    return Dump(format=kind, version=version, taken_at=taken_at)
