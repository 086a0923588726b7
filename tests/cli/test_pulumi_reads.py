"""The real Pulumi reads the project's own files as we do."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from components.files import service_names, stack_files
from model.configuration import read_environment, with_pulumi_values
from model.environment import Environment

ROOT = Path(__file__).parents[2]
Pulumi = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the project's own files, whose backend in it has the stacks `prod` and `stage`."""
    directory = tmp_path_factory.mktemp("begun")
    for path in ROOT.glob("Pulumi*.yaml"):
        if path.name in ("Pulumi.yaml", "Pulumi.prod.yaml", "Pulumi.stage.yaml"):
            shutil.copy(path, directory)
    with pytest.MonkeyPatch.context() as patched:
        use(directory, patched)
        for stack in ("prod", "stage"):
            done = call(directory, "stack", "init", stack, "--no-select")
            assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture
def copy(begun: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return shutil.copytree(begun, tmp_path, dirs_exist_ok=True)


@pytest.fixture
def pulumi(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Pulumi:
    """Return how Pulumi is called there."""
    use(copy, monkeypatch)
    return partial(call, copy)


def use(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{directory}")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)


def call(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["pulumi", "--cwd", str(directory), "--non-interactive", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def as_pulumi_reads(pulumi: Pulumi, directory: Path, stack: str) -> Environment:
    done = pulumi("config", "--json", "--stack", stack)
    assert done.returncode == 0, done.stderr
    values = {key.removeprefix("understudy:"): entry["value"] for key, entry in json.loads(done.stdout).items()}
    files = stack_files(directory)
    files[stack] = with_pulumi_values(files[stack], values)
    return read_environment(files, stack, services=service_names(ROOT))


@pytest.mark.parametrize("stack", ["prod", "stage"])
def test_both_ways_of_reading_give_the_same(pulumi: Pulumi, copy: Path, stack: str) -> None:
    ours = read_environment(stack_files(copy), stack, services=service_names(ROOT))
    assert as_pulumi_reads(pulumi, copy, stack) == ours


def test_what_pulumi_writes_into_a_file_is_read_and_its_comments_stay(pulumi: Pulumi, copy: Path) -> None:
    path = ["config", "set", "--stack", "prod", "--path", "understudy:machines.lb.memory", "2GiB"]
    assert pulumi(*path).returncode == 0
    assert pulumi("config", "set", "--stack", "stage", "understudy:warm_start", "false").returncode == 0
    stage = as_pulumi_reads(pulumi, copy, "stage")
    assert stage.topology.machine("lb").memory_mib == 2048
    assert stage.settings.warm_start is False
    assert "# the hot spare of app1" in (copy / "Pulumi.prod.yaml").read_text()
    assert read_environment(stack_files(copy), "stage", services=service_names(ROOT)) == stage


@pytest.mark.parametrize(
    ("stack", "old", "new", "said"),
    [
        (
            "prod",
            "understudy:machines:",
            "understudy:machines: 5\n  other:machines:",
            "'machines' must be of type 'object'",
        ),
        ("stage", 'warm_start: "true"', "warm_start: maybe", "'warm_start' must be of type 'boolean'"),
    ],
)
def test_the_schema_refuses_wrong_types(pulumi: Pulumi, copy: Path, stack: str, old: str, new: str, said: str) -> None:
    file = copy / f"Pulumi.{stack}.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    done = pulumi("preview", "--stack", stack)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
