"""An image on this computer that is not whole is seen, said, and built anew; nothing half done is taken for whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from images import build, cache
from images.recipe import recipe_digest
from model.errors import UnderstudyError


class FakeBuild:
    """Stands in for the minutes of a real build; keeps count."""

    def __init__(self) -> None:
        self.count, self.fails = 0, False

    def __call__(self, recipe: object, work: Path, say: build.Say) -> Path:
        self.count += 1
        whole = work / "whole"
        whole.mkdir()
        for name in cache.FILES[: 1 if self.fails else None]:
            (whole / name).write_bytes(name.encode() * 100)
        if self.fails:
            raise UnderstudyError(where="build", found="cut off")
        return whole


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> FakeBuild:
    fake = FakeBuild()
    monkeypatch.setattr("images.root.build", fake)
    monkeypatch.setattr("images.root.installed", lambda work: {})
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return fake


def test_a_whole_image_is_taken_as_it_is(made: FakeBuild, tmp_path: Path) -> None:
    assert build.ensure(print, images=tmp_path) == build.ensure(print, images=tmp_path, verify=True)
    assert made.count == 1


@pytest.mark.parametrize("name", [*cache.FILES, cache.RECORD])
def test_a_file_that_is_cut_short_is_named_and_the_image_built_anew(made: FakeBuild, tmp_path: Path, name: str) -> None:
    whole = build.ensure(print, images=tmp_path)
    file = whole.directory / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    said: list[str] = []
    assert build.ensure(said.append, images=tmp_path) == whole
    assert made.count == 2
    assert any(name in line and "building it anew" in line for line in said), said
    assert cache.usable(whole.directory, verify=True) == whole


def test_contents_that_changed_are_found_where_they_are_read(made: FakeBuild, tmp_path: Path) -> None:
    whole = build.ensure(print, images=tmp_path)
    whole.disk.write_bytes(b"x" * whole.disk.stat().st_size)
    assert cache.usable(whole.directory, verify=True) == "disk.qcow2 is damaged: its content has changed"
    build.ensure(print, images=tmp_path, verify=True)
    assert made.count == 2


def test_a_build_that_is_cut_off_leaves_nothing_that_counts(made: FakeBuild, tmp_path: Path) -> None:
    made.fails = True
    with pytest.raises(UnderstudyError, match="cut off"):
        build.ensure(print, images=tmp_path)
    assert cache.usable(tmp_path / recipe_digest()) == "missing"
    made.fails = False
    assert build.ensure(print, images=tmp_path).digest == recipe_digest()
