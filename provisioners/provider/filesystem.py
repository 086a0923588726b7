"""A file system on a disk of a machine: made where the disk is empty, never over data; mounted now and at each boot."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from model.connection import connection_of_url
from model.errors import UnderstudyError
from provisioners.commands import scripted
from provisioners.outcome import CommandFailed, Say
from provisioners.provider.inputs import COMMON, PATH, REACH, Rule, failures, number, optional, text
from provisioners.provider.kinds import Failure, Real, Values
from provisioners.provider.machines import changing, reach_of, reading
from provisioners.shell import Shell

_DEVICE = Rule(good=lambda value: PATH.good(value) and value.startswith("/dev/"), allowed="a device, such as /dev/vdb")
_LABEL = Rule(
    good=lambda value: text(value) and bool(re.match(r"^[A-Za-z0-9_.-]{1,16}$", value)),
    allowed="1 to 16 letters, digits, `_`, `.` or `-`",
)
_MOUNT = Rule(
    good=lambda value: PATH.good(value) and bool(re.match(r"^[A-Za-z0-9_./-]+$", value)),
    allowed="an absolute path of letters, digits, `_`, `.` and `-`",
)
_RULES: Mapping[str, Rule] = {
    **COMMON,
    "device": _DEVICE,
    "label": _LABEL,
    "mount": _MOUNT,
    "disk_mib": optional(number(1, 1 << 30)),
}


class Filesystem:
    """Kind ``understudy:index:Filesystem``; ext4."""

    token = "understudy:index:Filesystem"
    secret_outputs: frozenset[str] = frozenset()
    replace_on = frozenset({"device", "mount"})
    ignored = REACH

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        return failures(inputs, _RULES)

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Make it if the disk is empty, and mount it; on a disk that was made bigger it takes all of it, while in use.

        Raises:
            UnderstudyError: the disk holds something else; nothing was written to it.
        """
        name = inputs["connection"]["name"]
        with changing(inputs, f"the file system of {inputs['device']}", say) as shell:
            say(f"looking at {inputs['device']} of {name}")
            try:
                told = (inputs["device"], inputs["label"], inputs["mount"], str(inputs.get("disk_mib") or 0))
                shell.run(scripted("filesystem", *told), timeout_seconds=900)
            except CommandFailed as error:
                raise UnderstudyError(
                    where=f"{name}: {inputs['device']}",
                    found=error.result.stderr.decode("utf-8", "replace").strip() or error.found,
                    wanted=f"an empty disk, or an ext4 file system with the label {inputs['label']}",
                    todo="Nothing was overwritten. Look at it with `lsblk -f`.",
                ) from error
        return f"{name}:{inputs['mount']}", {}

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return what is really mounted there; in an import, the identifier is ``ssh://[user@]host[:port]/MOUNT``."""
        with reading(inputs, identifier, say) as shell:
            if not inputs:
                return _imported(shell, identifier)
            found = shell.run(
                ("findmnt", "--noheadings", "--output=LABEL", "--mountpoint", inputs["mount"]), check=False
            )
        if found.code != 0:
            return None
        return Real(inputs={**inputs, "label": found.text.strip()})

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Do it again, on a new generation of the machine, with a new label, or on a bigger disk."""
        if old["label"] != inputs["label"] and old["generation"] == inputs["generation"]:
            with changing(inputs, f"the label of {inputs['device']}", say) as shell:
                shell.run(("e2label", inputs["device"], inputs["label"]))
        return self.create(inputs, say)[1]

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Unmount it and forget it; the data stays on the disk."""
        with changing(inputs, f"unmounting {inputs['mount']}", say) as shell:
            shell.run(scripted("unmount", inputs["mount"]))


def _imported(shell: Shell, identifier: str) -> Real | None:
    mount = connection_of_url(identifier)[1]
    asked = {**reach_of(shell), "mount": mount, "device": "/dev/x", "label": "x"}
    if wrong := failures(asked, _RULES):
        raise UnderstudyError(where=identifier, found="; ".join(f"{each.property}: {each.reason}" for each in wrong))
    look = ("findmnt", "--noheadings", "--raw", "--output=SOURCE,FSTYPE,LABEL", "--mountpoint", mount)
    found = shell.run(look, check=False)
    if found.code != 0:
        return None
    device, kind, label, *_ = (*found.text.split(" "), "")
    real = {**asked, "device": device, "label": label}
    if kind != "ext4" or failures(real, _RULES):
        raise UnderstudyError(
            where=identifier,
            found=f"{kind} on {device} with the label {label!r}",
            wanted=f"ext4 on a device, with a label: {_LABEL.allowed}",
        )
    return Real(inputs=real)
