"""Files are written in steps; killed between any two, nothing is lost and the next try ends it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioners import commands
from provisioners.commands import Argv

KILLED = "n=0; trap '((++n > {steps})) && kill -KILL $$' DEBUG\n"
OLD, NEW = b"old: $HOME\n", b"new\n"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory in memory, so that waiting for a disk costs nothing."""
    path = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


def put(path: Path, content: bytes = NEW) -> Argv:
    digest = hashlib.sha256(content).hexdigest()
    return commands.put(str(path), mode="0640", owner="root", group="root", digest=digest)


def run(argv: Argv, stdin: bytes = b"", steps: int | None = None) -> subprocess.CompletedProcess[bytes]:
    text = argv[2] if steps is None else KILLED.format(steps=steps) + argv[2]
    return subprocess.run((*argv[:2], text, *argv[3:]), input=stdin, capture_output=True, check=False)


def everything(folder: Path) -> dict[str, tuple[str, bytes | str]]:
    """Return all below a folder, with modes and contents."""
    found: dict[str, tuple[str, bytes | str]] = {}
    for path in sorted(folder.rglob("*")):
        kind = f"{path.lstat().st_mode:o}"
        link = str(path.readlink()) if path.is_symlink() else ""
        found[str(path.relative_to(folder))] = kind, link or (path.read_bytes() if path.is_file() else b"")
    return found


def prepare(place: Path, before: str) -> Path:
    """Make what was there before us and return the path of the file to write."""
    path = place / "etc" / "it's" / "a file"
    if before != "nothing":
        path.parent.mkdir(parents=True)
    else:
        path.parent.parent.mkdir()
    if before == "a file":
        path.write_bytes(OLD)
        path.chmod(0o604)
    elif before == "a link":
        path.symlink_to("else where")
    return path


@pytest.mark.parametrize("before", ["a file", "nothing", "a link"])
def test_killed_between_any_two_steps(place: Path, before: str) -> None:
    steps, whole = 0, False
    while not whole:
        shutil.rmtree(place)
        place.mkdir()
        path = prepare(place, before)
        killed = run(put(path), NEW, steps)
        whole = killed.returncode == 0
        seen = path.read_bytes() if path.is_file() else None
        assert seen in ((OLD, NEW) if before == "a file" else (None, NEW)), f"after {steps} steps"
        assert run(put(path), NEW).returncode == 0
        written = {name: value for name, value in everything(place / "etc").items() if "40755" not in value[0]}
        assert written == {"it's/a file": ("100640", NEW)}, f"after {steps} steps"
        steps += 1
    assert steps > 12, "the script was really cut"


@pytest.mark.parametrize("sent", [b"", NEW[:-1], NEW + b"x"])
def test_content_that_did_not_arrive_whole_is_not_taken(place: Path, sent: bytes) -> None:
    path = prepare(place, "a file")
    done = run(put(path), sent)
    assert (done.returncode, done.stderr) == (74, b"the content did not arrive whole\n")
    assert path.read_bytes() == OLD
    assert [found.name for found in path.parent.iterdir()] == ["a file"]


def test_a_directory_is_never_replaced(place: Path) -> None:
    (place / "etc").mkdir()
    assert run(put(place / "etc"), NEW).returncode == 73
    assert (place / "etc").is_dir()
