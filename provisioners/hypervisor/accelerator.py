"""Whether hardware virtualisation really works here and is really faster: a small guest is timed under both ways.

That ``/dev/kvm`` exists says little: inside some clouds a guest hangs under it, or is slower than under emulation.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from model.placement import Accelerator
from provisioners.hypervisor.host import ROOT, boot_id, read_json, write_whole
from provisioners.outcome import Say

_RECORD = ROOT / "accelerator.json"
_DEVICE = Path("/dev/kvm")
_MARK = b"Kernel panic"
"""The kernel has started and found no init: the end of what the probe lets it do."""
_LIMIT_SECONDS = 40.0


def choose(kernel: Callable[[], Path], say: Say) -> Accelerator:
    """Return how processors are to be run on this host. Asked again only after the host was booted again.

    Args:
        kernel: gives a kernel for the tiny guest to boot; asked for only where it has to be timed.
        say: is told what is tried.
    """
    known = read_json(_RECORD)
    if known.get("boot") == boot_id() and known.get("kind") in ("kvm", "tcg"):
        return Accelerator(kind=str(known["kind"]), reason=str(known["reason"]))
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return Accelerator(kind="tcg", reason=f"{_DEVICE} is missing or may not be opened, so processors are emulated")
    say("timing a tiny guest with and without hardware virtualisation (up to a minute)")
    booted = kernel()
    emulated = seconds_to_start(booted, "tcg", _LIMIT_SECONDS)
    limit = _LIMIT_SECONDS if emulated is None else emulated
    chosen = decide(emulated, seconds_to_start(booted, "kvm", limit), limit)
    write_whole(_RECORD, json.dumps({"boot": boot_id(), "kind": chosen.kind, "reason": chosen.reason}))
    return chosen


def decide(emulated: float | None, hardware: float | None, limit: float) -> Accelerator:
    """Return the faster way, in seconds that a guest took under each; None where it did not come up within the limit.

    >>> decide(4.0, None, 4.0).reason
    'a guest did not start under /dev/kvm in 4.0 s, and did in 4.0 s without'
    >>> decide(4.0, 0.5, 4.0).kind
    'kvm'
    """
    if hardware is None:
        without = "nor without" if emulated is None else f"and did in {emulated:.1f} s without"
        return Accelerator(kind="tcg", reason=f"a guest did not start under {_DEVICE} in {limit:.1f} s, {without}")
    if emulated is not None and hardware >= emulated:
        return Accelerator(
            kind="tcg", reason=f"a guest took {hardware:.1f} s under {_DEVICE}, and {emulated:.1f} s without"
        )
    without = "did not start" if emulated is None else f"took {emulated:.1f} s"
    return Accelerator(kind="kvm", reason=f"a guest started in {hardware:.1f} s under {_DEVICE}, and {without} without")


def seconds_to_start(kernel: Path, way: str, limit: float) -> float | None:
    """Return how long a guest with nothing but this kernel takes to look for its init, or None past the limit."""
    with tempfile.TemporaryDirectory(prefix="understudy-probe-") as directory:
        console = Path(directory, "console")
        began = time.monotonic()
        guest = subprocess.Popen(
            qemu_arguments(kernel, way, console),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            while (taken := time.monotonic() - began) < limit:
                if console.exists() and _MARK in console.read_bytes():
                    return taken
                if guest.poll() is not None:
                    return None
                time.sleep(0.05)
            return None
        finally:
            if guest.poll() is None:
                os.killpg(guest.pid, signal.SIGKILL)
            guest.wait()


def qemu_arguments(kernel: Path, way: str, console: Path) -> tuple[str, ...]:
    """Return the command of the tiny guest, which waits when its kernel has given up. Sizes in MiB."""
    cpu = "host" if way == "kvm" else "qemu64,+rdrand"
    return (
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "pc", "-accel", way, "-cpu", cpu, "-smp", "1", "-m", "256"),
        *("-kernel", str(kernel), "-append", "console=ttyS0 panic=0 mitigations=off"),
        *("-serial", f"file:{console}"),
    )
