"""A backup as a read-only disk of the virtual machine that restores it: made, attached, and taken away again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath

from model.errors import UnderstudyError
from provisioners.commands import scripted
from provisioners.hypervisor.host import ROOT
from provisioners.hypervisor.seeds import SEEDS, clear_seeds, seed_directory
from provisioners.hypervisor.virsh import Virsh, VirshFailed
from provisioners.outcome import Say, last_lines, pause
from provisioners.shell import Shell
from provisioners.stores.storage import Tree

_TARGET, _SERIAL = "vdz", "understudy-seed"
_BLOCK, _INODE = 4096, 256
_SPARE_BYTES = 8 << 20


class NoDisk(UnderstudyError):
    """The backup cannot be made into a disk here."""


def can_attach() -> bool:
    """Return whether this computer can make and attach disks."""
    return shutil.which("virsh") is not None and shutil.which("mke2fs") is not None and os.access(ROOT, os.W_OK)


def attach(shell: Shell, domain: str, uri: str, tree: Tree, directory: str, say: Say) -> None:
    """Make the files readable below an empty directory of the machine.

    Raises:
        NoDisk: the disk cannot be made.
        VirshFailed: libvirt does not attach it.
        CommandFailed: the machine does not mount it.
    """
    detach(domain, uri)
    with image_of(tree, domain, say) as image:
        say("attaching the backup as a disk")
        options = ("--targetbus", "virtio", "--mode", "readonly", "--serial", _SERIAL, "--live")
        Virsh(uri=uri, say=say).run("attach-disk", domain, str(image), _TARGET, *options)
    shell.run(scripted("store_mount", f"/dev/disk/by-id/virtio-{_SERIAL}", directory))


def detach(domain: str, uri: str) -> None:
    """Take the disk away, where the machine has one, and what killed runs left of theirs."""
    clear_seeds()
    virsh = Virsh(uri=uri)
    with suppress(VirshFailed):
        listed = virsh.run("domblklist", domain)
        if any(line.split()[:1] == [_TARGET] for line in listed.splitlines()):
            virsh.run("detach-disk", domain, _TARGET, "--live")


@contextmanager
def image_of(tree: Tree, domain: str, say: Say) -> Iterator[Path]:
    """Give a file with an ext4 file system that holds the files, for a machine.

    Raises:
        NoDisk: it cannot be made.
    """
    with ExitStack() as stack:
        try:
            image = _made(tree, stack.enter_context(seed_directory(domain)), say)
        except OSError as error:
            raise NoDisk(where=str(SEEDS), found=str(error)) from error
        yield image


def _made(tree: Tree, staging: Path, say: Say) -> Path:
    every = [*tree.names, *(name for name, _ in tree.links)]
    inodes = len(every) + len({above for name in every for above in PurePosixPath(name).parents}) + 1024
    size = tree.size_bytes * 102 // 100 + inodes * (_BLOCK + _INODE) + _SPARE_BYTES
    free = shutil.disk_usage(staging).free
    if free < size:
        raise NoDisk(where=str(SEEDS), found=f"{free >> 20} MiB are free", wanted=f"{size >> 20} MiB")
    links, image = staging / "files" / "tree", staging / "seed.img"
    links.parent.mkdir(mode=0o700)
    links.mkdir()
    for name in tree.names:
        _link(tree.root / name, links / name)
    for name, target in tree.links:
        (links / name).parent.mkdir(parents=True, exist_ok=True)
        (links / name).symlink_to(target)
    features = ("-O", "^has_journal,^metadata_csum,^resize_inode", "-N", str(inodes))
    options = ("-q", "-F", "-t", "ext4", "-b", str(_BLOCK), "-m", "0", *features, "-L", "seed")
    _run(("mke2fs", *options, "-d", str(links), str(image), str(size // _BLOCK)), image, tree.size_bytes, say)
    return image


def _run(argv: tuple[str, ...], image: Path, size_bytes: int, say: Say) -> None:
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    said, _ = process.communicate(timeout=0.5)
                    break
                written = image.stat().st_blocks * 512 if image.exists() else 0
                say(f"making a disk of the backup: {written >> 20} of {size_bytes >> 20} MiB")
                pause(0, str(image))
        finally:
            process.kill()
    if process.returncode:
        raise NoDisk(where="this computer", found=f"mke2fs: {last_lines(said)}")


def _link(source: Path, target: Path) -> None:
    """Put a file into the staging directory: a second name where that is possible, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copy2(source, target)
