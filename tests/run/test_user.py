"""Who may type ./run: others than root are told at once what needs root, and sudo leaves nothing in their homes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.run.conftest import Clone

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def theirs(clone: Clone) -> Iterator[Clone]:
    """The clone, in a home of an ordinary user's, who can reach it."""
    clone.own_pulumi()
    home = Path("/tmp") / f"understudy-home-{os.getpid()}"  # pytest's own folders are closed to others
    shutil.copytree(clone.root.parent, home, symlinks=True)
    moved = {name: home / getattr(clone, name).relative_to(clone.root.parent) for name in ("root", "bin", "log")}
    (venv,) = (home / "cache/understudy/venv").iterdir()
    venv.unlink()  # it leads to Python packages in root's home
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to("/bin/true")
    (venv / "complete").touch()
    (venv / "packages.json").touch()
    try:
        subprocess.run(["chown", "-RPh", "nobody:nogroup", str(home)], check=True)
        yield replace(clone, **moved, cache=home / "cache/understudy", state=home / "state/understudy")
    finally:
        shutil.rmtree(home)


def as_nobody(clone: Clone, *command: str) -> subprocess.CompletedProcess[str]:
    who = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--"]
    return subprocess.run(
        [*who, str(clone.root / "run"), *command], env=clone.environment({}), cwd=clone.root, text=True,
        stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
    )  # fmt: skip


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("verb", ["up", "update", "refresh", "destroy", "import"])
def test_an_ordinary_user_is_refused_at_once_with_the_line_to_type(theirs: Clone, verb: str) -> None:
    before = files(theirs.root.parent)
    done = as_nobody(theirs, "pulumi", verb, "-s", "stage", "--message", "two words")
    assert done.returncode == 1
    assert "that needs root; nothing was made" in done.stderr
    assert f"Type: sudo ./run pulumi {verb} -s stage --message two\\ words\n" in done.stderr
    assert files(theirs.root.parent) == before


def test_an_ordinary_user_may_look_and_is_told_whose_state_it_is(theirs: Clone) -> None:
    done = as_nobody(theirs, "pulumi", "stack", "ls", "-s", "stage")
    assert done.returncode == 0, done.stderr
    assert "this is nobody's own state: what `sudo ./run` builds is in root's" in done.stderr
    as_nobody(theirs, "pulumi", "up", "--help")
    assert "up --help" in theirs.called()


def environment_of_sudo(clone: Clone, own_home: Path) -> dict[str, str]:
    """What sudo leaves where it was told to keep HOME; root's own is a folder of the test's here."""
    clone.program("getent", f"#!/bin/sh\necho root:x:0:0:root:{own_home}:/bin/sh\n")
    path = f"{clone.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    asked = {"FAKE_LOG": str(clone.log), "FAKE_SDK": str(clone.root.parent / "sdk")}
    return {"HOME": str(clone.root.parent), "PATH": path, "LANG": "C.UTF-8", **asked}


def test_sudo_keeps_its_state_in_roots_home_and_git_reads_the_users_clone(theirs: Clone, tmp_path: Path) -> None:
    environment = environment_of_sudo(theirs, tmp_path)
    subprocess.run(["git", "init", "-q", str(theirs.root)], check=True)
    subprocess.run(["chown", "-RPh", "nobody:nogroup", str(theirs.root)], check=True)
    venv = tmp_path / ".cache/understudy/venv"
    shutil.copytree(theirs.cache / "venv", venv, symlinks=True)
    before = files(theirs.root.parent)

    def run(*command: str) -> str:
        done = subprocess.run(
            [str(theirs.root / "run"), *command], env=environment, cwd=theirs.root, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("pulumi", "up", "-s", "stage", "--yes")
    assert (tmp_path / ".local/state/understudy/passphrase").exists()
    assert run("sh", "-c", "echo $PULUMI_HOME; echo $XDG_STATE_HOME; echo $HOME").splitlines() == [
        str(tmp_path / ".pulumi"), str(tmp_path / ".local/state"), str(theirs.root.parent)
    ]  # fmt: skip
    assert run("git", "rev-parse", "--show-toplevel") == f"{theirs.root}\n"
    made = files(theirs.root.parent) - before
    assert {path.name for path in made} <= {".toolchain", ".venv", "log"}
