"""The image cache: what is whole is used, what is not is built again; two builders, and a builder that is killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from images import build, cache, root
from images.cache import ImagePaths
from images.recipe import Recipe, recipe_digest
from images.root import Say
from model.errors import UnderstudyError

DIGEST = "0123456789ab"


def small(directory: Path) -> Path:
    directory.mkdir(parents=True)
    for name in cache.FILES:
        (directory / name).write_bytes(name.encode() * 100)
    return directory


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    directory = small(tmp_path / DIGEST)
    cache.seal(directory, DIGEST, {"perl-base": "5.36"})
    return directory


def test_a_whole_image_is_usable_by_everybody(whole: Path) -> None:
    paths = cache.usable(whole, verify=True)
    assert isinstance(paths, ImagePaths)
    assert (paths.digest, paths.kernel) == (DIGEST, whole / "vmlinuz")
    assert {path.stat().st_mode & 0o777 for path in whole.iterdir()} == {0o644}
    assert json.loads((whole / "image.json").read_text())["packages"] == {"perl-base": "5.36"}


def test_what_is_wrong_is_said(whole: Path) -> None:
    os.truncate(whole / "disk.qcow2", 500)
    (whole / "initrd.img").unlink()
    assert cache.usable(whole) == (
        "disk.qcow2 is cut short or changed: 500 bytes instead of 1000; initrd.img is missing"
    )


def test_a_changed_byte_is_found_when_all_is_read(whole: Path) -> None:
    (whole / "vmlinuz").write_bytes(b"X" * 700)
    assert isinstance(cache.usable(whole), ImagePaths)
    assert cache.usable(whole, verify=True) == "vmlinuz is damaged: its content has changed"


@pytest.mark.parametrize("record", ["", "{", "[]", "{}", '{"digest": "0123456789ab", "files": {}}', "\xff"])
def test_a_record_that_cannot_be_read(whole: Path, record: str) -> None:
    (whole / "image.json").write_bytes(record.encode("latin-1"))
    assert "image.json cannot be read" in str(cache.usable(whole))


def test_an_image_under_another_name(whole: Path) -> None:
    other = whole.rename(whole.parent / "ffffffffffff")
    assert cache.usable(other) == "image.json is of image 0123456789ab"


def test_nothing_there(tmp_path: Path) -> None:
    assert cache.usable(tmp_path / DIGEST) == "missing"
    small(tmp_path / DIGEST)
    assert cache.usable(tmp_path / DIGEST) == "image.json is missing"


def test_two_builds_of_one_recipe_are_two_disks(tmp_path: Path) -> None:
    """What stands on the one must never be taken for standing on the other."""
    disks = []
    for content in (b"first", b"second"):
        directory = small(tmp_path / DIGEST)
        (directory / "disk.qcow2").write_bytes(content)
        cache.seal(directory, DIGEST, {})
        assert isinstance(cache.usable(directory, verify=True), ImagePaths)
        assert (directory / "disk.qcow2").read_bytes() == content
        disks.append((directory / "disk.qcow2").resolve().name)
        shutil.rmtree(directory)
    assert len(set(disks)) == 2


class Builder:
    """Stands for the steps of a build: makes small files, and counts how often."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self.fault: Exception | None = None
        monkeypatch.setattr(root, "build", self.build)
        monkeypatch.setattr(root, "installed", lambda _: {})
        monkeypatch.setattr(os, "geteuid", lambda: 0)

    def build(self, recipe: Recipe, work: Path, say: Say) -> Path:
        self.times += 1
        say(f"building with {len(recipe.packages)} packages")
        if self.fault:
            raise self.fault
        return small(work / "whole")


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Builder:
    return Builder(monkeypatch)


def test_is_built_once(tmp_path: Path, builder: Builder) -> None:
    images, said = tmp_path / "images", list[str]()
    paths = build.ensure(said.append, images=images)
    assert (paths.digest, paths.directory) == (recipe_digest(), images / recipe_digest())
    assert len(said) == 3
    assert build.ensure(said.append, images=images) == paths
    assert (builder.times, len(said)) == (1, 3)
    assert (images.stat().st_mode & 0o777, paths.directory.stat().st_mode & 0o777) == (0o755, 0o755)
    assert [path.name for path in images.iterdir() if not path.name.endswith(".lock")] == [recipe_digest()]


@pytest.mark.parametrize("name", [*cache.FILES, cache.RECORD])
def test_a_cache_that_is_cut_short_is_built_again_and_a_line_says_so(
    tmp_path: Path, builder: Builder, name: str
) -> None:
    paths = build.ensure(lambda _: None, images=tmp_path)
    os.truncate(paths.directory / name, 10)
    said = list[str]()
    assert build.ensure(said.append, images=tmp_path) == paths
    assert said[0].startswith(f"image {recipe_digest()}: {name} ")
    assert said[0].endswith("; building it anew")
    assert (builder.times, cache.usable(paths.directory, verify=True)) == (2, paths)


def test_contents_that_changed_are_found_where_they_are_read(tmp_path: Path, builder: Builder) -> None:
    disk = build.ensure(lambda _: None, images=tmp_path).disk
    disk.write_bytes(b"x" * disk.stat().st_size)
    build.ensure(lambda _: None, images=tmp_path, verify=True)
    assert builder.times == 2


@pytest.mark.parametrize("fault", [UnderstudyError(where="mke2fs", found="no space"), OSError(28, "No space left")])
def test_a_build_that_fails_leaves_nothing(tmp_path: Path, builder: Builder, fault: Exception) -> None:
    builder.fault = fault
    with pytest.raises(UnderstudyError, match=r"(?i)no space"):
        build.ensure(lambda _: None, images=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f".{recipe_digest()}.lock"]
    builder.fault = None
    assert build.ensure(lambda _: None, images=tmp_path).disk.exists()


def test_without_rights_it_says_what_to_run(tmp_path: Path, builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "sudo").write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    (directory / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)
    said = list[str]()
    with pytest.raises(UnderstudyError, match=r"only root can build it.*Run: sudo"):
        build.ensure(said.append, images=tmp_path / "images")
    assert said == ["sudo: a password is required"]
    assert builder.times == 0


def _build_slowly(images: Path, began: Path) -> None:
    def slow(recipe: Recipe, work: Path, say: Say) -> Path:
        say(recipe.suite)
        with began.open("a") as file:
            file.write("x")
        time.sleep(1)
        return small(work / "whole")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(root, "build", slow)
        patch.setattr(root, "installed", lambda _: {})
        patch.setattr(os, "geteuid", lambda: 0)
        build.ensure(lambda _: None, images=images)


def test_of_two_builders_one_builds(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_build_slowly, args=(tmp_path / "images", tmp_path / "began")) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "began").read_text() == "x"


def test_what_a_killed_builder_leaves_is_not_taken_and_goes_away(tmp_path: Path, builder: Builder) -> None:
    images, began = tmp_path / "images", tmp_path / "began"
    process = multiprocessing.get_context("fork").Process(target=_build_slowly, args=(images, began))
    process.start()
    until = time.monotonic() + 30
    while not began.exists() and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(30)
    assert list(images.glob(".building-*"))
    assert cache.usable(images / recipe_digest()) == "missing"
    build.ensure(lambda _: None, images=images)
    assert not list(images.glob(".building-*"))


def test_a_look_builds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "IMAGES", tmp_path)
    monkeypatch.setattr("sys.argv", ["images.build", "--look"])
    assert build.main() == 1
    assert capsys.readouterr().out == "missing\n"
    directory = small(tmp_path / recipe_digest())
    cache.seal(directory, directory.name, {})
    assert build.main() == 0
    assert capsys.readouterr().out == f"{directory}\n"
