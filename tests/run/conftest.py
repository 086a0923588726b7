"""A small clone of the repository in which ./run can be tried: own caches, own state, and doubles for what is slow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Stands for Go: "builds" a file in the time that FAKE_GO_SECONDS says, and notes that it was called.
FAKE_GO = r"""#!/bin/bash
echo "$*" >>"$FAKE_LOG"
case $1 in
env) echo "go${FAKE_GO_VERSION-1.26.8}" ;;
list) echo "$FAKE_SDK" ;;
mod) mkdir -p "$FAKE_SDK/libvirt" ;;
run) echo '{}' ;;
build)
    while [ "$1" != -o ]; do shift; done
    sleep "${FAKE_GO_SECONDS:-0}"
    printf '#!/bin/sh\necho built\n' >"$2"
    chmod 0755 "$2"
    ;;
esac
"""

# Stands for Pulumi of our version, with a state in a directory, an update that lasts, and a lock as the real one has.
FAKE_PULUMI = r"""#!/bin/bash
[ "$1" = -C ] && shift 2
if [ "$1" = version ]; then echo v3.259.0; exit; fi
echo "$*" >>"$FAKE_LOG"
state=${PULUMI_BACKEND_URL#file://}/.pulumi
case "$1 $2" in
'stack init')
    mkdir -p "$state/stacks/understudy"
    echo '{"checkpoint":{"latest":{"secrets_providers":{"state":{"salt":"v1:a"}}}}}' >"$state/stacks/understudy/$3.json"
    ;;
up*)
    mkdir -p "$state/locks/organization/understudy/stage"
    lock=$state/locks/organization/understudy/stage/$$.json
    printf '{"pid":%s,"username":"me","hostname":"%s","timestamp":"now"}' $$ "$(hostname)" >"$lock"
    sleep "${FAKE_UP_SECONDS:-0}"
    rm "$lock"
    ;;
esac
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A copy of ./run and its parts in `root`, with `bin` first on its PATH."""

    root: Path
    bin: Path
    cache: Path
    state: Path
    log: Path

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PULUMI", "PYTHON", "SUDO", "VIRTUAL"))
        }
        kept["PATH"] = f"{self.bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        home = str(self.root.parent)
        own = {"HOME": home, "XDG_CACHE_HOME": str(self.cache.parent), "XDG_STATE_HOME": str(self.state.parent)}
        return {**kept, **own, "FAKE_LOG": str(self.log), "FAKE_SDK": str(self.root.parent / "sdk"), **extra}

    def start(self, *command: str, **extra: str) -> subprocess.Popen[str]:
        """Starts ./run in a process group of its own, so that a test can end all of it."""
        return subprocess.Popen(
            [str(self.root / "run"), *command], env=self.environment(extra), cwd=self.root, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def run(self, *command: str, **extra: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*command, **extra)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def bash(self, script: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Runs a script that can call ./run's functions."""
        return subprocess.run(
            ["bash", "-c", f". {self.root}/run\n{script}"], env=self.environment(extra), cwd=self.root, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
        )  # fmt: skip

    def called(self) -> list[str]:
        """The command lines that the doubles were given."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def program(self, name: str, text: str) -> Path:
        """Puts a program first on PATH."""
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def own_pulumi(self, text: str = FAKE_PULUMI) -> None:
        """Gives the user a Pulumi of the wanted version."""
        self.program("pulumi", text)
        self.program("pulumi-language-python", "#!/bin/sh\n")
        self.program("pulumi-language-python-exec", "#!/bin/sh\n")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone whose Python packages are those of this test, and whose compiler is a double."""
    root = tmp_path / "clone"
    made = Clone(
        root=root, bin=tmp_path / "bin", cache=tmp_path / "cache/understudy", state=tmp_path / "state/understudy",
        log=tmp_path / "log",
    )  # fmt: skip
    made.bin.mkdir()
    for name in ("toolchain", "plugins"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("schema.json"))
    for name in ("run", "requirements.lock"):
        shutil.copy(ROOT / name, root / name)
    (root / "Pulumi.yaml").write_text("name: understudy\nruntime: python\n")
    (root / "Pulumi.stage.yaml").write_text("# the stage\nconfig:\n  understudy:warm_start: true # a comment\n")
    (root / "toolchain/debian-packages.txt").write_text("# nothing is wanted\n")
    (root / "toolchain/debian-packages-test.txt").write_text("# nothing is wanted\n")
    sdk = tmp_path / "sdk/python/cmd"
    sdk.mkdir(parents=True)
    (sdk / "pulumi-language-python-exec").write_text("#!/bin/sh\n")
    made.program("go", FAKE_GO)
    made.program("curl", "#!/bin/sh\nexit 6\n")
    venv = Path(made.bash("venv_directory").stdout.strip())
    venv.parent.mkdir(parents=True)
    venv.symlink_to(sys.prefix)
    return made
