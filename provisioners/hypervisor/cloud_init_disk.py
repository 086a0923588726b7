"""The NoCloud disk of a machine's first boot, on its host: plugged into the running machine only, and out again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from model.errors import UnderstudyError
from provisioners.hypervisor.host import tool
from provisioners.hypervisor.seeds import seed_directory
from provisioners.hypervisor.virsh import Virsh, VirshFailed
from provisioners.outcome import Deadline, Say, pause

_TARGET = "vdy"
_LAST_SLOT = "pci:0000.00.1f.0"
"""Behind all other disks: the machine counts them by their places on the bus."""
_UNPLUG_SECONDS = 60.0


def start_with(domain: str, files: Mapping[str, str], say: Say) -> None:
    """Start it anew with the NoCloud disk in it: nothing that its first seconds without one have done is of use."""
    virsh = Virsh(say=say)
    with seed_directory(domain) as directory:
        disk = _disk(directory, files)
        if virsh.state(domain) != "shut off":
            virsh.run("destroy", domain)
        virsh.run("start", domain, "--paused")
        how = ("--targetbus", "virtio", "--mode", "readonly", "--driver", "qemu", "--subdriver", "raw", "--live")
        virsh.run("attach-disk", domain, str(disk), _TARGET, "--address", _LAST_SLOT, *how)
    virsh.run("resume", domain)


def _disk(directory: Path, files: Mapping[str, str]) -> Path:
    contents, disk = directory / "contents", directory / "cidata.iso"
    contents.mkdir(mode=0o700)  # qemu, which is another user, is given the disk alone
    for name, text in files.items():
        (contents / name).write_text(text, encoding="utf-8")
    disk.touch(mode=0o600)
    tool("genisoimage", "-quiet", "-volid", "cidata", "-joliet", "-rock", "-output", str(disk), str(contents))
    return disk


def unplug(domain: str, say: Say) -> None:
    """Take the disk out of the machine, where it has one.

    Raises:
        UnderstudyError: the machine holds on to it.
    """
    virsh, deadline = Virsh(say=say), Deadline(_UNPLUG_SECONDS)
    while any(line.split()[:1] == [_TARGET] for line in virsh.run("domblklist", domain).splitlines()):
        if deadline.left <= 0:
            raise UnderstudyError(
                where=domain,
                found=f"it does not let go of its cloud-init disk ({_TARGET})",
                todo="See whether something has it mounted (`lsblk`); then run it again.",
            )
        say("unplugging the cloud-init disk")
        with suppress(VirshFailed):  # asked for already: the machine takes its time
            virsh.run("detach-disk", domain, _TARGET, "--live")
        pause(0.5, domain)
