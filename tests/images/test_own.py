"""A user's own image: what it must be, how it comes into the cache, and what is refused before qemu opens it."""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from images import own
from images.disk_format import DiskFormat, disk_format
from images.own import OwnImagePaths, bring, usable
from model.errors import UnderstudyError
from tests.images.server import Served, serving
from tests.vm.own_image import partition_table

MIB = 1 << 20


def quiet(_: str) -> None: ...


def qemu_img(*argv: object) -> str:
    return subprocess.run(["qemu-img", *map(str, argv)], check=True, capture_output=True, text=True).stdout


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return a disk of 16 MiB that a BIOS would boot, with one partition and something in it."""
    path = tmp_path / "own.raw"
    first = (b"\xeb\x63" + bytes(444))[:446] + partition_table(2048, 16 * 2048 - 2048)
    path.write_bytes(first + bytes(MIB - 512) + os.urandom(MIB) + bytes(14 * MIB))
    return path


@pytest.fixture
def qcow2(raw: Path) -> Path:
    path = raw.with_suffix(".qcow2")
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, path)
    return path


@pytest.fixture
def take(tmp_path: Path) -> Callable[[str], OwnImagePaths]:
    """Return what brings a source, relative to the test's directory, into a cache of the test's own."""
    return lambda source: bring(source, tmp_path, 64, quiet, images=tmp_path / "images")


Take = Callable[[str], OwnImagePaths]


def content(disk: Path) -> bytes:
    flat = disk.with_name("flat")
    qemu_img("convert", "-O", "raw", disk, flat)
    return flat.read_bytes()


@pytest.mark.parametrize("name", ["own.raw", "own.qcow2"])
def test_it_is_named_by_its_content_and_holds_the_same_disk(take: Take, raw: Path, qcow2: Path, name: str) -> None:
    found = take(name)
    images = raw.parent / "images"
    assert found.disk == images / found.digest[:12] / "disk.qcow2"
    assert found.disk_mib == 16
    assert usable(found.digest, images) == found
    assert content(found.disk) == raw.read_bytes()
    assert take(str(raw.parent / name)) == found
    assert sorted(path.name for path in images.iterdir()) == [".own.lock", found.digest[:12]]
    (raw.parent / name).unlink()
    assert usable(found.digest, images) == found


def test_another_content_is_another_image(take: Take, raw: Path) -> None:
    before = take("own.raw")
    with raw.open("r+b") as file:
        file.seek(9 * MIB)
        file.write(b"changed")
    after = take("own.raw")
    assert after.digest != before.digest
    assert before.disk.exists()


def test_an_image_whose_cache_is_cut_short_is_made_anew(take: Take, raw: Path) -> None:
    found = take("own.raw")
    os.truncate(found.disk, 1000)
    assert "cut short" in str(usable(found.digest, raw.parent / "images"))
    assert take("own.raw") == usable(found.digest, raw.parent / "images") == found


def test_a_digest_that_only_begins_alike_is_not_taken_for_it(take: Take, raw: Path) -> None:
    found = take("own.raw")
    other = f"{found.digest[:12]}{'0' * 52}"
    assert "is of image" in str(usable(other, raw.parent / "images"))


def test_from_an_address(take: Take, qcow2: Path) -> None:
    with serving(Served(content=qcow2.read_bytes(), cuts=[MIB])) as served:
        found = take(served.address)
        assert len(served.asked) == 2
    assert found == take("own.qcow2")
    assert not list((qcow2.parent / "images").glob(".download*"))


def test_an_address_that_gives_a_page_leaves_nothing(take: Take, tmp_path: Path) -> None:
    with (
        serving(Served(content=b"<!DOCTYPE html><title>Sign in</title>" * 100)) as served,
        pytest.raises(UnderstudyError, match="a page or a document; wanted a qcow2 or raw disk"),
    ):
        take(served.address)
    assert [path.name for path in (tmp_path / "images").iterdir()] == [".own.lock"]


# What is refused


def with_backing_file(raw: Path) -> None:
    secret = raw.parent / "secret"
    secret.write_bytes(b"of this computer" * MIB)
    qemu_img("create", "-f", "qcow2", "-b", secret, "-F", "raw", raw.parent / "bad")


def with_data_file(raw: Path) -> None:
    qemu_img(
        "create", "-f", "qcow2", "-o", f"data_file={raw.parent}/elsewhere,data_file_raw=on", raw.parent / "bad", "16M"
    )


def encrypted(raw: Path) -> None:
    # Not `luks`: for that qemu-img times the processor, and at times fails ("Unable to get accurate CPU usage").
    options = ("--object", "secret,id=s,data=abcdefgh", "-o", "encrypt.format=aes,encrypt.key-secret=s")
    qemu_img("create", "-f", "qcow2", *options, raw.parent / "bad", "16M")


def cut_qcow2(raw: Path) -> None:
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, raw.parent / "bad")
    os.truncate(raw.parent / "bad", (raw.parent / "bad").stat().st_size - 512 * 1024)


def cut_raw(raw: Path) -> None:
    (raw.parent / "bad").write_bytes(raw.read_bytes()[: 4 * MIB])


def cut_within_a_sector(raw: Path) -> None:
    (raw.parent / "bad").write_bytes(raw.read_bytes()[:-100])


def of_another_kind(raw: Path) -> None:
    qemu_img("convert", "-f", "raw", "-O", "vmdk", raw, raw.parent / "bad")


def packed(raw: Path) -> None:
    (raw.parent / "bad").write_bytes(gzip.compress(raw.read_bytes(), 1))


def without_boot_sector(raw: Path) -> None:
    qemu_img("create", "-f", "qcow2", raw.parent / "bad", "16M")


def for_uefi_alone(raw: Path) -> None:
    (raw.parent / "bad").write_bytes(bytes(446) + raw.read_bytes()[446:])


def far_too_large(raw: Path) -> None:
    qemu_img("create", "-f", "qcow2", raw.parent / "bad", "1P")


def a_directory(raw: Path) -> None:
    (raw.parent / "bad").mkdir()


def not_there(raw: Path) -> None: ...


def empty(raw: Path) -> None:
    (raw.parent / "bad").touch()


REFUSED = [
    (with_backing_file, "backing file"),
    (with_data_file, "external data file"),
    (encrypted, "encrypted"),
    (cut_qcow2, "damaged or cut short"),
    (cut_raw, "cut short: its partitions end after its end"),
    (cut_within_a_sector, "no whole sectors"),
    (of_another_kind, "a VMDK image"),
    (packed, "compressed with gzip"),
    (without_boot_sector, "no boot sector"),
    (for_uefi_alone, "UEFI alone"),
    (far_too_large, "at most 64 MiB, which is what fits"),
    (a_directory, "no file"),
    (not_there, "there is no file"),
    (empty, "no boot sector"),
]


@pytest.mark.parametrize(("make", "told"), REFUSED, ids=[make.__name__ for make, _ in REFUSED])
def test_what_is_refused_is_named_and_leaves_nothing(
    take: Take, raw: Path, make: Callable[[Path], None], told: str
) -> None:
    make(raw)
    with pytest.raises(UnderstudyError, match=told) as refused:
        take("bad")
    assert "image bad" in str(refused.value)
    assert [path.name for path in (raw.parent / "images").iterdir()] == [".own.lock"]


def test_a_backing_file_is_refused_before_qemu_looks(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_backing_file(raw)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnderstudyError, match="backing file"):
        bring("bad", raw.parent, 64, quiet, images=raw.parent / "images")


def test_damage_in_a_header_is_never_an_error_of_ours(qcow2: Path) -> None:
    head = qcow2.read_bytes()[:1024]
    assert disk_format(head) == DiskFormat(name="qcow2", size_bytes=16 * MIB)
    assert disk_format(head[:60]) == "it is cut short"
    assert disk_format(head[:4] + struct.pack(">I", 9) + head[8:]) == "it is qcow version 9"
    corrupt = head[:72] + struct.pack(">Q", 2) + head[80:]
    assert disk_format(corrupt) == "it is marked as damaged"
    for at in range(4, 104):
        assert disk_format(head[:at] + b"\xff" + head[at + 1 :])


def test_what_was_cut_off_goes_away(take: Take, raw: Path) -> None:
    images = raw.parent / "images"
    (images / ".own-killed").mkdir(parents=True)
    (images / ".own-killed" / "source").write_bytes(b"half")
    old, new = images / ".download-old.part", images / ".download-new.part"
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (0, 0))
    take("own.raw")
    assert not (images / ".own-killed").exists()
    assert (old.exists(), new.exists()) == (False, True)


def test_without_rights_it_says_what_to_run(tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sudo").write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    (tmp_path / "bin" / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    with pytest.raises(UnderstudyError, match=r"Run: sudo ./run python -m images.own own.raw --directory"):
        bring("own.raw", tmp_path, 64, quiet, images=tmp_path / "images")


def test_the_program_prints_the_digest(
    raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = OwnImagePaths(digest="ab" * 32, disk=raw, disk_mib=16)
    asked: list[object] = []

    def bring_it(*given: object) -> OwnImagePaths:
        asked.append(given[:3])
        return found

    monkeypatch.setattr(own, "bring", bring_it)
    monkeypatch.setattr("sys.argv", ["own", "a.raw", "--directory", str(raw.parent), "--most-mib", "64"])
    assert own.main() == 0
    assert (capsys.readouterr().out, asked) == (f"{'ab' * 32}\n", [("a.raw", raw.parent, 64)])


def test_the_record_says_where_it_came_from(take: Take, raw: Path) -> None:
    record = json.loads((take("own.raw").disk.parent / "image.json").read_text())
    assert (record["source"], record["disk_mib"]) == ("own.raw", 16)
