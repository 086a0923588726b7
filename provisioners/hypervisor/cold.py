"""Why a machine started cold although a memory was laid down for it, and what becomes of that memory's template."""

from __future__ import annotations

import hashlib
from pathlib import Path

from model.libvirt_xml import COLD_NAMESPACE, parsed
from provisioners.hypervisor.host import ToolFailed, backing_file, read_json
from provisioners.hypervisor.template_memory import RAM, SAVED, is_whole
from provisioners.hypervisor.virsh import Virsh, VirshFailed

_UPSTREAM = "error creating libvirt domain: "


def why_cold(virsh: Virsh, domain: str, disk: Path) -> str:
    """Return the reason in libvirt's words, which the plugin notes where it starts a machine cold within one create.

    Where the template's memory is no longer what was saved, or qemu may no longer map it, it goes, so that nobody tries
    to wake from it again, and the next one is made as it can be used now.

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
    gone, why = _remove_useless(disk, noted)
    return f"{said}; the memory of template {gone} {why}, and is removed" if gone else said


def memory_digest(memory: Path) -> str:
    """Return what names a saved memory's content."""
    with memory.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _remove_useless(disk: Path, said: str) -> tuple[str, str]:
    """Remove the memory that this disk's template has, if it is of no use, and return the template's key and why.

    What machines that run have mapped stays: if they are saved, they need it to come back.
    """
    try:
        template = backing_file(disk).parent
        memory, notes = template / SAVED, read_json(template / "template.json")
        wanted, why = notes.get("memory_sha256"), ""
        if wanted and not (is_whole(template, notes.get("memory")) and memory_digest(memory) == wanted):
            why = "was damaged, or written to since it was saved"
        elif RAM in said:
            why = "cannot be mapped any more"
        if not why:
            return "", ""
        memory.unlink()
    except (ToolFailed, OSError):  # it cannot be told, or another machine has seen to it
        return "", ""
    return template.name, why
