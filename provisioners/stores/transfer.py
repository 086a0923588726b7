"""Brings a backup to the machine that restores it: over SSH, or as a read-only disk of a virtual machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from model import names
from model.errors import UnderstudyError
from provisioners.commands import scripted
from provisioners.hypervisor.virsh import LOCAL, Virsh, VirshFailed
from provisioners.outcome import Say, last_lines
from provisioners.shell import Shell
from provisioners.stores.storage import Tree

_CHUNK = 256 << 10
_DISK_FROM_BYTES = 32 << 20
"""Below this size, sending it is faster than making and attaching a disk."""
_TARGET, _SERIAL = "vdz", "understudy-seed"
_BLOCK = 512
_SHOW_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A file for a machine."""

    path: str
    text: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644


def put_files(shell: Shell, files: Sequence[TextFile], unit: str) -> tuple[str, ...]:
    """Put a unit's files in place at once, enable it, and return the paths of those that changed."""
    archive = bytearray()
    for file in files:
        content = file.text.encode()
        info = tarfile.TarInfo(file.path.lstrip("/"))
        info.size, info.mode, info.uname, info.gname = len(content), file.mode, file.owner, file.group
        archive += info.tobuf() + content + _padding(len(content))
    return tuple(shell.run(scripted("store_files", unit), stdin=bytes(archive) + bytes(2 * _BLOCK)).text.splitlines())


def tar_chunks(tree: Tree, say: Say, *, exact: bool = False) -> Iterator[bytes]:
    """Give files as a tar archive, piece by piece.

    Args:
        tree: the files.
        say: shows progress.
        exact: whether they keep their modes and times; otherwise everybody may read them.
    """
    sent, shown = 0, 0.0
    for name in tree.names:
        with (tree.root / name).open("rb") as file:
            info = tarfile.TarInfo(name)
            status = os.fstat(file.fileno())
            info.size, info.mode = status.st_size, status.st_mode & 0o777 if exact else 0o644
            info.mtime = int(status.st_mtime) if exact else 0
            yield info.tobuf(tarfile.GNU_FORMAT)
            left = info.size
            while left and (piece := file.read(min(_CHUNK, left))):
                left -= len(piece)
                sent += len(piece)
                if time.monotonic() - shown > _SHOW_SECONDS:
                    shown = time.monotonic()
                    say(f"sending the backup: {sent >> 20} of {tree.size_bytes >> 20} MiB")
                yield piece
            if left:
                raise UnderstudyError(where=str(tree.root / name), found="it became shorter while it was read")
            yield _padding(info.size)
    for name, target in tree.links:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.SYMTYPE, target
        yield info.tobuf(tarfile.GNU_FORMAT)
    yield bytes(2 * _BLOCK)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a backup reaches a machine.

    Args:
        domain: the machine's name at libvirt; empty where it is none of ours.
        host_uri: where libvirt is.
    """

    domain: str = ""
    host_uri: str = LOCAL

    def bring(
        self, shell: Shell, tree: Tree, directory: str, say: Say, *, root_reads: bool = True, exact: bool = False
    ) -> None:
        """Make the files readable below a directory of the machine, which is empty.

        Args:
            shell: the machine.
            tree: the files.
            directory: where on the machine.
            say: shows progress.
            root_reads: whether only root will read them; a disk shows them with the owners that they have here.
            exact: whether they keep their modes and times.
        """
        large = root_reads and tree.size_bytes >= _DISK_FROM_BYTES
        if self.domain and self.host_uri == LOCAL and large and _can_attach():
            with suppress(VirshFailed):
                self._attach(shell, tree, directory, say)
                return
            say("the backup cannot be attached as a disk; sending it")
        keeping = ("--no-same-owner", "--same-permissions")
        extract = ("tar", "--extract", f"--directory={directory}", *keeping, "--file=-")
        shell.run(extract, stdin=tar_chunks(tree, say, exact=exact), timeout_seconds=86400)

    def take_away(self, shell: Shell, directory: str) -> None:
        """Forget what `bring` brought; nothing happens where there is nothing."""
        shell.run(scripted("store_unmount", directory))
        if self.domain and self.host_uri == LOCAL and _can_attach():
            self._detach()

    def _attach(self, shell: Shell, tree: Tree, directory: str, say: Say) -> None:
        say("attaching the backup as a disk")
        self._detach()
        image = make_image(tree)
        try:
            virsh = Virsh(uri=self.host_uri, say=say)
            options = ("--targetbus", "virtio", "--mode", "readonly", "--serial", _SERIAL, "--live")
            virsh.run("attach-disk", self.domain, str(image), _TARGET, *options)
        finally:
            image.unlink(missing_ok=True)  # qemu holds it open: with the disk goes the last of it, whatever is killed
        shell.run(scripted("store_mount", f"/dev/disk/by-id/virtio-{_SERIAL}", directory))

    def _detach(self) -> None:
        virsh = Virsh(uri=self.host_uri)
        with suppress(VirshFailed):
            listed = virsh.run("domblklist", self.domain)
            if any(line.split()[:1] == [_TARGET] for line in listed.splitlines()):
                virsh.run("detach-disk", self.domain, _TARGET, "--live")


def _can_attach() -> bool:
    return shutil.which("virsh") is not None and shutil.which("mke2fs") is not None and os.access(names.ROOT, os.W_OK)


def make_image(tree: Tree) -> Path:
    """Return a new file with an ext4 file system that holds the files.

    Raises:
        UnderstudyError: it cannot be made.
    """
    seeds = Path(names.ROOT) / "seeds"
    seeds.mkdir(mode=0o711, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=seeds) as staging:
        for name in tree.names:
            _link(tree.root / name, Path(staging) / "tree" / name)
        for name, target in tree.links:
            (Path(staging) / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(staging) / "tree" / name).symlink_to(target)
        descriptor, path = tempfile.mkstemp(dir=seeds, suffix=".img")
        os.close(descriptor)
        image = Path(path)
        blocks = (tree.size_bytes * 102 // 100 + ((len(tree.names) + len(tree.links)) * 4096) + (8 << 20)) // 4096
        options = ("-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-O", "^has_journal,^metadata_csum", "-L", "seed")
        argv = ("mke2fs", *options, "-d", f"{staging}/tree", str(image), str(blocks))
        result = subprocess.run(argv, capture_output=True, check=False)
    if result.returncode:
        image.unlink(missing_ok=True)
        raise UnderstudyError(where="this computer", found=f"mke2fs: {last_lines(result.stderr)}")
    return image


def _link(source: Path, target: Path) -> None:
    """Put a file into the staging directory: a second name where that is possible, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copy2(source, target)


def environment(**variables: str | int | Iterable[str]) -> Mapping[str, str]:
    """Return variables for a script on a machine, in capitals; several words are joined by spaces."""
    texts = {
        name: value if isinstance(value, str) else str(value) if isinstance(value, int) else " ".join(value)
        for name, value in variables.items()
    }
    return {name.upper(): text for name, text in texts.items()}
