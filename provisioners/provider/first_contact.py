"""The kind ``FirstContact``: a machine in a cloud that answers, and no longer with the host key that others can read.

What a machine is told at its first boot stays readable in a cloud: in its own records, and on the machine itself. So
the host key in there is good for one connection. Over that the machine gets its real one, which is in no record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from model.connection import connection_of
from provisioners.hypervisor.own_image import Way, answers, settle_over_the_first
from provisioners.outcome import Deadline, Say
from provisioners.provider.inputs import COMMON, TEXT, WORDS, Rule, failures
from provisioners.provider.kinds import Failure, Real, Values
from provisioners.shell import connect

_IDENTITY = Rule(
    good=lambda value: isinstance(value, dict) and {"hostname", "hosts", "authorized_keys", "cards"} <= value.keys(),
    allowed="hostname, domain, hosts, authorized_keys and cards",
)
_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("machine_id", "first_public_key", "host_private_key", "host_public_key"), TEXT),
    "identity": _IDENTITY,
    "disk_ids": WORDS,
    "connection": COMMON["connection"],
    "private_key": TEXT,
}
_REASON = "cold: a cloud has no memory of it that could wake"
_LONG_SECONDS = 1800.0
_AGAIN_SECONDS = 120.0


class FirstContact:
    """Kind ``understudy:index:FirstContact``."""

    token = "understudy:index:FirstContact"
    secret_outputs: frozenset[str] = frozenset()
    replace_on = frozenset({"machine_id"})
    ignored = frozenset({"connection", "private_key", "first_public_key"})

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        return failures(inputs, _RULES)

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Reach it by the key of its first boot, and leave it with its own; by its own, where that was done before."""
        usual, took = (connection_of(inputs["connection"]), inputs["private_key"]), Deadline(_LONG_SECONDS)
        ways = [usual]
        if not answers(usual):
            first = " ".join(inputs["first_public_key"].split()[:2])
            ways.insert(0, (replace(usual[0], host_key=first), usual[1]))
        say("its first contact")
        settle_over_the_first(ways, inputs, say)
        _prove(usual, say)
        outputs = {"started": "cold", "reason": _REASON, "boot_seconds": round(took.elapsed, 1)}
        return inputs["machine_id"], {"generation": generation(inputs), **outputs}

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return it as it was: whether it runs is told by the cloud, and what is on it by what is there."""
        return Real(inputs=inputs, outputs=outputs)

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Tell it what is new: names of others, and keys; it is still reached as before."""
        ways = [(connection_of(each["connection"]), each["private_key"]) for each in (old, inputs)]
        settle_over_the_first(ways, inputs, say)
        _prove(ways[-1], say)
        return {**outputs, "generation": generation(inputs)}

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Do nothing: the cloud ends the machine, in order."""

    def foresee(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Values:
        """Return what another name or key does not change."""
        known = {key: outputs[key] for key in ("started", "reason", "boot_seconds") if key in outputs}
        if not known or any(not isinstance(item, str) for item in inputs["disk_ids"]):
            return known
        return {**known, "generation": generation(inputs)}


def _prove(usual: Way, say: Say) -> None:
    """See that it answers with its own key, and with no other."""
    with connect(*usual, say, _AGAIN_SECONDS) as shell:
        shell.greet()


def generation(inputs: Mapping[str, Any]) -> str:
    """Return what names these very disks: a machine that is made anew has a new system disk.

    >>> generation({"machine_id": "i-1", "disk_ids": ["vol-1"]})
    '1bd7cac6954ced8e'
    """
    return sha256("\n".join((inputs["machine_id"], *inputs["disk_ids"])).encode()).hexdigest()[:16]
