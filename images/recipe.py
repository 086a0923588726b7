"""The image's recipe as a value, and the digest that names the image built from it."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFile:
    """One file of ours in the image: its path without a leading slash, its content, and its mode."""

    path: str
    content: bytes
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What an image is made of; ``recipe.toml`` explains each entry.

    Args:
        disk_mib: size of the system disk, MiB.
        early: paths in the image of what the initial RAM disk has of it.
        init: the RAM disk's first program.
        init_modules: the Perl modules of ours that it uses, by file name.
    """

    suite: str
    architecture: str
    disk_mib: int
    locale: str
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    early: tuple[str, ...]
    disabled: tuple[str, ...]
    masked: tuple[str, ...]
    masked_generators: tuple[str, ...]
    masked_rules: tuple[str, ...]
    late: tuple[str, ...]
    excluded: tuple[str, ...]
    removed: tuple[str, ...]
    files: tuple[GuestFile, ...]
    init: bytes
    init_modules: tuple[tuple[str, bytes], ...]


def read_recipe(directory: Path = HERE) -> Recipe:
    """Return the recipe that ``recipe.toml`` and ``guest/`` in this directory describe.

    Raises:
        OSError: a file is missing.
        KeyError, TypeError, ValueError: the recipe is not well formed.
    """
    entries = tomllib.loads((directory / "recipe.toml").read_text(encoding="utf-8"))
    guest = directory / "guest"
    files = tuple(
        GuestFile(path=entry["path"], content=(guest / entry["source"]).read_bytes(), mode=int(entry["mode"], 8))
        for entry in entries.pop("files")
    )
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entries.items()}
    modules = tuple((path.name, path.read_bytes()) for path in sorted(guest.glob("Understudy/*.pm")))
    return Recipe(**plain, files=files, init=(guest / "init.pl").read_bytes(), init_modules=modules)


def recipe_digest(directory: Path = HERE) -> str:
    """Return twelve hexadecimal digits that name the image: a digest of the recipe, the guest's files and the builder.

    The order of files is that of their names, and their times and modes on this computer do not count.
    """
    paths = (directory / "recipe.toml", *directory.glob("*.py"), *directory.glob("guest/**/*"))
    kept = sorted(path for path in paths if path.is_file() and path.name not in NOT_BUILDING)
    digest = hashlib.sha256()
    for path in kept:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(directory).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:12]


NOT_BUILDING = frozenset(
    {"__init__.py", "bare.py", "build.py", "cache.py", "disk_format.py", "download.py", "own.py", "sources.py"}
)
"""Programs of this directory that have no part in what the image holds."""
