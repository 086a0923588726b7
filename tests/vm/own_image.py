"""A user's own image, as users have it: Debian with its own kernel, boot loader, cloud-init and netplan, partitioned.

Nothing of the project is in it. It is made once per recipe (which is this file) and kept in the project's cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from images import root
from images.recipe import read_recipe
from images.sources import apt_options, read_sources

PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "udev", "dbus", "libpam-systemd", "grub-pc-bin"),
    *("cloud-init", "cloud-guest-utils", "netplan.io", "openssh-server", "iproute2", "e2fsprogs", "procps"),
)
DISK_MIB = 2048
PARTITION_START = 2048  # in sectors of 512 bytes
GRUB = """search --no-floppy --label --set=root own
linux /vmlinuz root=LABEL=own ro console=ttyS0 net.ifnames=1 quiet
initrd /initrd.img
boot
"""
"""What the boot loader does, within its own file: as with Debian's, it waits for nobody here."""


def ensure() -> Path:
    """Return the image, a qcow2 file; build it first where it is missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy" / "test-images"
    image = cache / f"{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]}.qcow2"
    if not image.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            _build(Path(work)).rename(image)
    return image


def _build(work: Path) -> Path:
    tree, raw, image = work / "tree", work / "disk.raw", work / "disk.qcow2"
    recipe = read_recipe()
    sources = work / "image.sources"
    text = read_sources(recipe.suite)
    sources = sources if text.startswith("Types") else sources.with_suffix(".list")
    sources.write_text(text, encoding="utf-8")
    arguments = (
        *("mmdebstrap", "--mode=root", "--variant=minbase", "--architectures=amd64", "--dpkgopt=force-unsafe-io"),
        *('--aptopt=Apt::Install-Recommends "false"', *(f"--aptopt={option}" for option in apt_options())),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.excluded),
        *(f"--include={','.join(PACKAGES)}", recipe.suite, str(tree), *((str(sources),) if text else ())),
    )
    root.run(arguments, "own image: installing", print)
    _boot_loader(tree, work)
    (tree / "etc/fstab").write_text("LABEL=own / ext4 errors=remount-ro 0 1\n")
    for old in (*tree.glob("etc/ssh/ssh_host_*"), *tree.glob("var/cache/apt/archives/*.deb")):
        old.unlink()
    shutil.rmtree(tree / "var/lib/apt/lists", ignore_errors=True)
    (tree / "etc/machine-id").write_text("")
    with raw.open("wb") as disk:
        disk.truncate(DISK_MIB << 20)
    offset = PARTITION_START * 512
    options = ("-q", "-F", "-t", "ext4", "-L", "own", "-E", f"offset={offset}", "-d", str(tree))
    _run("mke2fs", *options, str(raw), f"{DISK_MIB - offset // (1 << 20)}M")
    with raw.open("r+b") as disk:
        disk.write((work / "boot.img").read_bytes()[:446] + partition_table())
        core = (work / "core.img").read_bytes()
        assert len(core) < offset - 512
        disk.write(core)
    _run("qemu-img", "convert", "-c", "-O", "qcow2", str(raw), str(image))
    return image


def partition_table(start: int = PARTITION_START, sectors: int = DISK_MIB * 2048 - PARTITION_START) -> bytes:
    """Return the end of a disk's first sector: one bootable Linux partition, in sectors of 512 bytes."""
    partition = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", start, sectors)
    return partition + bytes(48) + b"\x55\xaa"


def _boot_loader(tree: Path, work: Path) -> None:
    """Make GRUB's first part for the sectors before the partition."""
    modules = ("biosdisk", "part_msdos", "ext2", "search", "search_label", "linux", "normal", "echo")
    (tree / "tmp/grub.cfg").write_text(GRUB)
    make = ("grub-mkimage", "-O", "i386-pc", "-p", "/boot/grub", "-c", "/tmp/grub.cfg", "-o", "/tmp/core.img")
    _run("chroot", str(tree), *make, *modules)
    (tree / "tmp/core.img").rename(work / "core.img")
    (tree / "tmp/grub.cfg").unlink()
    shutil.copy(tree / "usr/lib/grub/i386-pc/boot.img", work / "boot.img")


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv[0]}: {done.stderr}"
