"""Brings a backup to the machine that restores it: over SSH, or as a read-only disk of a virtual machine."""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from model.errors import UnderstudyError
from provisioners.commands import scripted
from provisioners.hypervisor.virsh import LOCAL, VirshFailed
from provisioners.outcome import CommandFailed, Say
from provisioners.shell import Shell
from provisioners.stores import seed_disk
from provisioners.stores.storage import Tree

_CHUNK = 256 << 10
_DISK_FROM_BYTES = 32 << 20
"""Below this size, sending it is faster than making and attaching a disk."""
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


def put_files(
    shell: Shell, files: Sequence[TextFile], unit: str, first: Sequence[TextFile] = (), serves: str = ""
) -> tuple[str, ...]:
    """Put a unit's files in place at once, enable it, and return the paths of those that changed.

    Args:
        shell: the machine.
        files: what is always to be so.
        unit: the unit.
        first: what it begins with: left as it is where there is a file, and ``serves``.
        serves: the path that is there once data serves.
    """
    archive = bytearray()
    for file in (*files, *first):
        content = file.text.encode()
        info = tarfile.TarInfo(file.path.lstrip("/"))
        info.size, info.mode, info.uname, info.gname = len(content), file.mode, file.owner, file.group
        archive += info.tobuf() + content + _padding(len(content))
    script = scripted("store_files", unit, serves, *(file.path for file in first))
    return tuple(shell.run(script, stdin=bytes(archive) + bytes(2 * _BLOCK)).text.splitlines())


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
        if large and self._by_disk:
            try:
                seed_disk.attach(shell, self.domain, self.host_uri, tree, directory, say)
            except (seed_disk.NoDisk, VirshFailed, CommandFailed) as error:
                say(f"the backup cannot be attached as a disk ({error.found}); sending it")
                seed_disk.detach(self.domain, self.host_uri)
            else:
                return
        keeping = ("--no-same-owner", "--same-permissions")
        extract = ("tar", "--extract", f"--directory={directory}", *keeping, "--file=-")
        shell.run(extract, stdin=tar_chunks(tree, say, exact=exact), timeout_seconds=86400)

    def take_away(self, shell: Shell, directory: str) -> None:
        """Forget what `bring` brought; nothing happens where there is nothing."""
        shell.run(scripted("store_unmount", directory))
        if self._by_disk:
            seed_disk.detach(self.domain, self.host_uri)

    @property
    def _by_disk(self) -> bool:
        return bool(self.domain) and self.host_uri == LOCAL and seed_disk.can_attach()


def environment(**variables: str | int | Iterable[str]) -> Mapping[str, str]:
    """Return variables for a script on a machine, in capitals; several words are joined by spaces."""
    texts = {
        name: value if isinstance(value, str) else str(value) if isinstance(value, int) else " ".join(value)
        for name, value in variables.items()
    }
    return {name.upper(): text for name, text in texts.items()}
