"""What has become of a machine that does not answer: halted by a full disk, running in a circle, or standing still."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

from model.errors import UnderstudyError
from model.libvirt_xml import parsed
from model.names import ROOT
from provisioners.hypervisor.virsh import Virsh, VirshFailed
from provisioners.outcome import Deadline, pause

_CIRCLE_SECONDS = 40.0
"""So much of the host's processors' time must pass without a request to a disk; a whole boot takes less, and reads."""
_STILL_SECONDS = 30.0
"""A machine that boots asks its disk for something all the time."""
_STEP_SECONDS, _LEAST_LOOKS, _MOST_SECONDS = 2.0, 15, 120.0
_PROCESSOR = re.compile(r"^CPU#(\d+)$.*?^[ER]IP=[^\n]* CPL=(\d) [^\n]* HLT=(\d)", re.MULTILINE | re.DOTALL)
_REQUESTS = re.compile(r"^ *block\.\d+\.(?:rd|wr)\.reqs=(\d+)$", re.MULTILINE)
_NANOSECONDS = re.compile(r"^ *cpu\.time=(\d+)$", re.MULTILINE)


class Stalled(UnderstudyError):
    """A machine stands still, because its host could not write to its disk."""


def look_at(virsh: Virsh, domain: str, *, resets: bool, unborn: bool = False) -> bool:
    """Look at a machine that has not answered for a while, and return whether it was reset, because it never would.

    Args:
        virsh: where it is.
        domain: its name.
        resets: whether it may be.
        unborn: whether it has never answered, for minutes, and so holds nothing: it is enough that it does nothing.

    Raises:
        Stalled: it was halted, because this host's disk is full.
        Stopped: the user asked to stop.
    """
    refuse_stalled(virsh, domain)
    try:
        if not resets:
            return False
        if runs_in_a_circle(virsh, domain):
            why = "a processor of it ran in a circle, as qemu before 8.1 may bring about"
        elif unborn and stands_still(virsh, domain):
            why = f"it never answered, and asked its disks for nothing in {_STILL_SECONDS:.0f} s"
        else:
            return False
        virsh.run("reset", domain)
    except VirshFailed:  # it is gone, or off: whoever asked it sees that next
        return False
    virsh.say(f"{why}: it was reset")
    return True


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
    """Return whether one of an emulated machine's processors is in the kernel, at work, whenever it is looked at.

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
    first, deadline, looks = _looked(virsh, domain), Deadline(_MOST_SECONDS), 1
    before, circling = first, first.in_kernel if first.processors > 1 else frozenset[str]()
    while circling and deadline.left > 0:
        pause(_STEP_SECONDS, domain)
        now, looks = _looked(virsh, domain), looks + 1
        circling &= now.in_kernel
        if now.requests != first.requests or now.seconds == before.seconds:  # it reads, or it is paused
            return False
        if circling and looks >= _LEAST_LOOKS and now.seconds - first.seconds >= _CIRCLE_SECONDS:
            return True
        before = now
    return False


def stands_still(virsh: Virsh, domain: str) -> bool:
    """Return whether a machine runs, and asks its disks for nothing.

    Seen once, of a machine with one processor that was being booted, with qemu 7.2; why is not known.

    Args:
        virsh: where it is.
        domain: its name.

    Raises:
        VirshFailed: it is not there, or off.
        Stopped: the user asked to stop.
    """

    def requests() -> int:
        return _requests(virsh.run("domstats", "--block", domain))

    before, deadline = requests(), Deadline(_STILL_SECONDS)
    while deadline.left > 0:
        pause(min(_STEP_SECONDS, deadline.left), domain)
        if requests() != before:
            return False
    return virsh.state(domain) == "running"


def _requests(stats: str) -> int:
    return sum(map(int, _REQUESTS.findall(stats)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """A machine at one moment.

    Args:
        processors: how many it has.
        in_kernel: its processors that are in the kernel, and not halted there.
        requests: how many it has made to its disks.
        seconds: of the host's processors that it has taken.
    """

    processors: int
    in_kernel: frozenset[str]
    requests: int
    seconds: float


def _looked(virsh: Virsh, domain: str) -> _Look:
    shown = virsh.run("qemu-monitor-command", "--hmp", domain, "info registers -a").replace("\r", "")
    stats = virsh.run("domstats", "--cpu-total", "--block", domain)
    processors = _PROCESSOR.findall(shown)
    return _Look(
        processors=len(processors),
        in_kernel=frozenset(number for number, ring, halted in processors if ring == "0" == halted),
        requests=_requests(stats),
        seconds=sum(map(int, _NANOSECONDS.findall(stats))) / 1e9,
    )
