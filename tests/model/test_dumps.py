"""Dumps: what they say of themselves, and what is wrong with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import dumps
from model.snapshot import BadBackup, Flaw, Snapshot, check_version, named, newest_good

PLAIN = b"""--
-- PostgreSQL database dump
--

\\restrict abc

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18
"""
PLAIN_END = b"--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n"
MARIADB = b"""/*M!999999\\- enable the sandbox mode */
-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)
--
-- Host: localhost    Database: shop
-- ------------------------------------------------------
-- Server version\t10.11.6-MariaDB-0+deb12u1
"""


def archive(kind: int = 1, version: tuple[int, int, int] = (1, 14, 0)) -> bytes:
    def number(value: int) -> bytes:
        return bytes([value < 0]) + abs(value).to_bytes(4, "little")

    def text(value: str) -> bytes:
        return number(len(value)) + value.encode()

    head = b"PGDMP" + bytes(version) + bytes([4, 8, kind])
    head += b"\1" if version >= (1, 15, 0) else number(-1)
    moment = b"".join(number(part) for part in (7, 30, 2, 23, 10, 126, 0))
    return head + moment + text("shop") + text("15.18 (Debian 15.18-0+deb12u1)") + text("15.18")


@pytest.mark.parametrize("version", [(1, 13, 0), (1, 14, 0), (1, 15, 0), (1, 16, 0)])
@pytest.mark.parametrize(("kind", "name"), [(1, "custom"), (3, "directory")])
def test_an_archive_of_pg_dump(version: tuple[int, int, int], kind: int, name: str) -> None:
    found = dumps.read_pg_dump(archive(kind, version), b"", "a.dump")
    assert found == dumps.Dump(format=name, version="15.18", taken_at=datetime(2026, 11, 23, 2, 30, 7, tzinfo=UTC))


def test_plain_dumps() -> None:
    assert dumps.read_pg_dump(PLAIN, PLAIN_END, "a.sql") == dumps.Dump(format="plain", version="15.18")
    end = b"/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;\n\n-- Dump completed on 2026-11-23  2:30:07\n"
    assert dumps.read_mysqldump(MARIADB, end, "a.sql") == dumps.Dump(
        format="mysqldump", version="10.11.6", taken_at=datetime(2026, 11, 23, 2, 30, 7, tzinfo=UTC)
    )
    assert dumps.read_mysqldump(MARIADB, b"-- Dump completed\n", "a.sql").taken_at is None


@pytest.mark.parametrize(
    ("head", "tail", "flaw", "found"),
    [
        (b"", b"", Flaw.EMPTY, "no content"),
        (bytes(50), bytes(50), Flaw.DAMAGED, "zeros only"),
        (b"hello", b"hello", Flaw.DAMAGED, "does not begin as a dump of PostgreSQL does"),
        (PLAIN, b"INSERT INTO", Flaw.DAMAGED, "cut short: the line `dump complete` is missing"),
        (b"--\n-- PostgreSQL database cluster dump\n--\n", b"", Flaw.UNREADABLE, "whole cluster (pg_dumpall)"),
        (archive()[:20], b"", Flaw.DAMAGED, "it ends within its head"),
        (archive(kind=9), b"", Flaw.DAMAGED, "the dump's head cannot be read"),
    ],
)
def test_what_is_wrong_with_a_dump_is_named(head: bytes, tail: bytes, flaw: Flaw, found: str) -> None:
    with pytest.raises(BadBackup) as caught:
        dumps.read_pg_dump(head, tail, "a.dump")
    assert caught.value.flaw is flaw
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("head", "tail", "found"),
    [
        (b"", b"", "no content"),
        (PLAIN, PLAIN_END, "of MariaDB"),
        (MARIADB, b"INSERT INTO", "`Dump completed` is missing"),
    ],
)
def test_what_is_wrong_with_a_mysqldump_is_named(head: bytes, tail: bytes, found: str) -> None:
    with pytest.raises(BadBackup, match=found.replace("`", ".")):
        dumps.read_mysqldump(head, tail, "a.sql")


@given(st.binary(max_size=200))
def test_no_head_is_a_surprise(rest: bytes) -> None:
    for head in (rest, b"PGDMP" + rest):
        try:
            dumps.read_pg_dump(head, rest, "a")
        except BadBackup:
            continue


def test_a_moment_in_an_unknown_time_zone() -> None:
    written = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)
    assert dumps.moment(None, written) == written
    assert dumps.moment(written + timedelta(hours=2), written) == written, "the file's time is exact"
    copied = written + timedelta(days=30)
    assert dumps.moment(written, copied) == written, "the file's time is that of a copy"


def snapshot(label: str, day: int, fault: str = "", **more: str) -> Snapshot:
    taken_at = datetime(2026, 11, day, tzinfo=UTC)
    return Snapshot(label=label, kind=more.pop("kind", "full"), taken_at=taken_at, size_bytes=1, fault=fault, **more)  # type: ignore[arg-type]


def test_the_newest_that_is_good() -> None:
    all_of_them = (snapshot("a", 1), snapshot("c", 3, "bad"), snapshot("b", 2))
    assert newest_good(all_of_them, "here").label == "b"
    with pytest.raises(BadBackup, match="here: the backup is empty"):
        newest_good((), "here")
    with pytest.raises(BadBackup, match="none of its snapshots is good; c: bad"):
        newest_good((snapshot("c", 3, "bad"),), "here")
    with pytest.raises(BadBackup, match="x is not in it any more; the newest are: a, c, b"):
        named(all_of_them, "x", "here")
    with pytest.raises(BadBackup, match="here: c: the backup is damaged: bad"):
        named(all_of_them, "c", "here")


@pytest.mark.parametrize(
    ("version", "kind", "store", "good"),
    [
        ("15", "full", "15", True),
        ("14", "full", "15", False),
        ("15.18", "dump", "15", True),
        ("13.2", "dump", "15", True),
        ("16.1", "dump", "15", False),
        ("10.11.6", "dump", "10.11", True),
        ("10.5.1", "dump", "10.11", True),
        ("11.4.2", "dump", "10.11", False),
        ("", "files", "", True),
    ],
)
def test_versions(version: str, kind: str, store: str, good: bool) -> None:
    given_snapshot = snapshot("a", 1, version=version, kind=kind)
    if good:
        check_version(given_snapshot, store, "here")
    else:
        with pytest.raises(BadBackup, match=f"it was taken of version {version}"):
            check_version(given_snapshot, store, "here")
