"""An image of the user's own: brought into the cache once, looked at, and then named by its content's digest."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from images import cache
from images.build import IMAGES, Say, alone, run_as_root
from images.disk_format import HEAD_BYTES, SECTOR, DiskFormat, boot_fault, disk_format
from images.root import run
from model.errors import UnderstudyError

_MIB = 1 << 20
_OLD_SECONDS = 7 * 86400
_SELF_CONTAINED = "a qcow2 or raw disk that is whole in itself and boots from a BIOS"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnImagePaths:
    """An image of the user's own in the cache.

    Args:
        digest: SHA-256 of what the path or address held; the directory is named by its first 12 digits.
        disk: a qcow2 file that stands on no other.
        disk_mib: the disk's size, MiB, rounded up.
    """

    digest: str
    disk: Path
    disk_mib: int


def usable(digest: str, images: Path = IMAGES) -> OwnImagePaths | str:
    """Return the image of that digest, or what is wrong with what the cache has of it."""
    directory = images / digest[:12]
    record = cache.whole_record(directory, digest, ("disk.qcow2",))
    if isinstance(record, str):
        return record
    return OwnImagePaths(digest=digest, disk=directory / "disk.qcow2", disk_mib=record["disk_mib"])


def bring(source: str, directory: Path, most_mib: int, say: Say, *, images: Path = IMAGES) -> OwnImagePaths:
    """Bring what a path or an address holds now into the cache.

    Args:
        source: a path, relative to ``directory``, or an http or https address.
        directory: the project's.
        most_mib: how large the disk may be, MiB.
        say: shows progress.
        images: the directory of all images.

    Raises:
        UnderstudyError: it cannot be had, or is no image that can be used; the cache is as it was.
    """
    if os.geteuid() != 0:
        return _bring_as_root(source, directory, most_mib, say, images)
    images.mkdir(mode=0o755, parents=True, exist_ok=True)
    with alone(images / ".own.lock", say):
        _clear_old(images)
        work = Path(tempfile.mkdtemp(prefix=".own-", dir=images))
        try:
            return _take(source, directory, most_mib, say, work)
        except OSError as error:
            raise UnderstudyError(where=source, found=str(error), todo="Mend that, and try again.") from error
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _take(source: str, directory: Path, most_mib: int, say: Say, work: Path) -> OwnImagePaths:
    from images.download import download, forget  # with what speaks HTTP, which takes a moment to import

    images, remote = work.parent, "://" in source
    # The format's own tables take less than an eighth of what they describe.
    most = most_mib * _MIB * 9 // 8
    file = download(source, images, most, say) if remote else _copy(source, directory / source, work, most, say)
    try:
        digest = cache.sha256(file)
        known = usable(digest, images)
        if isinstance(known, str):
            if (images / digest[:12]).exists():
                say(f"image {digest[:12]}: {known}; making it anew")
                shutil.rmtree(images / digest[:12])
            known = _convert(source, file, digest, most_mib, work, say)
        _refuse_large(source, known.disk_mib, most_mib)
        return known
    finally:
        if remote:
            forget(file)


def _copy(source: str, path: Path, work: Path, most: int, say: Say) -> Path:
    """Copy the file, so that nobody changes it between a look at it and its use. Empty parts stay empty."""
    if not path.is_file():
        found = "it is no file" if path.exists() else f"there is no file {path}"
        raise UnderstudyError(where=f"image {source}", found=found, wanted="the path of a qcow2 or raw image")
    size, copy, shown = path.stat().st_size, work / "source", 0.0
    _refuse_large(source, size // _MIB, most // _MIB)
    with path.open("rb") as old, copy.open("wb") as new:
        while piece := old.read(_MIB):
            new.write(piece) if any(piece) else new.seek(len(piece), os.SEEK_CUR)
            if time.monotonic() - shown > 2:
                shown = time.monotonic()
                say(f"image: reading {source}: {old.tell() // _MIB} of {size // _MIB} MiB")
        new.truncate(new.tell())
    return copy


def _convert(source: str, file: Path, digest: str, most_mib: int, work: Path, say: Say) -> OwnImagePaths:
    """Look at a file and make the cache's own image of it."""
    with file.open("rb") as opened:
        found = disk_format(opened.read(HEAD_BYTES))
    if isinstance(found, str):
        raise _unfit(source, found)
    size = found.size_bytes or file.stat().st_size
    disk_mib = -(-size // _MIB)
    _refuse_large(source, disk_mib, most_mib)
    _check(source, file, found)
    disk, whole = work / "whole" / "disk.qcow2", work / "whole"
    whole.mkdir()
    argv = ("qemu-img", "convert", "-f", found.name, "-O", "qcow2", str(file), str(disk))
    run(argv, f"image: making a disk of {source}", say)
    sector = work / "sector"
    one = ("qemu-img", "dd", "-f", "qcow2", "-O", "raw", f"bs={SECTOR}", "count=1", f"if={disk}", f"of={sector}")
    run(one, f"image: looking at {source}", lambda _: None)
    if fault := boot_fault(sector.read_bytes(), size):
        raise _unfit(source, fault)
    cache.seal(whole, digest, {}, names=("disk.qcow2",), disk_mib=disk_mib, source=source)
    whole.chmod(0o755)
    directory = work.parent / digest[:12]
    whole.rename(directory)
    say(f"image {digest[:12]}: {source}, a {found.name} disk of {disk_mib} MiB")
    return OwnImagePaths(digest=digest, disk=directory / "disk.qcow2", disk_mib=disk_mib)


def _check(source: str, file: Path, found: DiskFormat) -> None:
    """Let qemu look too: it must see the same file, and a qcow2 file's tables must be whole."""
    if found.name == "raw":
        if file.stat().st_size % SECTOR:
            raise _unfit(source, f"it is cut short: its {file.stat().st_size} bytes are no whole sectors")
        return
    # Little memory and time: the file comes from somewhere, and its tables may be made to take much of both.
    bounded = (
        "prlimit",
        f"--as={1 << 30}",
        "--cpu=120",
        "qemu-img",
        "check",
        "-f",
        "qcow2",
        "--output=json",
        str(file),
    )
    done = subprocess.run(bounded, capture_output=True, text=True, check=False)
    try:
        told = json.loads(done.stdout)
    except ValueError:
        raise _unfit(source, f"qemu-img cannot read it: {done.stderr.strip()[-300:]}") from None
    if told.get("corruptions") or told.get("check-errors"):
        raise _unfit(source, "it is damaged or cut short (qemu-img check)")


def _refuse_large(source: str, found_mib: int, most_mib: int) -> None:
    if found_mib > most_mib:
        raise UnderstudyError(
            where=f"image {source}",
            found=f"{found_mib} MiB",
            wanted=f"at most {most_mib} MiB, which is what fits in the machines' system_disk",
            todo="Give the machines a larger `system_disk`, or make the image smaller.",
        )


def _unfit(source: str, found: str) -> UnderstudyError:
    todo = "`qemu-img convert -O qcow2` makes such a file of most others; images/README.md says what it must have."
    return UnderstudyError(where=f"image {source}", found=found, wanted=_SELF_CONTAINED, todo=todo)


def _clear_old(images: Path) -> None:
    """Remove what was cut off: copies at once, the lock is ours; downloads that nobody went on with for a week."""
    for work in images.glob(".own-*"):
        shutil.rmtree(work, ignore_errors=True)
    for part in images.glob(".download-*.part"):
        if time.time() - part.stat().st_mtime > _OLD_SECONDS:
            from images.download import forget

            forget(part)


def _bring_as_root(source: str, directory: Path, most_mib: int, say: Say, images: Path) -> OwnImagePaths:
    arguments = (source, "--directory", str(directory), "--most-mib", str(most_mib))
    digest = run_as_root("images.own", arguments, say)
    found = usable(digest, images) if digest else "not in the cache yet, and only root can put it there"
    if isinstance(found, str):
        raise UnderstudyError(
            where=f"image {source}",
            found=found,
            todo=f"Run: sudo ./run python -m images.own {' '.join(arguments)}",
        )
    return found


def main() -> int:
    """Print the image's digest; 1 and a message where it cannot be brought."""
    parser = argparse.ArgumentParser(prog="python -m images.own", description=__doc__)
    parser.add_argument("source", help="a path or an http or https address")
    parser.add_argument("--directory", type=Path, required=True, help="what a relative path is relative to")
    parser.add_argument("--most-mib", type=int, required=True, help="how large the disk may be")
    given = parser.parse_args()
    try:
        found = bring(
            given.source, given.directory, given.most_mib, lambda line: print(line, file=sys.stderr, flush=True)
        )
    except UnderstudyError as error:
        print(f"images.own: {error}", file=sys.stderr)
        return 1
    print(found.digest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
