"""The command line itself, as a user calls it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli.__main__ import commands

ROOT = Path(__file__).parents[2]


def understudy(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_alone_it_says_how_it_is_called() -> None:
    done = understudy()
    assert done.returncode == 2
    assert "usage: understudy" in done.stderr


def test_help_lists_every_command_with_what_it_does() -> None:
    done = understudy("--help")
    assert done.returncode == 0
    assert {"place", "preflight", "seed"} <= commands().keys()
    for name, summary in commands().items():
        assert name in done.stdout
        assert summary.split()[0] in done.stdout


@pytest.mark.parametrize("name", sorted(commands()))
def test_each_command_explains_itself(name: str) -> None:
    done = understudy(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"usage: understudy {name}" in done.stdout
    assert commands()[name].rstrip(".") in " ".join(done.stdout.split())


@pytest.mark.parametrize("name", ["fly", "files", "arguments", "__main__", "../cli/place", "place.py", "-s"])
def test_what_is_no_command_is_refused(name: str) -> None:
    done = understudy(name)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_wrong_argument_is_a_wrong_call() -> None:
    assert understudy("place", "--agian").returncode == 2
    assert understudy("seed", "--newest", "--snapshot", "a").returncode == 2


def test_a_directory_without_a_project(tmp_path: Path) -> None:
    done = understudy("place", "--cwd", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("understudy place: ")
    assert "no Pulumi.yaml here or above" in done.stderr
    assert "Traceback" not in done.stderr
