"""The kind ``Template``: what machines of one size wake from, or the reason why they start cold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.errors import UnderstudyError
from provisioners.hypervisor.host import base_disk
from provisioners.hypervisor.template import TemplateSpec, ensure, is_present
from provisioners.hypervisor.virsh import Virsh
from provisioners.outcome import Say, Stopped
from provisioners.provider.inputs import FLAG, TEXT, Rule, failures, number
from provisioners.provider.kinds import Failure, Real, Values

DIGEST = Rule(
    good=lambda value: isinstance(value, str) and len(value) >= 12 and set(value) <= set("0123456789abcdef"),
    allowed="a digest: 12 or more hex digits",
)
ACCELERATOR = Rule(good=lambda value: value in ("tcg", "kvm"), allowed="tcg or kvm")
_SIZES = ("image", "vcpus", "memory_mib", "accelerator", "data_disk", "system_disk_mib", "cmdline")


class Template:
    """Kind ``understudy:index:Template``; the template itself stays in the host's cache when this is deleted."""

    token = "understudy:index:Template"
    secret_outputs: frozenset[str] = frozenset()
    replace_on: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        rules = {
            "image": DIGEST,
            "vcpus": number(1, 512),
            "memory_mib": number(64, 1 << 24),
            "accelerator": ACCELERATOR,
            "system_disk_mib": number(64, 1 << 30),
            "data_disk": FLAG,
            "cmdline": TEXT,
            "warm": FLAG,
        }
        return failures(inputs, rules)

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Find or build the template."""
        outputs = _outputs(inputs, say)
        return outputs["key"] or f"cold-{inputs['image']}", outputs

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return whether it still serves: not where it is gone, or the image's disk, qemu or processor is another."""
        if outputs.get("key"):
            serves = is_present(outputs["key"], Virsh(say=say))
        else:
            serves = not inputs["warm"] and outputs.get("disk_path") == str(base_disk(inputs["image"]))
        return Real(inputs=inputs if serves else {**inputs, "outdated": True}, outputs=outputs)

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Find or build the one for the new size."""
        return _outputs(inputs, say)

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Leave it: other machines and stacks use it too."""


def _outputs(inputs: Values, say: Say) -> Values:
    cold = {"key": "", "disk_path": str(base_disk(inputs["image"])), "warm": False}
    if not inputs["warm"]:
        return {**cold, "reason": "cold: warm start is switched off"}
    try:
        template = ensure(TemplateSpec(**{name: inputs[name] for name in _SIZES}), Virsh(say=say), say)
    except Stopped:
        raise
    except (UnderstudyError, OSError) as error:
        reason = " ".join(str(error).split())
        say(f"no template: {reason}")
        return {**cold, "reason": f"cold: no template could be made: {reason}"}
    reason = f"template {template.key}, built in {template.seconds:.0f} s"
    return {"key": template.key, "disk_path": str(template.disk), "warm": True, "reason": reason}
