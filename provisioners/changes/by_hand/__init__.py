"""The by-hand equivalent of what Understudy does to machines, disks and networks: with virsh, aws, gcloud, az. Pure."""

from __future__ import annotations

from model.change.document import Part
from model.change.planned import FILESYSTEM, Planned
from provisioners.changes.by_hand import aws, az, gcloud, virsh
from provisioners.changes.by_hand.common import grown_inside

_BUILDERS = {**virsh.BUILDERS, **aws.BUILDERS, **gcloud.BUILDERS, **az.BUILDERS, FILESYSTEM: grown_inside}
_MACHINES = (
    "libvirt:index/domain:Domain",
    "aws:ec2/instance:Instance",
    "gcp:compute/instance:Instance",
    "azure:compute/linuxVirtualMachine:LinuxVirtualMachine",
)
_RESTARTING = frozenset({"instanceType", "machineType", "size"})
"""Of a rented machine: what it has to be stopped for."""


def parts_of(planned: Planned) -> tuple[Part, ...]:
    """Return what is typed instead of one planned step; nothing where nobody types anything."""
    build = _BUILDERS.get(planned.kind)
    return build(planned) if build else ()


def restarts(planned: Planned) -> bool:
    """Return whether a machine is away while a planned step is done."""
    if planned.kind not in _MACHINES or planned.operation not in ("update", "replace"):
        return False
    return planned.kind == _MACHINES[0] or planned.operation == "replace" or bool(_RESTARTING & {*planned.differing})


def in_words(planned: Planned) -> str:
    """Return what Understudy itself does, where a person would type nothing.

    >>> in_words(Planned(operation="update", kind="understudy:index:Fence", name="fence", differing=("ruleset",)))
    'Fence fence is changed (ruleset)'
    """
    verbs = {"create": "is made", "update": "is changed", "replace": "is made anew", "delete": "is taken away"}
    differing = f" ({', '.join(planned.differing[:5])})" if planned.differing else ""
    return f"{planned.kind.rpartition(':')[2]} {planned.name} {verbs[planned.operation]}{differing}"
