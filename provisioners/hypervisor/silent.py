"""What has become of a machine that does not answer: halted by a full disk, or running in a circle."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

from model.errors import UnderstudyError
from model.libvirt_xml import parsed
from model.names import ROOT
from provisioners.hypervisor.virsh import Virsh, VirshFailed
from provisioners.outcome import pause

_CIRCLE_SECONDS = 40.0
"""So much of the host's processors' time must pass without a request to a disk; a whole boot takes less, and reads."""
_STEP_SECONDS = 2.0
_PROCESSOR = re.compile(r"^CPU#(\d+)$.*?^[ER]IP=.* CPL=(\d) .* HLT=(\d)", re.MULTILINE | re.DOTALL)
_REQUESTS = re.compile(r"^ *block\.\d+\.(?:rd|wr)\.reqs=(\d+)$", re.MULTILINE)
_NANOSECONDS = re.compile(r"^ *cpu\.time=(\d+)$", re.MULTILINE)


class Stalled(UnderstudyError):
    """A machine stands still, because its host could not write to its disk."""


def look_at(virsh: Virsh, domain: str) -> None:
    """Look at a machine that has not answered for a while, and reset it where it never will.

    Raises:
        Stalled: it was halted, because this host's disk is full.
        Stopped: the user asked to stop.
    """
    refuse_stalled(virsh, domain)
    try:
        if runs_in_a_circle(virsh, domain):
            virsh.say("its processor runs in a circle, which qemu before 8.1 may bring about: resetting it")
            virsh.run("reset", domain)
    except VirshFailed:  # it is gone, or off: whoever asked it sees that next
        return


def refuse_stalled(virsh: Virsh, domain: str) -> None:
    """Look whether a machine that does not answer was halted because its host's disk is full.

    Raises:
        Stalled: it was; whoever resumes it lets it write again what it could not.

    Source: qemu-system-x86(1), ``werror=enospc``, the default; libvirt's virsh(1), ``domstate --reason``.
    """
    try:
        state = virsh.run("domstate", domain, "--reason").strip()
    except VirshFailed:
        return
    if state == "paused (I/O error)":
        free = shutil.disk_usage(ROOT).free >> 20
        raise Stalled(
            where=domain,
            found=f"libvirt halted it, because this host could not write to its disk: {free} MiB are free in {ROOT}",
            todo="Make room, then run it again: the machine goes on where it was.",
        )


def runs_in_a_circle(virsh: Virsh, domain: str) -> bool:
    """Return whether a processor of an emulated machine is seen in its kernel, at work, each time that it is looked at.

    Linux changes its own code while it runs, behind a breakpoint (a static key). A qemu that translates the place for
    another processor just then may keep the breakpoint for ever: Linux finds none there, goes on, and meets it again.
    Seen with qemu 7.2 and two processors, about once in a hundred boots; the place was in the memory allocator.

    Args:
        virsh: where it is.
        domain: its name.

    Raises:
        VirshFailed: it is not there, or off.
        Stopped: the user asked to stop.
    """
    if parsed(virsh.run("dumpxml", domain)).get("type") != "qemu":
        return False
    first = now = _looked(virsh, domain)
    circling = first.in_kernel
    while circling and now.requests == first.requests:
        if now.seconds - first.seconds >= _CIRCLE_SECONDS:
            return True
        pause(_STEP_SECONDS, domain)
        now = _looked(virsh, domain)
        circling &= now.in_kernel
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """A machine at one moment.

    Args:
        in_kernel: its processors that are in the kernel, and not halted there.
        requests: how many it has made to its disks.
        seconds: of the host's processors that it has taken.
    """

    in_kernel: frozenset[str]
    requests: int
    seconds: float


def _looked(virsh: Virsh, domain: str) -> _Look:
    shown = virsh.run("qemu-monitor-command", "--hmp", domain, "info registers -a").replace("\r", "")
    stats = virsh.run("domstats", "--cpu-total", "--block", domain)
    return _Look(
        in_kernel=frozenset(number for number, ring, halted in _PROCESSOR.findall(shown) if ring == "0" == halted),
        requests=sum(map(int, _REQUESTS.findall(stats))),
        seconds=sum(map(int, _NANOSECONDS.findall(stats))) / 1e9,
    )
