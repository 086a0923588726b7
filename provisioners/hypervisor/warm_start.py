"""The kind ``WarmStart``: a template's memory, laid where libvirt looks before it starts a machine.

An old memory on a newer disk destroys the disk. So the memory is laid down only where nothing was ever written to the
machine's own system disk: it is then, bit for bit, the template's disk at the moment when the memory was saved. Libvirt
removes the memory as soon as the machine runs. What is found here later is removed only if it is what was laid down.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from model.errors import UnderstudyError
from model.libvirt_xml import parsed, with_links_down
from provisioners.hypervisor.host import MANAGED_SAVES, TEMPLATES, ToolFailed, tool, untouched
from provisioners.hypervisor.template import is_present
from provisioners.hypervisor.template_memory import lay_down
from provisioners.hypervisor.virsh import Virsh
from provisioners.outcome import Say, Stopped
from provisioners.provider.inputs import PATH, TEXT, failures
from provisioners.provider.kinds import Failure, Real, Values


class WarmStart:
    """Kind ``understudy:index:WarmStart``. It never fails for want of warmth: the machine then starts cold."""

    token = "understudy:index:WarmStart"
    secret_outputs: frozenset[str] = frozenset()
    replace_on = frozenset({"domain", "uuid", "volume_id"})
    ignored: frozenset[str] = frozenset()

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        texts = dict.fromkeys(("domain", "uuid", "domain_xml", "template_key", "volume_id"), TEXT)
        return failures(inputs, {**texts, "system_disk_path": PATH})

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Lay the memory down, where that is safe."""
        return inputs["domain"], _place(inputs, {}, say)

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return it as the state has it: a memory that is gone was used, which is what it was for."""
        untouched = bool(outputs.get("untouched")) and _is_untouched(inputs)
        return Real(inputs=inputs, outputs={**outputs, "untouched": untouched})

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Lay the new one down, where that is still safe."""
        return _place(inputs, outputs, say)

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Remove what was laid down and never used."""
        remove_if_ours(inputs["domain"], outputs)


def save_path(domain: str) -> Path:
    """Return where libvirt keeps the memory that a domain is to be started from."""
    return MANAGED_SAVES / f"{domain}.save"


def mark_of(path: Path) -> str:
    """Return what tells this very file from any other that may once have its name; empty where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ""
    return f"{status.st_ino}:{status.st_mtime_ns}:{status.st_size}"


def remove_if_ours(domain: str, outputs: Mapping[str, Any]) -> None:
    """Remove a memory that was laid down by us, and leave one that the user saved."""
    path = save_path(domain)
    if outputs.get("mark") and mark_of(path) == outputs["mark"]:
        path.unlink(missing_ok=True)


def forget_memory(virsh: Virsh, domain: str) -> None:
    """Remove whatever memory a domain would be started from. Virsh alone does not see one that was laid down by us."""
    virsh.run("managedsave-remove", domain)
    save_path(domain).unlink(missing_ok=True)


def _place(inputs: Values, outputs: Values, say: Say) -> Values:
    remove_if_ours(inputs["domain"], outputs)
    path, key = save_path(inputs["domain"]), inputs["template_key"]
    if not key:
        return _stays_cold(inputs, "there is no template for it")
    if mark_of(path):
        return _stays_cold(inputs, "the machine has a saved memory that is not ours")
    if outputs and (reason := _obstacle(inputs)):  # it ran before, as a rule: nothing is copied for that
        return _stays_cold(inputs, reason)
    say("laying the template's memory down")
    with ThreadPoolExecutor(1) as pool:  # programs look at the disk while the memory is copied
        looked = pool.submit(_obstacle, inputs)
        try:
            xml = with_links_down(inputs["domain_xml"])
            reason = lay_down(TEMPLATES / key, path, xml, looked.result)
        except (UnderstudyError, OSError) as error:
            reason = looked.result() or f"the template's memory cannot be laid down: {error}"
    if reason:
        return _stays_cold(inputs, reason)
    return {"placed": True, "reason": f"wakes from template {key}", "mark": mark_of(path), "untouched": True}


def _stays_cold(inputs: Values, reason: str) -> Values:
    return {"placed": False, "reason": f"cold: {reason}", "mark": "", "untouched": _is_untouched(inputs)}


def _is_untouched(inputs: Values) -> bool:
    """Return whether nothing was ever written to its system disk: then the machine does not know yet who it is."""
    try:
        return untouched(Path(inputs["system_disk_path"]))
    except ToolFailed:  # gone, or in use
        return False


def _obstacle(inputs: Values) -> str:
    """Return why the machine must start cold, in a few words; empty where it may wake."""
    key, disk = inputs["template_key"], Path(inputs["system_disk_path"])
    try:
        if not is_present(key, Virsh()):
            return f"template {key} is gone, was written to since, or was made with another qemu or processor"
        if Virsh().state(inputs["domain"]):
            return "the machine ran before, and no memory but its own fits its disk"
        if _backing_file(disk) != TEMPLATES / key / "disk.qcow2":
            return f"its system disk was not made from template {key}"
        if not untouched(disk):
            return "its system disk was written to before, and no memory but its own fits that"
        return _misfit(inputs)
    except Stopped:
        raise
    except UnderstudyError as error:
        return f"its system disk could not be looked at: {error.found}"


def _backing_file(disk: Path) -> Path:
    found = json.loads(tool("qemu-img", "info", "--output=json", "-f", "qcow2", str(disk)))
    return Path(found.get("full-backing-filename") or "/")


def _misfit(inputs: Values) -> str:
    """Return what in the machine's XML is not the machine that is meant."""
    root = parsed(inputs["domain_xml"])
    if root.findtext("name") != inputs["domain"] or root.findtext("uuid") != inputs["uuid"]:
        return "its XML names another machine"
    source = root.find("devices/disk[@device='disk']/source")
    if source is None or source.get("file") != inputs["system_disk_path"]:
        return "its XML names another system disk"
    return ""
