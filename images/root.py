"""The steps of a build: packages, our files, the initial RAM disk, the disk."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from images import initramfs
from images.recipe import Recipe
from images.sources import apt_options, read_sources
from model.errors import UnderstudyError

Say = Callable[[str], None]
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NEEDED = {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "qemu-img": "qemu-utils"}
"""Programs that a build runs, and the Debian packages that have them."""


def build(recipe: Recipe, work: Path, say: Say) -> Path:
    """Build the image's files in a directory under ``work`` and return that directory; not sealed yet.

    Raises:
        UnderstudyError: a program is missing or fails; says which and shows its last lines.
    """
    _check_programs()
    tree, whole = work / "tree", work / "whole"
    whole.mkdir()
    _install(recipe, work, tree, say)
    _adjust(recipe, tree)
    _boot_files(recipe, tree, whole)
    _disk(recipe, tree, work, whole, say)
    return whole


def installed(work: Path) -> dict[str, str]:
    """Return the packages of the image that was just built in ``work``, with their versions."""
    status = (work / "tree/var/lib/dpkg/status").read_text(encoding="utf-8")
    return dict(sorted(re.findall(r"^Package: (\S+)\n(?:[^\n]+\n)*?Version: (\S+)\n", status, re.MULTILINE)))


def _check_programs() -> None:
    missing = sorted({package for program, package in NEEDED.items() if not shutil.which(program)})
    if missing:
        raise UnderstudyError(
            where="image",
            found=f"programs are missing: {', '.join(missing)}",
            todo=f"Run: sudo apt-get install {' '.join(missing)}",
        )


def install_arguments(recipe: Recipe, tree: Path, sources: Path | None, options: Sequence[str]) -> tuple[str, ...]:
    """Return the command that unpacks and configures the packages into ``tree``."""
    excluded = tuple(f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.excluded)
    return (
        *("mmdebstrap", "--mode=root", "--variant=minbase", f"--architectures={recipe.architecture}"),
        *('--aptopt=Apt::Install-Recommends "false"', "--dpkgopt=force-unsafe-io", *excluded),
        *(f"--aptopt={option}" for option in options),
        f"--include={','.join(recipe.packages)}",
        *(recipe.suite, str(tree)),
        *((str(sources),) if sources else ()),
    )


def _install(recipe: Recipe, work: Path, tree: Path, say: Say) -> None:
    sources = work / "image.sources"
    text = read_sources(recipe.suite)
    sources = sources if text.startswith("Types") else sources.with_suffix(".list")
    sources.write_text(text, encoding="utf-8")
    arguments = install_arguments(recipe, tree, sources if text else None, apt_options())
    # No general initial RAM disk is made: the image has one of its own.
    run(arguments, f"image: installing {len(recipe.packages)} packages and what they need", say, {"INITRD": "No"})


def _adjust(recipe: Recipe, tree: Path) -> None:
    for pattern in (*recipe.removed, "etc/apt/sources.list", "etc/apt/sources.list.d/*"):
        for path in tree.glob(pattern):
            _remove(path)
    for file in recipe.files:
        _write(tree / file.path, file.content, file.mode)
    _adjust_units(recipe, tree / "etc/systemd/system")
    (tree / "etc/machine-id").write_text("uninitialized\n", encoding="ascii")
    (tree / "etc/default/locale").write_text(f"LANG={recipe.locale}\n", encoding="ascii")
    (tree / "etc/fstab").write_text("# The system disk is mounted by the initial RAM disk.\n", encoding="ascii")
    for name in ("etc/.updated", "var/.updated"):  # nothing is to be brought up to date at the first boot
        (tree / name).touch()


def _adjust_units(recipe: Recipe, units: Path) -> None:
    for wants in units.glob("*.wants"):
        for unit in recipe.disabled:
            (wants / unit).unlink(missing_ok=True)  # by name: where the link leads is meant for the image, not for here
    _mask(units, recipe.masked)
    _mask(units.parent / "system-generators", recipe.masked_generators)
    _mask(units.parents[1] / "udev/rules.d", recipe.masked_rules)
    sockets = units / "sockets.target.wants"
    sockets.mkdir(exist_ok=True)
    (sockets / "ssh.socket").symlink_to("/etc/systemd/system/ssh.socket")
    for unit in recipe.late:
        _write(units / f"{unit}.d/late.conf", LATE, 0o644)


def _mask(directory: Path, names: tuple[str, ...]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        _remove(directory / name)
        (directory / name).symlink_to("/dev/null")


LATE = b"[Service]\nNice=10\n"


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _boot_files(recipe: Recipe, tree: Path, whole: Path) -> None:
    kernels = sorted((tree / "boot").glob("vmlinuz-*"))
    if len(kernels) != 1:
        raise UnderstudyError(where="image", found=f"{len(kernels)} kernels", wanted="one kernel")
    version = kernels[0].name.removeprefix("vmlinuz-")
    modules = tree / "usr/lib/modules" / version
    lists = [(modules / name).read_text(encoding="ascii") for name in ("modules.dep", "modules.builtin")]
    order = initramfs.load_order(recipe.modules, lists[0], lists[1])
    drivers = {path.rsplit("/", 1)[-1]: (modules / path).read_bytes() for path in order}
    early = {path: (tree / path).read_bytes() for path in recipe.early}
    entries = initramfs.entries(recipe.init, recipe.init_modules, early, drivers)
    (whole / "initrd.img").write_bytes(initramfs.archive(entries))
    shutil.copyfile(kernels[0], whole / "vmlinuz")


def _disk(recipe: Recipe, tree: Path, work: Path, whole: Path, say: Say) -> None:
    raw, disk = work / "disk.raw", whole / "disk.qcow2"
    # A small journal, and inode tables made here and not by each clone at its first mount.
    options = ("-t", "ext4", "-L", "system", "-J", "size=32", "-E", "lazy_itable_init=0,nodiscard")
    make = ("mke2fs", "-q", *options, "-d", str(tree), str(raw), f"{recipe.disk_mib}M")
    run(make, "image: making the file system", say)
    # Not compressed: unpacking would be paid for at each machine's boot, and only once does the size matter.
    run(("qemu-img", "convert", "-O", "qcow2", str(raw), str(disk)), "image: making the disk", say)


def run(argv: Sequence[str], what: str, say: Say, environment: dict[str, str] | None = None) -> None:
    """Run a program of the build, say what it does, and say every ten seconds that it still does.

    Raises:
        UnderstudyError: it fails; its last lines are in the message.
    """
    say(what)
    clean = {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8", **(environment or {})}
    # What a builder that was killed had started ends with it, and does not write beside the next one.
    bound = ("setpriv", "--pdeathsig", "TERM", *argv)
    with _ticking(what, say):
        result = subprocess.run(
            bound, env=clean, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    if result.returncode:
        tail = "\n".join(result.stdout.decode(errors="replace").splitlines()[-15:])
        found = f"{argv[0]} ended with {result.returncode}:\n{tail}"
        raise UnderstudyError(where=what, found=found, todo="Mend what it names, and try again.")


@contextmanager
def _ticking(what: str, say: Say) -> Iterator[None]:
    ended, began = threading.Event(), time.monotonic()

    def tick() -> None:
        while not ended.wait(10):
            say(f"{what} ({time.monotonic() - began:.0f} s)")

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
