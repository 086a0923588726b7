"""libvirt's daemon is restarted in the middle of an `up`: it goes on, or the next one finishes the work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model.state import recorded, without_half_made_pools
from provisioners.hypervisor.sweep import sweep
from tests.vm.lab import ROOT, Lab, lab, left_overs, machine, on_host

pytestmark = pytest.mark.vm

PID = Path("/run/libvirtd.pid")


def restart() -> None:
    """Restart the daemon, as an upgrade of its package does; machines that run go on."""
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "restart", "libvirtd.service"], check=True)
        return
    pid = int(PID.read_text())
    assert Path(f"/proc/{pid}/comm").read_text() == "libvirtd\n"
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    subprocess.run([str(ROOT / "run"), "true"], check=True, capture_output=True)


def wait_for(true: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.05)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path, 5, [machine("a", 11), machine("b", 12)]) as made:
        yield made
    assert left_overs(made) == []


def test_a_daemon_that_is_restarted_in_the_middle_does_not_spoil_an_up(two: Lab, tmp_path: Path) -> None:
    up = two.start("up", "--yes", "--skip-preview", "--stack", two.stack)
    for part in ("networks", "disks", "machines"):
        wait_for(lambda part=part: up.poll() is not None or bool(on_host(two.stack)[part]))  # type: ignore[misc]
        if up.poll() is None:
            restart()
    printed, said = up.communicate(timeout=300)
    print(f"`up` ended with {up.returncode}:\n{printed[-2000:]}\n{said[-500:]}")
    if up.returncode:  # what `./run` does before the next one
        kept = tmp_path / "deployment.json"
        kept.write_text(json.dumps(without_half_made_pools(two.state())), encoding="utf-8")
        two.pulumi("stack", "import", "--stack", two.stack, "--file", str(kept))
        print(sweep(two.stack, two.owner, recorded(two.state()), print, act=True))
        two.up()
    found = on_host(two.stack)
    assert found["machines"] == {two.domain("a"), two.domain("b")}
    assert len(found["disks"]) == 2
    for name in ("a", "b"):
        with two.shell(name) as shell:
            assert shell.run(("hostname",)).text == name
    assert two.changes_nothing()
