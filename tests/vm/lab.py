"""Stacks of real machines for tests: each has a name, a backend and networks of its own, and leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from bench.site import files_below, on_host
from model import names
from model.connection import connection_of
from model.placed_hosts import PlacedHost, hosts_as_values
from model.state import Recorded
from provisioners.hypervisor import fence
from provisioners.hypervisor.host import FENCES
from provisioners.shell import Shell, connect

PROGRAM = Path(__file__).parent / "machines"
ROOT = Path(__file__).parent.parent.parent


@cache
def image() -> str:
    """Return the digest of the project's image, built if need be."""
    from images.build import ensure

    return ensure(lambda line: print(line, flush=True)).directory.name


NETWORK = "10.77.0.0/24"


def machine(name: str, at: int, **sizes: int) -> dict[str, Any]:
    """Return a small machine as the program reads it."""
    usual = {"vcpus": 1, "memory_mib": 512, "system_disk_mib": 8192, "data_disk_mib": 0}
    return {"name": name, "address": str(IPv4Network(NETWORK)[at]), **usual, **sizes}


@dataclass(kw_only=True)
class Lab:
    """One stack. What it consists of can be changed between two updates."""

    directory: Path
    stack: str
    control_network: str
    machines: Sequence[dict[str, Any]]
    warm: bool = True
    network: str = NETWORK
    image: str
    domain_name: str = "test.example"
    environment: dict[str, str] = field(default_factory=dict)
    hosts: Sequence[PlacedHost] = ()
    address: str = ""
    ssh_from: Sequence[str] = ()

    @property
    def owner(self) -> str:
        """Return the mark on what the stack makes."""
        return names.owner(self.stack, self.backend)

    @property
    def backend(self) -> str:
        """Return where its state is kept."""
        return f"file://{self.directory}/state"

    def pulumi(self, *argv: str, check: bool = True, timeout_seconds: float = 900) -> subprocess.CompletedProcess[str]:
        """Run the engine on it."""
        process = self.start(*argv)
        try:
            printed, said = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        done = subprocess.CompletedProcess(argv, process.returncode, printed, said)
        if check and done.returncode:
            raise AssertionError(f"pulumi {' '.join(argv)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start the engine on it."""
        wanted = {
            "network": self.network,
            "control_network": self.control_network,
            "machines": list(self.machines),
            "image": self.image,
            "domain": self.domain_name,
            "warm": self.warm,
            "backend": self.backend,
            "hosts": hosts_as_values(self.hosts),
            "address": self.address,
            "ssh_from": list(self.ssh_from),
        }
        (self.directory / "wanted.json").write_text(json.dumps(wanted))
        return subprocess.Popen(
            ["pulumi", "--non-interactive", "--color=never", *argv],
            cwd=self.directory / "program",
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def up(self, *argv: str, check: bool = True) -> str:
        """Update it and return what was printed."""
        done = self.pulumi("up", "--yes", "--skip-preview", "--stack", self.stack, *argv, check=check)
        return done.stdout + done.stderr

    def changes_nothing(self) -> bool:
        """Return whether a preview finds nothing to do."""
        done = self.pulumi("preview", "--expect-no-changes", "--diff", "--stack", self.stack, check=False)
        if done.returncode:
            print(done.stdout, done.stderr)
        return done.returncode == 0

    def outputs(self) -> dict[str, Any]:
        """Return what it exports, secrets included."""
        return dict(
            json.loads(self.pulumi("stack", "output", "--json", "--show-secrets", "--stack", self.stack).stdout)
        )

    def state(self) -> dict[str, Any]:
        """Return its state, as the engine exports it."""
        return dict(json.loads(self.pulumi("stack", "export", "--stack", self.stack).stdout))

    @contextmanager
    def shell(self, name: str, patience_seconds: float = 180) -> Iterator[Shell]:
        """Give a shell on a machine."""
        output = self.outputs()[name]
        with connect(connection_of(output["connection"]), output["private_key"], print, patience_seconds) as shell:
            yield shell

    @property
    def machine_names(self) -> tuple[str, ...]:
        """Return its machines' names."""
        return tuple(machine["name"] for machine in self.machines)

    def domain(self, name: str) -> str:
        """Return a machine's name on the host."""
        return names.domain(self.stack, name)

    def _environment(self) -> dict[str, str]:
        own = {
            "PULUMI_BACKEND_URL": self.backend,
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_HOME": str(self.directory / "home"),
            "UNDERSTUDY_TEST_MACHINES": str(self.directory / "wanted.json"),
            "PYTHONPATH": str(ROOT),
        }
        return {**os.environ, **own, **self.environment}


@contextmanager
def lab(
    directory: Path,
    number: int,
    machines: Sequence[dict[str, Any]],
    *,
    warm: bool = True,
    hosts: Sequence[PlacedHost] = (),
) -> Iterator[Lab]:
    """Give a stack that is destroyed in the end, whatever happened to it."""
    (directory / "state").mkdir(parents=True)
    shutil.copytree(PROGRAM, directory / "program")
    stack = f"t{os.getpid() % 65536:04x}{number:x}-stage"
    made = Lab(
        directory=directory,
        stack=stack,
        control_network=f"198.19.{os.getpid() % 200}.0/24" if number == 0 else f"198.19.{200 + number}.0/24",
        machines=machines,
        warm=warm,
        image=image(),
        hosts=hosts,
    )
    made.pulumi("stack", "init", stack)
    try:
        yield made
    finally:
        began = time.monotonic()
        done = made.pulumi("destroy", "--yes", "--skip-preview", "--stack", stack, check=False)
        print(f"destroyed in {time.monotonic() - began:.1f} s")
        if done.returncode:
            print(done.stdout, done.stderr)
            _clear(made)


def _clear(made: Lab) -> None:
    """Remove what an update left that could not even be destroyed."""
    from provisioners.hypervisor.sweep import sweep

    sweep(made.stack, made.owner, Recorded(), print, act=True)


def left_overs(of: Lab | str) -> list[str]:
    """Return what is left of a destroyed stack, a line each; with the last fence of all, libvirt's hooks go too."""
    left = on_host(of if isinstance(of, str) else of.stack)
    hooks = {path for path in files_below(fence.HOOKS) if Path(path).name == "understudy-fence"}
    left["hooks"] = set() if list(FENCES.glob("*.nft")) else hooks
    return [f"{what}: {name}" for what, found in left.items() for name in sorted(found)]
