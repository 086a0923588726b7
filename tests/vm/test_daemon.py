"""What is cut off below an `up`: libvirt's daemon, the build of a template. `./run pulumi up` finishes it by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from bench.site import Site, on_host
from provisioners.hypervisor.host import TEMPLATES
from provisioners.hypervisor.virsh import Virsh
from tests.vm.lab import ROOT, lab, left_overs, machine
from tests.vm.templates import forget, name_of, odd

pytestmark = pytest.mark.vm

PID = Path("/run/libvirtd.pid")
NAMES = ("a", "b")


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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A prod, never built, of two small machines and nothing on them; and its stage."""
    site = Site(tmp_path_factory.mktemp("site"))
    address = site.configuration(site.prod)["machines"]["lb"]["address"].rpartition(".")[0]
    small = {"vcpus": 1, "memory": "512MiB"}
    machines = {name: {**small, "address": f"{address}.{11 + at}"} for at, name in enumerate(NAMES)}
    site.configure(site.prod, machines=machines, services={}, stores={}, pages={})
    yield site
    site.end(site.stage)
    assert left_overs(site.stage) == []


def test_a_daemon_that_is_restarted_in_the_middle_does_not_spoil_an_up(site: Site) -> None:
    up = site.start("pulumi", "up", "-s", site.stage, "--yes", "--skip-preview", "--non-interactive")
    try:
        for part in ("networks", "disks", "machines"):
            wait_for(lambda part=part: up.poll() is not None or bool(on_host(site.stage)[part]), 300)  # type: ignore[misc]
            if up.poll() is None:
                restart()
        up.wait(300)
    finally:
        if up.poll() is None:
            os.killpg(up.pid, signal.SIGKILL)
        print(f"`up` ended with {up.wait()}:\n{up.communicate()[0][-2000:]}")
    if up.returncode:
        site.pulumi("up", site.stage)
    found = on_host(site.stage)
    assert found["machines"] == {f"{site.stage}-{name}" for name in NAMES}
    assert len(found["disks"]) == 2
    for name in NAMES:
        assert site.ssh(site.stage, name, "hostname").split()[-1] == name
    site.pulumi("preview", site.stage, "--expect-no-changes")


def test_a_build_of_a_template_that_was_killed_leaves_nothing(site: Site) -> None:
    spec, virsh = odd(464), Virsh()
    forget(spec)
    script = f"from provisioners.hypervisor.template import *; ensure({spec!r}, Virsh(), print)"
    building = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)})
    domain = f"understudy-template-{name_of(spec)}"
    wait_for(lambda: domain in virsh.names("list"))
    building.send_signal(signal.SIGKILL)
    building.wait()
    assert domain in virsh.names("list")
    site.pulumi("up", site.stage)
    assert domain not in virsh.names("list", "--all")
    assert not (TEMPLATES / f".building-{name_of(spec)}").exists()


@contextmanager
def interrupted_once() -> Iterator[Path]:
    """Have the kernel refuse libvirtd the filter of a machine's devices, as if a signal had come; gives what it saw.

    It is a thread's sixth question of this kind, where it has asked none before.
    """
    with NamedTemporaryFile("r") as seen:
        wrong = ("-e", "trace=bpf", "-e", "signal=none", "-e", "inject=bpf:error=EAGAIN:when=6")
        asked = ("--follow-forks", "--quiet=all", f"--output={seen.name}", f"--attach={PID.read_text()}")
        with subprocess.Popen(("strace", *asked, *wrong)) as tracer:
            threading.Thread(target=_end_once, args=(tracer, Path(seen.name)), daemon=True).start()
            time.sleep(1)  # it is attached
            try:
                yield Path(seen.name)
            finally:
                tracer.terminate()


def _end_once(tracer: subprocess.Popen[bytes], seen: Path) -> None:
    while tracer.poll() is None and "INJECTED" not in seen.read_text():
        time.sleep(0.01)
    tracer.terminate()


def test_a_start_that_the_kernel_is_interrupted_in_is_tried_again_and_the_machine_wakes(tmp_path: Path) -> None:
    """As happens by chance where many machines start at a time; libvirt gives up, and says so."""
    with lab(tmp_path, 15, [machine("a", 11)]) as made:
        with interrupted_once() as seen:
            made.up()
            assert [line for line in seen.read_text().splitlines() if "BPF_PROG_LOAD" in line and "INJECTED" in line]
        output = made.outputs()["a"]
        assert (output["started"], output["reason"][:10]) == ("warm", "wakes from")
        with made.shell("a") as shell:
            assert shell.run(("hostname",)).text == "a"
    assert left_overs(made) == []
