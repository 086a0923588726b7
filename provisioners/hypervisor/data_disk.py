"""The kind ``DataDisk``: how big a machine's data disk is. It is made bigger where it is, while its machine runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from model.errors import UnderstudyError
from provisioners.hypervisor.virsh import Virsh
from provisioners.outcome import Say
from provisioners.provider.inputs import TEXT, failures, number
from provisioners.provider.kinds import Failure, Real, Values

_CAPACITY = re.compile(r"^Capacity: +([0-9]+)$", re.MULTILINE)


class DataDisk:
    """Kind ``understudy:index:DataDisk``; the disk itself is libvirt's volume, which knows no change of its size."""

    token = "understudy:index:DataDisk"
    secret_outputs: frozenset[str] = frozenset()
    replace_on = frozenset({"domain", "path"})
    ignored = frozenset({"key"})

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        texts = dict.fromkeys(("domain", "path", "pool", "key"), TEXT)
        return failures(inputs, {**texts, "size_mib": number(1, 1 << 30)})

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """See that it has its size.

        Raises:
            UnderstudyError: it is bigger than that.
        """
        virsh = Virsh(say=say)
        there = _size_mib(virsh, inputs)
        if there < inputs["size_mib"]:
            say(f"{inputs['domain']}: its data disk becomes bigger: {there} MiB → {inputs['size_mib']} MiB")
            _grow(virsh, inputs)
        elif there > inputs["size_mib"]:
            raise _smaller(inputs, there)
        return inputs["path"], {}

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return how big it really is; None where the machine is gone."""
        virsh = Virsh(say=say)
        if not virsh.state(inputs["domain"]):
            return None
        return Real(inputs={**inputs, "size_mib": _size_mib(virsh, inputs)})

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Make it bigger.

        Raises:
            UnderstudyError: it is bigger already.
        """
        return self.create(inputs, say)[1]

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Leave it: it goes with its volume."""

    def consequence(self, old: Values, inputs: Mapping[str, Any]) -> str:
        """Return that it becomes bigger.

        Raises:
            UnderstudyError: it is to become smaller.
        """
        before, after = old.get("size_mib"), inputs.get("size_mib")
        if not (isinstance(before, int) and isinstance(after, int)) or before == after:
            return ""
        if after < before:
            raise _smaller(inputs, before)
        return (
            f"{inputs['domain']}: its data disk becomes bigger where it is: {before} MiB → {after} MiB; its data stays"
        )


def _size_mib(virsh: Virsh, inputs: Values) -> int:
    told = virsh.run("domblkinfo", inputs["domain"], inputs["path"])
    found = _CAPACITY.search(told)
    if found is None:
        raise UnderstudyError(where=inputs["domain"], found=f"`virsh domblkinfo` says {told!r}", wanted="a capacity")
    return int(found[1]) >> 20


def _grow(virsh: Virsh, inputs: Values) -> None:
    """Make it bigger: through the machine that has it open, or in its file, and let the pool know of it."""
    domain, path, size = inputs["domain"], inputs["path"], inputs["size_mib"] << 20
    if virsh.state(domain) == "shut off":
        virsh.run("vol-resize", path, str(size))
    else:
        virsh.run("blockresize", domain, path, f"{size}B")
    virsh.run("pool-refresh", inputs["pool"])


def _smaller(inputs: Mapping[str, Any], there: int) -> UnderstudyError:
    return UnderstudyError(
        where=str(inputs["key"]),
        found=f"{inputs['size_mib']} MiB; the data disk of {inputs['domain']} has {there} MiB",
        wanted=f"at least {there} MiB: a disk is not made smaller, or what lies at its end is lost",
        todo="Nothing was done to it. Where its data may go, destroy the stack and build it anew.",
    )
