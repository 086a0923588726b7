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


@pytest.mark.parametrize(
    "name", ["fly", "files", "arguments", "__main__", "__pycache__", "../cli/place", "place.py", "-s"]
)
def test_what_is_no_command_is_refused(name: str) -> None:
    done = understudy(name)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_folder_is_a_command_with_verbs(tmp_path: Path) -> None:
    group = tmp_path / "cli" / "paint"
    group.mkdir(parents=True)
    (group / "__init__.py").write_text('"""Paints."""\n')
    (group / "again.py").write_text(
        '"""Paint it again."""\n'
        "def add_arguments(parser): parser.add_argument('colour')\n"
        "def run(arguments): print(arguments.colour); return 0\n"
    )
    (group / "brush.py").write_text('"""No verb."""\n')
    assert commands(group) == {"again": "Paint it again."}
    code = (
        f"import sys, cli; cli.__path__.append({str(tmp_path / 'cli')!r}); from pathlib import Path\n"
        f"from cli.__main__ import main; sys.exit(main(sys.argv[1:], Path({str(tmp_path / 'cli')!r})))"
    )

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert call("paint", "again", "red").stdout == "red\n"
    assert "usage: understudy paint again [-h] colour" in call("paint", "again", "--help").stdout
    assert "Paint it again." in call("paint", "--help").stdout
    assert [call("paint", verb).returncode for verb in ("brush", "again", "", "__init__")] == [2, 2, 2, 2]
    assert "usage: understudy paint" in call("paint").stderr


def test_a_wrong_argument_is_a_wrong_call() -> None:
    assert understudy("place", "--agian").returncode == 2
    assert understudy("seed", "--newest", "--snapshot", "a").returncode == 2


def test_a_directory_without_a_project(tmp_path: Path) -> None:
    done = understudy("place", "--cwd", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("understudy place: ")
    assert "no Pulumi.yaml here or above" in done.stderr
    assert "Traceback" not in done.stderr
