"""The recipe, and the digest that names an image."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from images.recipe import HERE, NOT_BUILDING, read_recipe, recipe_digest


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(HERE, tmp_path / "images", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "images"


def test_a_digest_is_twelve_hexadecimal_digits_and_the_same_everywhere(copy: Path) -> None:
    assert re.fullmatch(r"[0-9a-f]{12}", recipe_digest())
    assert recipe_digest(copy) == recipe_digest()


def test_times_modes_and_left_overs_do_not_count(copy: Path) -> None:
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    (copy / "root.py").chmod(0o755)
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__/root.pyc").write_bytes(b"x")
    (copy / "README.md").write_text("other")
    for name in NOT_BUILDING:
        (copy / name).write_text("other")
    assert recipe_digest(copy) == recipe_digest()


@pytest.mark.parametrize(
    "name", ["recipe.toml", "root.py", "initramfs.py", "guest/init.pl", "guest/Understudy/Json.pm"]
)
def test_each_file_that_builds_counts(copy: Path, name: str) -> None:
    (copy / name).write_text((copy / name).read_text() + "# more\n")
    assert recipe_digest(copy) != recipe_digest()


def test_content_that_moves_from_file_to_file_counts(copy: Path) -> None:
    (copy / "guest/a").write_text("xy")
    (copy / "guest/b").write_text("z")
    before = recipe_digest(copy)
    (copy / "guest/a").write_text("x")
    (copy / "guest/b").write_text("yz")
    assert recipe_digest(copy) != before


def test_every_file_of_the_guest_is_used() -> None:
    recipe = read_recipe()
    contents = {file.content for file in recipe.files} | {recipe.init} | {content for _, content in recipe.init_modules}
    unused = [path for path in (HERE / "guest").rglob("*") if path.is_file() and path.read_bytes() not in contents]
    assert unused == []


def test_the_recipe_is_sound() -> None:
    recipe = read_recipe()
    assert not set(recipe.disabled) & set(recipe.masked)
    paths = [file.path for file in recipe.files]
    assert len(set(paths)) == len(paths)
    assert not [path for path in (*paths, *recipe.removed, *recipe.early) if path.startswith("/") or ".." in path]
    assert all(file.mode & 0o002 == 0 for file in recipe.files)


def test_services_start_only_when_somebody_configures_them() -> None:
    assert {"postgresql.service", "mariadb.service", "haproxy.service"} <= set(read_recipe().disabled)
