"""The kind ``Boot``: a machine that runs, knows who it is, and answers over SSH. Its deletion is a clean shutdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from model.connection import connection_of
from provisioners.hypervisor import own_image
from provisioners.hypervisor.door import door
from provisioners.hypervisor.identity import PATIENCE_SECONDS
from provisioners.hypervisor.on_its_host import OnItsHost
from provisioners.hypervisor.restart import restart_words
from provisioners.hypervisor.running import Running, is_told
from provisioners.outcome import Deadline, Say
from provisioners.provider.inputs import COMMON, FLAG, TEXT, WORDS, Rule, failures, number, optional
from provisioners.provider.kinds import Failure, Real, Values, has_unknown
from provisioners.shell import Unreachable, connect

_LOOK_SECONDS = 60.0
"""After so long without an answer from a machine, its host looks whether it ever will."""
_IDENTITY = Rule(
    good=lambda value: isinstance(value, dict) and {"hostname", "hosts", "authorized_keys", "cards"} <= value.keys(),
    allowed="hostname, domain, hosts, authorized_keys and cards",
)
_SIZES = Rule(
    good=lambda value: isinstance(value, Mapping) and all(isinstance(size, int) for size in value.values()),
    allowed="the machine's sizes as they are described, by name",
    optional=True,
)
"""Nothing here depends on them: they tell a rehearsal and the gate what the machine was.

A mirror's machine may be smaller than it is described: of a change that does not reach it nothing can be rehearsed.
"""
_TEXTS = (
    *("domain", "uuid", "domain_id", "domain_xml", "host_uri"),
    *("host_private_key", "host_public_key", "image"),
)


class Boot:
    """Kind ``understudy:index:Boot``: what its host does for it, and then its SSH."""

    _there = OnItsHost(Running())
    token, secret_outputs = _there.token, _there.secret_outputs
    replace_on, ignored = _there.replace_on, _there.ignored

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        rules = {
            **dict.fromkeys(_TEXTS, TEXT),
            "host": optional(TEXT),
            "identity": _IDENTITY,
            "connection": COMMON["connection"],
            "private_key": TEXT,
            "volume_ids": WORDS,
            "warm_placed": optional(FLAG),
            "warm_reason": optional(TEXT),
            "untouched": optional(FLAG),
            "sizes": _SIZES,
            "data_disk_mib": optional(number(0, 1 << 30)),
            "running": FLAG,
        }
        return failures(inputs, rules)

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Tell the machine who it is, plug its cables in, and wait until it answers."""
        identifier, outputs = self._there.create(inputs, say)
        waiting = Deadline(0)
        if not inputs["image"]:
            own_image.introduce(inputs, say)
        _wait_for_ssh(inputs, say, lambda: self._tell_again(identifier, inputs, say))
        return identifier, {**outputs, "boot_seconds": round(outputs["boot_seconds"] + waiting.elapsed, 1)}

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return whether it runs, and the generation that its disks really have; None where it is gone."""
        return self._there.read(identifier, inputs, outputs, say)

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Start it where somebody stopped it, and tell it what is new."""
        new = self._there.update(identifier, old, inputs, outputs, say)
        if not inputs["image"] and is_told(old, inputs):
            own_image.tell(old, inputs, say)
        _wait_for_ssh(inputs, say, lambda: self._tell_again(identifier, inputs, say))
        return new

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Shut it down in order; libvirt's own way of deleting is a power cut."""
        self._there.delete(identifier, inputs, outputs, say)

    def foresee(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Values:
        """Return what a start or another identity does not change: the disks stay."""
        known = ("generation", "started", "reason", "boot_seconds")
        if not outputs or has_unknown(inputs.get("volume_ids")):
            return {}
        return {name: outputs[name] for name in known if name in outputs}

    def consequence(self, old: Values, inputs: Mapping[str, Any]) -> str:
        """Return what the machine goes through where its description changes."""
        before, after = old.get("domain_xml"), inputs.get("domain_xml")
        if not (isinstance(before, str) and isinstance(after, str)):
            return ""
        identity = old.get("identity")
        return restart_words(identity["hostname"] if isinstance(identity, Mapping) else old["domain"], before, after)

    def _tell_again(self, identifier: str, inputs: Values, say: Say) -> None:
        """Tell it who it is if it lost that with its power, or as it was reset."""
        self._there.update(identifier, {**inputs, "running": False}, inputs, {}, say)


def _wait_for_ssh(inputs: Values, say: Say, tell_again: Callable[[], object]) -> None:
    connection, deadline, resets = connection_of(inputs["connection"]), Deadline(PATIENCE_SECONDS), True
    while True:
        try:
            with connect(connection, inputs["private_key"], say, min(_LOOK_SECONDS, deadline.left)) as shell:
                shell.greet()
        except Unreachable:
            resets &= not door(inputs["host_uri"]).call("look at silent", inputs["domain"], resets, say=say)
            if deadline.left <= 0:
                raise
            tell_again()
        else:
            return
