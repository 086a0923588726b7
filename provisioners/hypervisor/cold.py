"""Why a machine started cold although a memory was laid down for it, and what becomes of that memory's template."""

from __future__ import annotations

import hashlib
from pathlib import Path

from model.libvirt_xml import COLD_NAMESPACE, parsed
from provisioners.hypervisor.host import ToolFailed, backing_file, read_json
from provisioners.hypervisor.template_memory import SAVED, is_whole
from provisioners.hypervisor.virsh import Virsh, VirshFailed

_UPSTREAM = "error creating libvirt domain: "


def why_cold(virsh: Virsh, domain: str, disk: Path) -> str:
    """Return the reason in libvirt's words, which the plugin notes where it starts a machine cold within one create.

    Where the template's memory is no longer what was saved, it goes, so that nobody tries to wake from it again.

    Args:
        virsh: the machine's host.
        domain: its name there.
        disk: its system disk.
    """
    try:
        noted = parsed(virsh.run("metadata", domain, COLD_NAMESPACE, "--config")).text or ""
    except VirshFailed:
        return "no saved memory was left for this start"
    said = f"the template's memory did not wake: {noted.removeprefix(_UPSTREAM)}"
    gone = _remove_damaged(disk)
    return f"{said}; the memory of template {gone} was damaged, and is removed" if gone else said


def memory_digest(memory: Path) -> str:
    """Return what names a saved memory's content."""
    with memory.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _remove_damaged(disk: Path) -> str:
    """Remove the memory that this disk's template has, if it is damaged, and return the template's key if it was."""
    try:
        template = backing_file(disk).parent
        memory, notes = template / SAVED, read_json(template / "template.json")
        wanted = notes.get("memory_sha256")
        if not wanted or (is_whole(template, notes.get("memory")) and memory_digest(memory) == wanted):
            return ""
        memory.unlink()
    except (ToolFailed, OSError):  # it cannot be told, or another machine has seen to it
        return ""
    return template.name
