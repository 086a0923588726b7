"""./run with the real Pulumi: the description of an environment that is in Git stays as it was written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.run.conftest import Clone

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, time, pulumi
time.sleep(float(os.environ.get("TEST_SECONDS", "0")))
pulumi.export("secret", pulumi.Output.secret(pulumi.Config("understudy").require("seed")))
"""
CONFIGURATION = "# the stage\nconfig:\n  understudy:seed: newest # and why\n  understudy:warm_start: true\n"


@pytest.fixture
def real(clone: Clone) -> Clone:
    for program in (ROOT / ".toolchain/bin").glob("pulumi*"):
        if "resource" not in program.name:
            (clone.bin / program.name).symlink_to(program.resolve())
    (clone.root / "__main__.py").write_text(PROGRAM)
    (clone.root / "Pulumi.stage.yaml").write_text(CONFIGURATION)
    (clone.root / "Pulumi.yaml").write_text("name: understudy\nruntime: python\n")
    return clone


def test_up_keeps_a_secret_and_leaves_the_file_alone(real: Clone) -> None:
    done = real.run("pulumi", "up", "-s", "stage", "--yes", "--skip-preview")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = real.run("pulumi", "stack", "output", "secret", "--show-secrets", "-s", "stage")
    assert (shown.returncode, shown.stdout) == (0, "newest\n"), shown.stderr
    assert real.run("pulumi", "preview", "-s", "stage", "--expect-no-changes").returncode == 0
    assert (real.root / "Pulumi.stage.yaml").read_text() == CONFIGURATION


def test_an_edit_of_the_file_is_seen(real: Clone) -> None:
    real.run("pulumi", "up", "-s", "stage", "--yes", "--skip-preview")
    (real.root / "Pulumi.stage.yaml").write_text(CONFIGURATION.replace("newest", "oldest"))
    real.run("pulumi", "up", "-s", "stage", "--yes", "--skip-preview")
    assert real.run("pulumi", "stack", "output", "secret", "--show-secrets", "-s", "stage").stdout == "oldest\n"


def test_another_passphrase_opens_nothing(real: Clone) -> None:
    real.run("pulumi", "up", "-s", "stage", "--yes", "--skip-preview")
    done = real.run("pulumi", "up", "-s", "stage", "--yes", "--skip-preview", PULUMI_CONFIG_PASSPHRASE="wrong")
    assert done.returncode != 0
    assert "incorrect passphrase" in done.stdout + done.stderr


def test_a_lost_passphrase_file_stops_all_and_put_back_everything_is_there_again(real: Clone) -> None:
    assert real.run("pulumi", "up", "-s", "stage", "--yes", "--skip-preview").returncode == 0
    kept, lost = real.state / "passphrase", real.state / "elsewhere"
    kept.rename(lost)
    for command in (["up", "--yes"], ["preview"], ["refresh", "--yes"], ["destroy", "--yes"], ["stack", "output"]):
        done = real.run("pulumi", *command, "-s", "stage")
        assert done.returncode == 1
        assert f"the passphrase file {kept} is missing, and stack stage has secrets" in done.stderr
        assert "Nothing was changed, and no new passphrase was made" in done.stderr
        assert not kept.exists()
    lost.rename(kept)
    assert real.run("pulumi", "preview", "-s", "stage", "--expect-no-changes").returncode == 0
    assert real.run("pulumi", "stack", "output", "secret", "--show-secrets", "-s", "stage").stdout == "newest\n"


def test_a_packed_state_is_found_and_needs_its_passphrase(real: Clone) -> None:
    packed = {"PULUMI_SELF_MANAGED_STATE_GZIP": "true"}
    for _ in range(2):
        done = real.run("pulumi", "up", "-s", "stage", "--yes", "--skip-preview", **packed)
        assert done.returncode == 0, done.stdout + done.stderr
    assert list(real.state.glob("state/.pulumi/stacks/understudy/stage.json.gz"))
    (real.state / "passphrase").unlink()
    done = real.run("pulumi", "up", "-s", "stage", "--yes", "--skip-preview", **packed)
    assert (done.returncode, "stack stage has secrets" in done.stderr) == (1, True), done.stderr
    assert not (real.state / "passphrase").exists()
    asked = real.bash("choose_backend; is_packed() { true; }; has_salt other || echo no such stack")
    assert (asked.stdout, asked.stderr) == ("no such stack\n", "")


def test_a_secret_in_the_file_needs_its_salt_there_and_works(real: Clone) -> None:
    real.run("pulumi", "up", "-s", "stage", "--yes", "--skip-preview")
    done = real.run("pulumi", "config", "set", "--secret", "token", "t", "-s", "stage")
    assert done.returncode == 0, done.stderr
    assert "encryptionsalt: v1:" in (real.root / "Pulumi.stage.yaml").read_text()
    assert real.run("pulumi", "config", "get", "token", "-s", "stage").stdout == "t\n"
    assert real.run("pulumi", "up", "-s", "stage", "--yes", "--skip-preview").returncode == 0


@pytest.mark.parametrize("verb", ["up", "preview", "refresh", "destroy", "import"])
def test_it_is_known_which_options_have_a_value(real: Clone, verb: str) -> None:
    printed = subprocess.run([real.bin / "pulumi", verb, "--help"], capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^ +(?:(-\w), )?(--[a-z-]+)(?: ([a-zA-Z0-9]\S*))?  ", printed, re.MULTILINE)
    described = {
        name: bool(kind) and kind != "false" and "[=" not in kind  # `false`: how pflag prints a default in backquotes
        for short, long, kind in lines
        for name in (short, long)
        if name
    }
    assert described["--stack"]
    asked = f"for name in {' '.join(described)}; do has_value $name && echo $name; done"
    assert set(real.bash(f"ASKED_VERB={verb}\n{asked}").stdout.split()) == {
        name for name, has_value in described.items() if has_value
    }


def _wait_for_lock(real: Clone) -> None:
    until = time.monotonic() + 60
    while not list(real.state.glob("state/.pulumi/locks/organization/understudy/stage/*.json")):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_after_a_kill_the_lock_is_cleared_and_up_goes_on(real: Clone) -> None:
    killed = real.start("pulumi", "up", "-s", "stage", "--yes", "--skip-preview", TEST_SECONDS="60")
    _wait_for_lock(real)
    second = real.run("pulumi", "up", "-s", "stage", "--yes", "--skip-preview")
    assert second.returncode == 1
    assert f"is being changed by process {killed.pid} " in second.stderr
    _wait_for_lock(real)  # the first one may have been held by what made the stack
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    done = real.run("pulumi", "up", "-s", "stage", "--yes", "--skip-preview")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cleared the lock of a pulumi that has ended" in done.stderr
