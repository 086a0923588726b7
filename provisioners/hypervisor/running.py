"""What is done for a machine on its host: it is started, told who it is, looked at, and shut down."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from model.errors import UnderstudyError
from provisioners.hypervisor import fence
from provisioners.hypervisor.cold import why_cold
from provisioners.hypervisor.fence_rules import fences_of
from provisioners.hypervisor.host import ToolFailed, tool
from provisioners.hypervisor.identity import PATIENCE_SECONDS, ask, plug_in, tell
from provisioners.hypervisor.virsh import Absent, Virsh, VirshFailed, wait_for_state
from provisioners.hypervisor.warm_start import forget_memory, save_path
from provisioners.outcome import Deadline, Say, Stopped
from provisioners.provider.kinds import Failure, Real, Values

_SHUTDOWN_SECONDS = 90.0
_ASK_AGAIN_SECONDS = 15.0
_ANSWER_SECONDS = 5.0
_NO_NAME = "(none)"
"""Linux has this name until it is given one."""
_TOLD = ("identity", "host_private_key", "host_public_key")
"""Inputs that the machine is told over its channel."""


class Running:
    """The host's part of the kind ``Boot``, which adds what needs the machine's SSH."""

    token = "understudy:index:Boot"
    secret_outputs: frozenset[str] = frozenset()
    replace_on = frozenset({"domain", "uuid", "domain_id", "domain_xml"})
    ignored = frozenset({"connection", "private_key", "warm_placed", "warm_reason", "untouched", "sizes"})

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """`Boot` checks them."""
        return ()

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Tell the machine who it is, and plug its cables in."""
        virsh, began = Virsh(say=say), time.time()
        state, _ = _start(virsh, inputs, say)
        started = "warm" if "restored" in state else "cold"
        _introduce(virsh, inputs, say, unborn=True)
        reason = inputs.get("warm_reason") or "cold"
        if started == "cold" and inputs.get("warm_placed"):
            reason = f"cold: {why_cold(virsh, inputs['domain'], Path(inputs['volume_ids'][0]))}"
        outputs = {
            "generation": generation(inputs["volume_ids"]),
            "started": started,
            "reason": reason,
            "boot_seconds": time.time() - (_process_start(inputs["domain"]) or began),
        }
        return inputs["uuid"], outputs

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return whether it runs, and the generation that its disks really have; None where it is gone."""
        virsh = Virsh(say=say)
        state = virsh.state(inputs["domain"])
        if not state:
            return None
        try:
            real = generation(inputs["volume_ids"])
        except ToolFailed:  # a disk is gone, and with it the machine, even if it still runs
            return None
        runs = state == "running" and not _waits(virsh, inputs, say)
        return Real(inputs={**inputs, "running": runs}, outputs={**outputs, "generation": real})

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Start it where somebody stopped it, and tell it what is new, or what it has lost."""
        virsh = Virsh(say=say)
        _, was_off = _start(virsh, inputs, say)
        was_off |= not old.get("running", True)  # the update of libvirt's domain has started it
        if is_told(old, inputs) or (was_off and _waits_to_be_told(virsh, inputs, say)):
            _introduce(virsh, inputs, say)
        return {**outputs, "generation": generation(inputs["volume_ids"])}

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Shut it down in order; libvirt's own way of deleting is a power cut."""
        shut_down(Virsh(say=say), inputs["domain"], say)


def is_told(old: Values, inputs: Values) -> bool:
    """Return whether there is something new that the machine must be told."""
    return any(old.get(name) != inputs[name] for name in _TOLD)


def generation(paths: Sequence[str]) -> str:
    """Return what names these very disks: another as soon as one of them is made anew, even under the same name.

    Raises:
        ToolFailed: a disk is missing.
    """
    births = tool("stat", "--format=%n %i %w", "--", *paths)
    return sha256(births.encode()).hexdigest()[:16]


def shut_down(virsh: Virsh, domain: str, say: Say, seconds: float = _SHUTDOWN_SECONDS) -> None:
    """Press the power button and wait; a machine that does not end in time, or cannot, is switched off."""
    deadline = Deadline(seconds)
    while virsh.state(domain) == "running" and deadline.left > 0:
        say(f"shutting down ({deadline.elapsed:.0f} s)")
        _ignoring_a_stopped(virsh, "shutdown", domain)
        if wait_for_state(virsh, domain, ("shut off", ""), min(_ASK_AGAIN_SECONDS, max(deadline.left, 1))):
            return
    if virsh.state(domain) not in ("shut off", ""):
        say("it does not shut down: switching it off")
        _ignoring_a_stopped(virsh, "destroy", domain)


def _ignoring_a_stopped(virsh: Virsh, verb: str, domain: str) -> None:
    try:
        virsh.run(verb, domain)
    except VirshFailed:
        if virsh.state(domain) not in ("shut off", ""):
            raise


def _start(virsh: Virsh, inputs: Values, say: Say) -> tuple[str, bool]:
    """Make it run, on the disks that it has now; return its state, with libvirt's reason, and if it was off."""
    domain = inputs["domain"]
    state = _state_and_reason(virsh, domain)
    if not state:
        raise UnderstudyError(
            where=domain,
            found="libvirt does not know it",
            todo="Run `pulumi refresh`, then `pulumi up`: it is made again.",
        )
    if state.startswith("running") and _runs_on_disks_that_are_gone(domain, inputs["volume_ids"]):
        say("it runs on a disk that is gone: starting it on its new one")
        virsh.run("destroy", domain)
        state = "shut off"
    is_off = not state.startswith(("running", "paused"))
    if not state.startswith("running"):
        say("starting")
        virsh.run("start" if is_off else "resume", domain)
        state = _state_and_reason(virsh, domain)
    if save_path(domain).exists():  # it runs: from now on no saved memory fits its disk
        forget_memory(virsh, domain)
    return state, is_off


def _state_and_reason(virsh: Virsh, domain: str) -> str:
    """Return such as ``running (restored)``; empty where there is no such machine."""
    try:
        return virsh.run("domstate", domain, "--reason").strip()
    except Absent:
        return ""


def _runs_on_disks_that_are_gone(domain: str, paths: Sequence[str]) -> bool:
    since = _process_start(domain)
    births = tool("stat", "--format=%W", "--", *paths).split()
    return since > 0 and any(float(birth) > since for birth in births)


def _process_start(domain: str) -> float:
    """Return when the machine's process was started, in seconds since 1970; 0 where that cannot be told."""
    try:
        return Path(f"/run/libvirt/qemu/{domain}.pid").stat().st_mtime
    except OSError:
        return 0.0


def _waits(virsh: Virsh, inputs: Values, say: Say) -> bool:
    """Return whether a machine waits to be told who it is; not where it does not answer soon."""
    try:
        return _waits_to_be_told(virsh, inputs, say, _ANSWER_SECONDS, resets=False)
    except Stopped:
        raise
    except UnderstudyError:
        return False


def _waits_to_be_told(
    virsh: Virsh, inputs: Values, say: Say, seconds: float = PATIENCE_SECONDS, *, resets: bool = True
) -> bool:
    """Return whether a machine of our image waits to be told who it is, as after a power cut in its first seconds."""
    if not inputs["image"]:
        return False
    ping, doing = {"version": 1, "ping": True}, "asking it who it is"
    reply = ask(virsh, inputs["domain"], ping, seconds=seconds, say=say, doing=doing, resets=resets)
    return reply.get("hostname") == _NO_NAME


def _introduce(virsh: Virsh, inputs: Values, say: Say, *, unborn: bool = False) -> None:
    """Tell a machine of our image who it is, then plug its cables in."""
    domain, identity = inputs["domain"], inputs["identity"]
    for table in fences_of(inputs["domain_xml"]):
        fence.assure(table)
    if inputs["image"]:
        tell(
            virsh,
            domain,
            identity,
            say,
            private_key=inputs["host_private_key"],
            public_key=inputs["host_public_key"],
            domain_uuid=inputs["uuid"],
            unborn=unborn,
        )
    plug_in(virsh, domain, identity)
