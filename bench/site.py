"""A copy of the whole project with stacks of its own: what a user's clone is, beside whatever else runs here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from importlib.util import cache_from_source
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from model import names
from model.placing import decide_control_network
from provisioners.hypervisor.fence_rules import table_name
from provisioners.hypervisor.host import FENCES, MANAGED_SAVES, STACKS
from provisioners.hypervisor.seeds import SEEDS
from provisioners.hypervisor.virsh import Virsh

_OTHERS = (IPv4Network("198.18.224.0/19"), IPv4Network("198.19.0.0/16"))
"""Of these, tests take what they like: without a stack that is placed, or beside one that is not up."""
ROOT = Path(__file__).parents[1]
_SHARED = ("PATH", "HOME", "LANG", "XDG_CACHE_HOME", "UNDERSTUDY_CACHE", "TERM", "TMPDIR", "GOPROXY", "GOFLAGS")


def _stacks(name: str) -> tuple[str, str]:
    """Return the names of a site's stage and prod."""
    return f"{name}-stage", f"{name}-prod"


def _new_name() -> str:
    """Return a name of which no test takes the control networks by itself: each `up` refuses one that another has."""
    while True:
        name = f"t{uuid4().hex[:5]}"
        if all(decide_control_network(stack, _OTHERS) == decide_control_network(stack, []) for stack in _stacks(name)):
            return name


class Site:
    """A project's copy. Its commands go through ``./run``, as a user's do.

    Args:
        directory: an empty directory.
        name: of a site that is in the directory already, with whatever it has.
    """

    def __init__(self, directory: Path, name: str = "") -> None:
        self.directory, self.name = directory, name or _new_name()
        self.stage, self.prod = _stacks(self.name)
        self.environment = {key: os.environ[key] for key in _SHARED if key in os.environ}
        self.environment |= {key: value for key, value in os.environ.items() if key.startswith("PIP_") or "CERT" in key}
        self.environment["XDG_STATE_HOME"] = str(directory / ".state")
        if not name:
            self._copy()

    def _copy(self) -> None:
        directory = self.directory
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if name.startswith(("tests/", ".git/", "Placement.")) or not (ROOT / name).is_file():
                continue
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
            if name.endswith(".py") and (compiled := Path(cache_from_source(str(ROOT / name)))).is_file():
                at = Path(cache_from_source(str(target)))
                at.parent.mkdir(exist_ok=True)
                shutil.copy2(compiled, at)
        (directory / "Pulumi.prod.yaml").rename(directory / f"Pulumi.{self.prod}.yaml")
        (directory / "Pulumi.stage.yaml").rename(directory / f"Pulumi.{self.stage}.yaml")
        self.configure(self.stage, mirror=self.prod)
        self.configure(self.prod, protect=False, gate={"evidence": self.stage})

    def configure(self, stack: str, **values: Any) -> None:
        """Set values of a stack's file."""
        path = self.directory / f"Pulumi.{stack}.yaml"
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        document["config"] |= {f"understudy:{key}": value for key, value in values.items()}
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    def configuration(self, stack: str) -> dict[str, Any]:
        """Return the values of a stack's file, without their prefix."""
        document = yaml.safe_load((self.directory / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))
        return {key.removeprefix("understudy:"): value for key, value in document["config"].items()}

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start a command through ``./run``, in a group of processes of its own."""
        return subprocess.Popen(
            [str(self.directory / "run"), *argv],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *argv: str, code: int | None = 0, timeout_seconds: float = 1200) -> str:
        """Run a command to its end and return what it printed; any other exit code than ``code`` fails the test."""
        process = self.start(*argv)
        try:
            printed, _ = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            raise
        assert code is None or process.returncode == code, f"{argv} ended with {process.returncode}:\n{printed}"
        return printed

    def pulumi(self, verb: str, stack: str, *argv: str, code: int | None = 0) -> str:
        """Run one verb of Pulumi on a stack."""
        sure = ("--yes", "--skip-preview") if verb in ("up", "destroy", "refresh") else ()
        return self.run("pulumi", verb, "-s", stack, "--non-interactive", "--color", "never", *sure, *argv, code=code)

    def outputs(self, stack: str) -> dict[str, Any]:
        """Return what a stack exports."""
        printed = subprocess.run(
            [str(self.directory / "run"), "pulumi", "stack", "output", "-s", stack, "--json", "--non-interactive"],
            cwd=self.directory,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        )
        values: dict[str, Any] = json.loads(printed.stdout)
        return values

    def ssh(self, stack: str, machine: str, *argv: str, code: int | None = 0) -> str:
        """Run a command on a machine."""
        return self.run("understudy", "ssh", "-s", stack, machine, "--", *argv, code=code)

    def has_begun(self, stack: str) -> bool:
        """Return whether there is a state of the stack: then there may be machines."""
        return any(self.directory.glob(f".state/understudy/state/.pulumi/stacks/*/{stack}.json"))

    def end(self, *stacks: str) -> None:
        """Destroy these stacks, whatever state they are in."""
        for stack in stacks:
            if not is_gone(stack):
                self.pulumi("destroy", stack, code=None)
            if not is_gone(stack):
                self.run("understudy", "preflight", "-s", stack, "up", code=None)
                self.pulumi("destroy", stack)


def on_host(stack: str) -> dict[str, set[str]]:
    """Return everything on the host that has a stack's name or is behind its fence, by what it is."""
    virsh, table = Virsh(), table_name(names.bridge(stack, "mirror"))
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    places = [Path("/var/lib/libvirt"), Path("/run/libvirt"), Path("/etc/libvirt"), STACKS, FENCES]
    disks = files_below(STACKS / stack)
    return {
        "machines": {name for name in virsh.names("list", "--all") if name.startswith(f"{stack}-")},
        "networks": {name for name in virsh.names("net-list", "--all") if name.startswith(f"{stack}-")},
        "pools": {name for name in virsh.names("pool-list", "--all") if name == stack},
        "disks": disks,
        "fences": {path.name for path in FENCES.glob("*.*") if path.stem in (stack, table)},
        "tables": {line.removeprefix("table ") for line in tables.splitlines() if line.split()[2] == table},
        "links": {path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith(table)},
        "seeds": {path.name for path in SEEDS.glob(f"{stack}-*")},
        "saved memories": {path.name for path in MANAGED_SAVES.glob(f"*{stack}-*")},
        # Of every network that there ever was, libvirt keeps an empty directory below /run.
        "files": {path for place in places for path in files_below(place) if stack in Path(path).name} - disks,
    }


def files_below(place: Path) -> set[str]:
    """Return the paths of all files below a directory, in which others come and go meanwhile."""
    return {str(Path(directory, name)) for directory, _, names in os.walk(place) for name in names}


def is_gone(stack: str) -> bool:
    """Return whether this computer has nothing of a stack."""
    return not any(on_host(stack).values())
