"""A stack of a hundred machines that exist in its state only; and as many resources for the engine alone."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import yaml

from bench.nothing import alone
from bench.site import Site
from model.placement import Accelerator, PlacedMachine, Placement, as_values, file_name

MACHINES = 100
_CONTROL = IPv4Network("198.18.7.0/24")
_FIRST = IPv4Address("10.20.0.100")
_PLUGIN = "provisioners/provider/pulumi-resource-understudy"
_OURS, _ANSWERING = "-m provisioners.provider ", "-m bench.nothing.provider "
_IMPORT = "import pulumi\n"
_BUILT, _BUILT_NOWHERE = "Environment(site, directory)", "Environment(site, directory, nowhere)"


def grown(sample: dict[str, Any], machines: int) -> dict[str, Any]:
    """Return a configuration with so many machines: the sample's, and more that run its application."""
    app = sample["machines"]["app1"]
    more = {
        f"app{3 + number}": {**app, "address": str(_FIRST + number)}
        for number in range(machines - len(sample["machines"]))
    }
    services = {**sample["services"], "app": [*sample["services"]["app"], *more]}
    return {**sample, "machines": {**sample["machines"], **more}, "services": services}


def placement(machines: dict[str, Any]) -> Placement:
    """Return where they would be."""
    places = tuple(
        PlacedMachine(name=name, host="here", control_address=_CONTROL[10 + number])
        for number, name in enumerate(sorted(machines))
    )
    accelerator = Accelerator(kind="tcg", reason="nothing is started")
    return Placement(control_network=_CONTROL, accelerator=accelerator, image="0" * 64, machines=places)


def count(resources: list[dict[str, Any]]) -> tuple[int, int]:
    """Return how many components and how many resources of providers a state has.

    >>> count([{"type": "pulumi:pulumi:Stack"}, {"type": "a:b:C"}, {"type": "a:b:D", "custom": True}])
    (1, 1)
    """
    own = [each.get("custom", False) for each in resources if not each["type"].startswith("pulumi:")]
    return own.count(False), own.count(True)


class Hundred:
    """The two programs, both in one file backend, both with a state that needs no change.

    Args:
        directory: an empty directory.
        machines: how many.

    Attributes:
        resources: how many each program has, components among them.
    """

    resources: int

    def __init__(self, directory: Path, machines: int = MACHINES) -> None:
        self._site, self._alone = Site(directory), directory / "alone"
        backend = directory / "backend"
        backend.mkdir()
        self._site.environment |= {
            "PULUMI_BACKEND_URL": f"file://{backend}",
            "PULUMI_CONFIG_PASSPHRASE": "of a measurement",
            "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        }
        self._write(machines)
        components, customs = self._make()
        self.resources = components + customs
        self._make_alone(components, customs)

    def preview(self) -> None:
        """Preview the machines as a user does, preflight and all."""
        self._site.pulumi("preview", self._site.prod, "--expect-no-changes")

    def preview_alone(self) -> None:
        """Preview the engine's own program."""
        self._engine("preview", "--stack=alone", "--expect-no-changes", where=self._alone)

    def _write(self, machines: int) -> None:
        """Write the stack's files, and give the program the place that creates nothing."""
        site = self._site
        values = grown(site.configuration(site.prod), machines)
        site.configure(site.prod, **values)
        lock = yaml.safe_dump(as_values(placement(values["machines"])), sort_keys=False)
        (site.directory / file_name(site.prod)).write_text(lock)
        _edit(site.directory / "__main__.py", _BUILT, _BUILT_NOWHERE)
        _edit(
            site.directory / "__main__.py",
            "import pulumi\n",
            "import pulumi\nfrom bench.nothing import backend as nowhere\n",
        )

    def _make(self) -> tuple[int, int]:
        """Make the state, and return how many components and resources are in it."""
        stack = f"--stack={self._site.prod}"
        plugin = self._site.directory / _PLUGIN
        self._engine("stack", "init", stack)
        _edit(plugin, _OURS, _ANSWERING)
        self._engine("up", stack, "--yes", "--skip-preview")
        _edit(plugin, _ANSWERING, _OURS)
        exported = json.loads(self._engine("stack", "export", stack))
        return count(exported["deployment"]["resources"])

    def _make_alone(self, components: int, customs: int) -> None:
        self._alone.mkdir()
        plugin = self._alone / "pulumi-resource-alone"
        plugin.write_text(alone.PLUGIN)
        plugin.chmod(0o755)
        (self._alone / "Pulumi.yaml").write_text(alone.PROJECT)
        (self._alone / "__main__.py").write_text(alone.program(components, customs))
        self._engine("stack", "init", "--stack=alone", where=self._alone)
        self._engine("up", "--stack=alone", "--yes", "--skip-preview", where=self._alone)

    def _engine(self, *argv: str, where: Path | None = None) -> str:
        """Run Pulumi with the toolchain of ``./run``, but without what ``./run pulumi`` does before."""
        at = f"--cwd={where or self._site.directory}"
        return self._site.run("env", "pulumi", at, *argv, "--non-interactive", "--color=never")


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path} has no {old!r}"
    path.write_text(text.replace(old, new), encoding="utf-8")
