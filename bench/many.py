"""One service on many machines, against pyinfra with the same steps; and a machine where nothing is to be done."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.figures import Figure, Say
from bench.room import room
from tests.doubles.sshd import Machine

MACHINES = 30
_ROOT = Path(__file__).parents[1]
_FILES: Mapping[str, str] = {"a.conf": "port = 1\n", "b.conf": "level = info\n" * 40, "c.conf": "spare = yes\n"}
_GONE = "/etc/bench.old"
_DEPLOY = f"""
from pyinfra.operations import files
for name in {sorted(_FILES)!r}:
    files.put(src=name, dest=f"/etc/bench/{{name}}", mode="640", user="root", group="root")
files.file(path={_GONE!r}, present=False)
"""
"""The same four steps. Source: docs.pyinfra.com, operations `files.put` and `files.file`."""


def many(say: Say, runs: int = 3, count: int = MACHINES) -> tuple[Figure, ...]:
    """Measure four idempotent steps on so many machines, the first time and again, against pyinfra and bare SSH."""
    with room(say) as directory, machines(count) as every:
        say("installing pyinfra")
        bench = Bench(directory, every)
        bench.prepare_pyinfra()
        ways: dict[str, Callable[[], object]] = {"ours": bench.ours, "pyinfra": bench.pyinfra}
        first: dict[str, list[float]] = {name: [] for name in ways}
        again: dict[str, list[float]] = {name: [] for name in (*ways, "ssh")}
        for turn in range(runs):
            say(f"{count} machines: turn {turn + 1} of {runs}")
            for name, way in ways.items():
                bench.forget()
                first[name].append(_seconds(way))
                bench.check()
                again[name].append(_seconds(way))
            again["ssh"].append(_seconds(bench.ssh))
    return _figures(count, _medians(first), _medians(again))


def _figures(count: int, first: Mapping[str, float], again: Mapping[str, float]) -> tuple[Figure, ...]:
    told = f"four steps on {count} machines"
    return (
        Figure(
            name=f"{told}, the first time",
            ours=first["ours"],
            against="pyinfra",
            by_hand=first["pyinfra"],
            goal=1.0,
        ),
        Figure(
            name=f"{told}, nothing to do", ours=again["ours"], against="pyinfra", by_hand=again["pyinfra"], goal=1.0
        ),
        Figure(
            name=f"{told}, nothing to do",
            ours=again["ours"],
            against=f"{count} times `ssh … true` side by side",
            by_hand=again["ssh"],
            goal=1.5,
        ),
    )


def _seconds(way: Callable[[], object]) -> float:
    began = time.monotonic()
    way()
    return time.monotonic() - began


def _medians(taken: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(each) for name, each in taken.items()}


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """Run so many SSH servers on loopback, each over files of its own."""
    with ExitStack() as stack:
        yield [stack.enter_context(Machine(f"m{number}", "Subsystem sftp internal-sftp")) for number in range(count)]


class Bench:
    """The three ways to the same machines, each in a process of its own that knows their host keys beforehand."""

    def __init__(self, directory: Path, every: list[Machine]) -> None:
        self._directory, self._machines = directory, every
        self._keys = [directory / f"key{number}" for number in range(len(every))]
        for path, machine in zip(self._keys, every, strict=True):
            path.touch(mode=0o600)
            path.write_text(machine.private_key, encoding="utf-8")
        known = [f"[127.0.0.1]:{machine.port} {machine.host_key}" for machine in every]
        self._known = directory / "known_hosts"
        self._known.write_text("".join(f"{line.strip()}\n" for line in known), encoding="utf-8")
        inputs = [_inputs(machine) for machine in every]
        (directory / "inputs.json").write_text(json.dumps(inputs), encoding="utf-8")

    def prepare_pyinfra(self) -> None:
        """Install it, and tell it the same machines and steps."""
        venv.create(self._directory / "venv", with_pip=True)
        pip = (str(self._directory / "venv/bin/pip"), "install", "--quiet", "--require-hashes")
        subprocess.run((*pip, "--requirement", str(_ROOT / "bench/pyinfra.lock")), check=True)
        hosts = [
            (
                f"m{number}",
                {
                    "ssh_hostname": "127.0.0.1",
                    "ssh_port": machine.port,
                    "ssh_user": "root",
                    "ssh_key": str(self._keys[number]),
                    "ssh_known_hosts_file": str(self._known),
                    "ssh_strict_host_key_checking": "yes",
                },
            )
            for number, machine in enumerate(self._machines)
        ]
        (self._directory / "inventory.py").write_text(f"hosts = {hosts!r}\n", encoding="utf-8")
        (self._directory / "deploy.py").write_text(_DEPLOY, encoding="utf-8")
        for name, content in _FILES.items():
            (self._directory / name).write_text(content, encoding="utf-8")

    def ours(self) -> None:
        """Apply it as the provider does."""
        argv = (sys.executable, "-m", "bench.many_apply", str(self._directory / "inputs.json"))
        _run(argv, _ROOT)

    def pyinfra(self) -> None:
        """Apply it with pyinfra, all machines at once."""
        argv = (str(self._directory / "venv/bin/pyinfra"), "--yes", "inventory.py", "deploy.py")
        _run(argv, self._directory)

    def ssh(self) -> None:
        """Log in to each and do nothing, all at once."""
        options = (
            "-F",
            "none",
            "-o",
            f"UserKnownHostsFile={self._known}",
            "-o",
            "BatchMode=yes",
            "-o",
            "LogLevel=ERROR",
        )
        processes = [
            subprocess.Popen(("ssh", *options, "-i", str(key), "-p", str(machine.port), "root@127.0.0.1", "true"))
            for key, machine in zip(self._keys, self._machines, strict=True)
        ]
        codes = [process.wait() for process in processes]
        assert not any(codes), codes

    def forget(self) -> None:
        """Make every machine one that was never touched."""
        for machine in self._machines:
            shutil.rmtree(machine.root / "etc/bench", ignore_errors=True)
            shutil.rmtree(machine.root / "root/configs", ignore_errors=True)
            (machine.root / _GONE.lstrip("/")).write_text("old\n", encoding="utf-8")

    def check(self) -> None:
        """Assert that every machine is as it should be."""
        for machine in self._machines:
            for name, content in _FILES.items():
                path = machine.root / "etc/bench" / name
                assert path.read_text(encoding="utf-8") == content
                assert path.stat().st_mode & 0o7777 == 0o640
            assert not (machine.root / _GONE.lstrip("/")).exists()


def _inputs(machine: Machine) -> dict[str, Any]:
    files: dict[str, Any] = {
        f"/etc/bench/{name}": {"content": content, "mode": "0640"} for name, content in _FILES.items()
    }
    return {
        "connection": machine.connection.values(),
        "private_key": machine.private_key,
        "generation": "1",
        "service": "bench",
        "files": {**files, _GONE: {"absent": True}},
    }


def _run(argv: tuple[str, ...], directory: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)} if directory == _ROOT else dict(os.environ)
    done = subprocess.run(argv, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
