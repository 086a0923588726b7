"""pgBackRest's files: read as they are written, refused where they are not what they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.pgbackrest import (
    read_archive_info,
    read_backup_info,
    read_manifest,
    read_sections,
    read_twice,
    wal_segments,
)
from model.snapshot import BadBackup, Flaw

SAMPLE = Path(__file__).parents[2] / "samples" / "pgbackrest"
INFO = (SAMPLE / "backup" / "shop" / "backup.info").read_bytes()
ARCHIVE = (SAMPLE / "archive" / "shop" / "archive.info").read_bytes()


def test_the_sample_has_a_chain() -> None:
    info = read_backup_info(read_sections(INFO, "backup.info"), "backup.info")
    kinds = [snapshot.kind for snapshot in info.snapshots]
    assert kinds[0] == "full"
    assert len(kinds) >= 3
    newest = info.snapshots[-1]
    assert newest.chain[0] == info.snapshots[0].label
    assert newest.chain[-1] == newest.label
    assert (newest.version, newest.system_identifier) == (info.version, info.system_identifier)
    assert newest.wal_segment_bytes == 16 << 20
    archive = read_archive_info(read_sections(ARCHIVE, "archive.info"), "archive.info")
    assert archive.directory(info.version, info.system_identifier) == "15-1"
    assert archive.directory("14", info.system_identifier) == ""


def test_a_manifest_names_all_files_that_a_restore_reads() -> None:
    info = read_backup_info(read_sections(INFO, "backup.info"), "backup.info")
    for snapshot in info.snapshots:
        content = (SAMPLE / "backup" / "shop" / snapshot.label / "backup.manifest").read_bytes()
        manifest = read_manifest(read_sections(content, "manifest"), "manifest")
        assert manifest.size_bytes == snapshot.size_bytes
        assert {path.split("/")[0] for path in manifest.needed()} <= set(snapshot.chain)
        for path, size in manifest.needed().items():
            assert (SAMPLE / "backup" / "shop" / path).stat().st_size >= size


@pytest.mark.parametrize(
    ("content", "flaw", "found"),
    [
        (b"", Flaw.DAMAGED, "the file is empty"),
        (b"\0" * 100, Flaw.DAMAGED, "the file is all zeros"),
        (b"Salted__xyz", Flaw.UNREADABLE, "the repository is encrypted"),
        (b"\xff\xfe", Flaw.DAMAGED, "cannot be read"),
        (b"[db]\nnonsense\n", Flaw.DAMAGED, "no value in the line 'nonsense'"),
        (INFO[: len(INFO) // 2].rpartition(b"\n")[0], Flaw.DAMAGED, "cut short"),
        (INFO.replace(b'"15"', b'"14"'), Flaw.DAMAGED, "the file's checksum is"),
    ],
)
def test_what_is_damaged_is_named(content: bytes, flaw: Flaw, found: str) -> None:
    with pytest.raises(BadBackup) as caught:
        read_sections(content, "backup.info")
    assert caught.value.flaw is flaw
    assert found in str(caught.value)
    assert str(caught.value).startswith("backup.info: ")


@given(st.integers(0, len(INFO) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unseen(at: int, change: int) -> None:
    content = bytearray(INFO)
    content[at] ^= change
    try:
        found = read_sections(bytes(content), "backup.info")
    except BadBackup:
        return
    assert found == read_sections(INFO, "backup.info")  # such as a line's end that became another blank


def test_the_two_copies_must_agree() -> None:
    with pytest.raises(BadBackup, match=r"backup\.info\.copy: .*the file is missing"):
        read_twice(INFO, None, "backup.info")
    with pytest.raises(BadBackup, match=r"the file and its copy differ"):
        read_twice(INFO, ARCHIVE, "backup.info")


@given(st.dictionaries(st.text("ab=\"' \\/é", min_size=1, max_size=8), st.integers(), min_size=1, max_size=5))
def test_a_key_may_have_equals_signs(files: dict[str, int]) -> None:
    """Names of files stand as keys; only names that leave a value of JSON behind each ``=`` cannot be told apart."""
    text = "[target:file]\n" + "".join(f'pg_data/{name}={{"size":{size}}}\n' for name, size in files.items())
    text += '\n[backrest]\nbackrest-checksum="x"\n'
    with pytest.raises(BadBackup, match="checksum is"):
        read_sections(text.encode(), "manifest")


@pytest.mark.parametrize(
    ("start", "stop", "lsns", "segments"),
    [
        ("000000010000000000000002", "000000010000000000000004", ("0/2000028", "0/4000100"), 3),
        ("0000000100000000000000FE", "000000010000000100000001", ("0/FE000028", "1/1000100"), 4),
        ("000000020000000000000FFF", "000000020000000100000000", ("0/FFF00028", "1/100"), 2),  # of 1 MiB
        (None, None, (None, None), 0),  # taken of a stopped server
    ],
)
def test_the_wal_that_a_snapshot_needs(
    start: str | None, stop: str | None, lsns: tuple[str | None, str | None], segments: int
) -> None:
    entry = {
        "backup-archive-start": start,
        "backup-archive-stop": stop,
        "backup-lsn-start": lsns[0],
        "backup-lsn-stop": lsns[1],
        "backup-type": "full",
        "backup-timestamp-stop": 1795490525,
        "backup-info-size": 1,
        "db-id": 1,
    }
    sections = {
        "db": {"db-version": "15", "db-system-id": 7},
        "db:history": {"1": {"db-version": "15", "db-system-id": 7}},
        "backup:current": {"20260101-000000F": entry},
    }
    snapshot = read_backup_info(json.loads(json.dumps(sections)), "backup.info").snapshots[0]
    found = wal_segments(snapshot)
    assert len(found) == segments
    assert not found or (found[0], found[-1]) == (start, stop)


def test_info_that_says_something_else_is_refused() -> None:
    broken: tuple[dict[str, dict[str, object]], ...] = (
        {},
        {"db": {}},
        {"db": {"db-version": "15", "db-system-id": 1}, "db:history": {"x": 1}},
    )
    for sections in broken:
        with pytest.raises(BadBackup, match="does not say what it should"):
            read_backup_info(sections, "backup.info")
    with pytest.raises(BadBackup, match="does not say what it should"):
        read_manifest({"backup": {"backup-label": "a"}}, "manifest")
    with pytest.raises(BadBackup, match="does not say what it should"):
        read_archive_info({"db": {}}, "archive.info")
