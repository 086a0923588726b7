"""A stage's machines woken again by hand, with libvirt alone: what of a wake is neither Understudy's nor Pulumi's."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.site import Site
from model.connection import connection_of
from model.libvirt_xml import with_links_down
from model.way_in import revealed
from provisioners.hypervisor.host import TEMPLATES
from provisioners.hypervisor.identity import plug_in, tell
from provisioners.hypervisor.template_memory import lay_down
from provisioners.hypervisor.virsh import Virsh
from provisioners.hypervisor.warm_start import save_path
from provisioners.shell import connect

_BOOT, _WARM = "understudy:index:Boot", "understudy:index:WarmStart"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """What the state has of one: the inputs of its `Boot` and of its `WarmStart`."""

    boot: Mapping[str, Any]
    warm: Mapping[str, Any]

    @property
    def disk(self) -> Path:
        return Path(self.warm["system_disk_path"])

    def wake(self) -> None:
        """Make its disk anew, lay the memory down, start it, tell it who it is, and run a command over SSH."""
        template, domain, virsh = TEMPLATES / self.warm["template_key"], self.boot["domain"], Virsh()
        clone = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(template / "disk.qcow2"), "-F", "qcow2")
        subprocess.run((*clone, str(self.disk)), check=True)
        lay_down(template, save_path(domain), with_links_down(self.warm["domain_xml"]))
        virsh.run("start", domain)
        keys = {name: self.boot[f"host_{name}"] for name in ("private_key", "public_key")}
        tell(virsh, domain, self.boot["identity"], _quietly, domain_uuid=self.boot["uuid"], **keys)
        plug_in(virsh, domain, self.boot["identity"])
        with connect(connection_of(self.boot["connection"]), self.boot["private_key"], _quietly, 60) as shell:
            shell.greet()


def seconds_to_wake(site: Site) -> float:
    """Return how long it takes until each machine of a stage that is up, woken side by side, has run a command."""
    machines, virsh = tuple(_machines(site)), Virsh()
    for machine in machines:
        virsh.run("destroy", machine.boot["domain"])
        machine.disk.unlink()
    began = time.monotonic()
    with ThreadPoolExecutor(len(machines)) as pool:
        list(pool.map(lambda machine: machine.wake(), machines))
    return time.monotonic() - began


def _machines(site: Site) -> Iterator[_Machine]:
    printed = site.run("pulumi", "stack", "export", "--show-secrets", "--stack", site.stage, "--non-interactive")
    exported, _ = json.JSONDecoder().raw_decode(printed[printed.index("{\n") :])
    resources = exported["deployment"]["resources"]
    inputs = {kind: [revealed(each["inputs"]) for each in resources if each["type"] == kind] for kind in (_BOOT, _WARM)}
    warm = {each["domain"]: each for each in inputs[_WARM]}
    yield from (_Machine(boot=each, warm=warm[each["domain"]]) for each in inputs[_BOOT])


def _quietly(_: str) -> None:
    """Show nothing."""
