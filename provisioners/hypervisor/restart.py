"""What a changed machine goes through, in words, before anything is done. Pure."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from model.libvirt_xml import parsed
from provisioners.hypervisor.sweep import disks_of

_SIZES = (("memory", "{} MiB of memory"), ("vcpu", "{} vCPUs"))


def restart_words(name: str, before: str, after: str) -> str:
    """Return what becomes of a machine whose description changes; empty where it stays as it is.

    Args:
        name: the machine's.
        before: its domain's XML, as we wrote it.
        after: the XML that it is to have.
    """
    if before == after:
        return ""
    old, new = parsed(before), parsed(after)
    sizes = [
        f"{words.format(new.findtext(tag))} ({old.findtext(tag)} now)"
        for tag, words in _SIZES
        if old.findtext(tag) != new.findtext(tag)
    ]
    starts = f"starts with {' and '.join(sizes)}" if sizes else "starts anew"
    return f"{name} is shut down in order and {starts}; {_disks(old, new)}"


def _disks(old: ET.Element, new: ET.Element) -> str:
    before, after = disks_of(old), disks_of(new)
    if before == after:
        return "its disks stay"
    if before.get("vda") == after.get("vda"):
        return "its system disk stays" if "vdb" not in before else "its system disk stays, its data disk does not"
    if "vdb" in before and before["vdb"] == after.get("vdb"):
        return "it gets a new system disk, and its data disk stays"
    return "it gets new disks, and what was on the old ones is gone"
