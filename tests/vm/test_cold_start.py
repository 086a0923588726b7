"""Machines that cannot wake start cold, and say why; and what was cut off is made good by the next update."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model import names
from model.kernel import kernel_command_line
from model.state import Recorded
from provisioners.hypervisor.host import STACKS, TEMPLATES, processor
from provisioners.hypervisor.savefile import read_head
from provisioners.hypervisor.sweep import sweep
from provisioners.hypervisor.template import TemplateSpec, ensure, fingerprint
from provisioners.hypervisor.virsh import Virsh
from tests.vm.capture import escapes, listening
from tests.vm.lab import ROOT, Lab, image, lab, left_overs, machine

pytestmark = pytest.mark.vm


def odd(memory_mib: int) -> TemplateSpec:
    """Return a size that nobody else uses: its template is a test's own."""
    return TemplateSpec(
        image=image(),
        vcpus=1,
        memory_mib=memory_mib,
        accelerator="tcg",
        data_disk=False,
        system_disk_mib=8192,
        cmdline=kernel_command_line("tcg"),
    )


def name_of(spec: TemplateSpec) -> str:
    return fingerprint(spec, Virsh().run("version"), processor())


def forget(spec: TemplateSpec) -> None:
    for path in TEMPLATES.glob(f"{name_of(spec)}-*"):
        shutil.rmtree(path)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path, 3, [machine("a", 11)], warm=False) as made:
        yield made
    assert left_overs(made) == []


def run(made: Lab, script: str) -> str:
    with made.shell("a") as shell:
        return shell.run(("bash", "-c", script)).text


def test_without_warmth_it_starts_cold_and_keeps_its_disk_when_warmth_comes(alone: Lab) -> None:
    with listening() as capture:  # before its networks are there, so that its first packet of all is heard
        alone.up()
    output = alone.outputs()["a"]
    assert (output["started"], output["reason"]) == ("cold", "cold: there is no template for it")
    assert names.tap(alone.stack, "a", "control") in {device for device, _, _ in capture.frames}
    assert escapes(alone, capture) == []
    assert run(alone, "hostname; touch /root/kept; sync") == "a"
    alone.warm = True
    alone.up()
    assert run(alone, "ls /root/kept") == "/root/kept"
    assert alone.outputs()["a"] == output
    assert alone.changes_nothing()


def test_a_memory_that_does_not_wake_costs_one_more_update(alone: Lab) -> None:
    spec = odd(448)
    memory = ensure(spec, Virsh(), print).memory
    with memory.open("r+b") as file:
        file.seek(read_head(file, "memory").length)
        file.write(b"\xff" * 64)  # qemu's own head
    try:
        alone.warm, alone.machines = True, [machine("a", 11, memory_mib=spec.memory_mib)]
        assert "error" in alone.up(check=False)
        known = Recorded(
            networks=frozenset({f"{alone.stack}-mirror", f"{alone.stack}-control"}),
            pools=frozenset({alone.stack}),
            volumes=frozenset(str(path) for path in (STACKS / alone.stack).iterdir()),
            fenced=True,
        )
        assert sweep(alone.stack, alone.owner, known, print, act=True) == (f"machine {alone.domain('a')}",)
        alone.up()
        output = alone.outputs()["a"]
        assert (output["started"], output["reason"]) == ("cold", "cold: no saved memory was left for this start")
        assert run(alone, "hostname") == "a"
        alone.pulumi("destroy", "--yes", "--skip-preview", "--stack", alone.stack)
    finally:
        forget(spec)


def test_a_build_of_a_template_that_was_killed_leaves_nothing(alone: Lab) -> None:
    spec, virsh = odd(464), Virsh()
    forget(spec)
    script = f"from provisioners.hypervisor.template import *; ensure({spec!r}, Virsh(), print)"
    building = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 60
    domain = f"understudy-template-{name_of(spec)}"
    while domain not in virsh.names("list"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    building.send_signal(signal.SIGKILL)
    building.wait()
    assert domain in virsh.names("list")
    sweep(alone.stack, alone.owner, Recorded(), print, act=True)
    assert domain not in virsh.names("list", "--all")
    assert not (TEMPLATES / f".building-{name_of(spec)}").exists()
