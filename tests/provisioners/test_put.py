"""Files are written and backed out in steps; killed between any two, nothing is lost and the next try ends it."""

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


def put(path: Path, keep: Path, content: bytes = NEW, *validate: str) -> Argv:
    digest = hashlib.sha256(content).hexdigest()
    return commands.put(
        str(path), mode="0640", owner="root", group="root", digest=digest, keep=str(keep), validate=validate
    )


def back(path: Path, keep: Path) -> Argv:
    return commands.back(str(path), keep=str(keep))


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


@pytest.mark.parametrize(("before", "stride"), [("a file", 1), ("nothing", 6), ("a link", 9)])
def test_killed_between_any_two_steps(place: Path, before: str, stride: int) -> None:
    steps, whole = 0, False
    while not whole:
        shutil.rmtree(place)
        place.mkdir()
        path, keep = prepare(place, before), place / "keep"
        first = everything(place / "etc")
        killed = run(put(path, keep), NEW, steps)
        whole = killed.returncode == 0
        seen = path.read_bytes() if path.is_file() else None
        assert seen in ((OLD, NEW) if before == "a file" else (None, NEW)), f"after {steps} steps"
        assert run(put(path, keep), NEW).returncode == 0
        written = {name: value for name, value in everything(place / "etc").items() if "40755" not in value[0]}
        assert written == {"it's/a file": ("100640", NEW)}, f"after {steps} steps"
        run(back(path, keep), steps=steps)
        assert run(back(path, keep)).returncode == 0
        assert everything(place / "etc") == first, f"after {steps} steps"
        assert not [path for path in keep.iterdir() if path.is_dir()]
        steps += stride
    assert steps > 25, "the script was really cut"


def test_only_the_first_original_is_remembered(place: Path) -> None:
    path, keep = prepare(place, "a file"), place / "keep"
    for content in (b"1", b"2", b"3"):
        assert run(put(path, keep, content), content).returncode == 0
    assert run(back(path, keep)).stdout == b"restored\n"
    assert path.read_bytes() == OLD
    assert run(back(path, keep)).stdout == b"unknown\n"
    assert path.read_bytes() == OLD, "what was never ours stays"


@pytest.mark.parametrize("sent", [b"", NEW[:-1], NEW + b"x"])
def test_content_that_did_not_arrive_whole_is_not_taken(place: Path, sent: bytes) -> None:
    path, keep = prepare(place, "a file"), place / "keep"
    done = run(put(path, keep), sent)
    assert (done.returncode, done.stderr) == (74, b"the content did not arrive whole\n")
    assert path.read_bytes() == OLD
    assert [found.name for found in path.parent.iterdir()] == ["a file"]


def test_a_file_that_its_check_refuses_is_not_taken(place: Path) -> None:
    path, keep = prepare(place, "a file"), place / "keep"
    assert run(put(path, keep, NEW, "grep", "-q", "new & improved", "{}"), NEW).returncode == 1
    assert path.read_bytes() == OLD
    assert run(put(path, keep, NEW, "test", "a file", "=", "a file", "-a", "-s", "{}"), NEW).returncode == 0
    assert path.read_bytes() == NEW


def test_a_directory_is_never_replaced(place: Path) -> None:
    (place / "etc").mkdir()
    assert run(put(place / "etc", place / "keep"), NEW).returncode == 73
    assert (place / "etc").is_dir()


def test_what_was_there_is_for_root_alone(place: Path) -> None:
    path, keep = prepare(place, "a file"), place / "keep"
    run(put(path, keep), NEW)
    assert f"{keep.stat().st_mode:o}" == "40700"
