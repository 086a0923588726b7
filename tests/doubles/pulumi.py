"""A Pulumi project of a test's own, run by the real engine, with our provider."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_PROJECT = f"""
name: test
runtime: python
plugins:
  providers:
    - name: understudy
      path: {ROOT}/provisioners/provider
"""
_PROGRAM = """
import json, pathlib
import pulumi

class Resource(pulumi.CustomResource):
    def __init__(self, kind, name, props, opts):
        super().__init__(f"understudy:index:{kind}", name, props, opts)

here = pathlib.Path(__file__).parent
made = {}

def value(given):
    if isinstance(given, list):
        return [value(item) for item in given]
    if isinstance(given, dict):
        if "secret" in given:
            return pulumi.Output.secret(given["secret"])
        if "output" in given:
            return getattr(made[given["output"][0]], given["output"][1])
        return {key: value(item) for key, item in given.items()}
    return given

for name, each in json.loads((here / "resources.json").read_text()).items():
    props = {key: value(item) for key, item in each["inputs"].items()}
    props = {**dict.fromkeys(each.get("outputs", ())), **props}
    after = [made[other] for other in each.get("after", ())]
    opts = pulumi.ResourceOptions(depends_on=after, import_=each.get("import"))
    made[name] = Resource(each["kind"], name, props, opts)
"""


class Project:
    """A stack in a backend of its own, whose resources are a table.

    Args:
        directory: an empty directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "Pulumi.yaml").write_text(_PROJECT)
        (directory / "__main__.py").write_text(_PROGRAM)
        (directory / "state").mkdir()
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "VIRTUAL_ENV": str(Path(sys.executable).parent.parent),
            "PULUMI_BACKEND_URL": f"file://{directory}/state",
            "PULUMI_HOME": str(directory / "home"),
            "PULUMI_CONFIG_PASSPHRASE": "of a test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_PYTHON_CMD": str(ROOT / "toolchain/bin/pulumi-python"),  # as ./run sets it: no second of pip
            "UNDERSTUDY_TEST": str(directory),
        }
        self.run("stack", "init", "s")

    def resources(self, table: Mapping[str, Any]) -> None:
        """Make the program ask for these: kind, inputs, outputs, after, import; by name."""
        (self.directory / "resources.json").write_text(json.dumps(table))

    def line(self, *argv: str) -> tuple[str, ...]:
        """Return a command as it is run here."""
        return argv

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the CLI, in a process group of its own."""
        return subprocess.Popen(
            self.line("pulumi", *arguments, "--non-interactive", "--color=never"),
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, succeeds: bool = True) -> str:
        """Run the CLI to its end and return all that it printed."""
        process = self.start(*arguments)
        printed, _ = process.communicate(timeout=600)
        assert (process.returncode == 0) == succeeds, printed
        return printed

    def state(self) -> list[dict[str, Any]]:
        """Return the state's resources; secrets stay encrypted."""
        kept = json.loads((self.directory / "state/.pulumi/stacks/test/s.json").read_text())
        resources: list[dict[str, Any]] = kept["checkpoint"]["latest"].get("resources", [])
        return resources

    def kept(self) -> str:
        """Return all that the backend has on disk."""
        files = (path for path in (self.directory / "state").rglob("*") if path.is_file())
        return "\n".join(path.read_text(errors="replace") for path in files)

    def providers(self) -> tuple[int, ...]:
        """Return the processes of our provider that this project's engine started."""
        mark = f"UNDERSTUDY_TEST={self.directory}".encode()
        found = []
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            try:
                command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
                command += (process / "comm").read_bytes()
            except OSError:
                continue
            if re.search(b"provisioners.provider|pulumi-provider", command) and mark in environment.split(b"\0"):
                found.append(int(process.name))
        return tuple(found)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill the CLI alone, as a user's `kill -9` does."""
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(true: Callable[[], Any], seconds: float = 60.0) -> float:
    """Wait until something is so, and return how many seconds that took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it never came to be"
        time.sleep(0.05)
    return time.monotonic() - began
