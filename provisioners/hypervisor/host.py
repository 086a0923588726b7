"""What lies where on the host, and small questions to it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
from pathlib import Path
from typing import Any

from model.errors import UnderstudyError
from model.names import ROOT as _ROOT
from provisioners.outcome import Say, last_lines, pause

ROOT = Path(os.environ.get("UNDERSTUDY_ROOT") or _ROOT)
IMAGES = ROOT / "images"
TEMPLATES = ROOT / "templates"
FENCES = ROOT / "fences"
STACKS = ROOT / "stacks"
MANAGED_SAVES = Path("/var/lib/libvirt/qemu/save")


class ToolFailed(UnderstudyError):
    """A program on the host refused."""


def base_disk(image: str) -> Path:
    """Return the disk that machines of an image are linked to: another build of the same recipe has another."""
    return (IMAGES / image / "disk.qcow2").resolve()


def tool(*argv: str, timeout_seconds: float = 120, stdin: str = "") -> str:
    """Run a program on this host and return what it printed.

    Raises:
        ToolFailed: it is missing, refused, or took too long.
    """
    try:
        done = subprocess.run(
            argv,
            input=stdin.encode(),
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError:
        raise ToolFailed(
            where="this host", found=f"the command {argv[0]} is missing", todo="Run `./run`: it says what to install."
        ) from None
    except subprocess.TimeoutExpired:
        raise ToolFailed(where="this host", found=f"`{argv[0]}` did not end in {timeout_seconds:g} s") from None
    if done.returncode:
        raise ToolFailed(
            where="this host", found=f"`{' '.join(argv[:3])}`: {last_lines(done.stderr or done.stdout, 4)}"
        )
    return done.stdout.decode("utf-8", "replace")


@contextmanager
def locked(path: Path, say: Say, why: str) -> Iterator[None]:
    """Hold a lock among all processes of this host; it is free when its holder ends, however that happens.

    Args:
        path: the lock's file; it stays.
        say: is told when it has to wait.
        why: what another one may be doing, for the line that is shown while waiting.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        waited = 0
        while True:
            try:
                flock(file, LOCK_EX | LOCK_NB)
                break
            except BlockingIOError:
                if waited % 10 == 0:
                    say(f"waiting: {why}")
                waited += 1
                pause(0.5, str(path))
        try:
            yield
        finally:
            flock(file, LOCK_UN)


def write_whole(path: Path, content: str, mode: int = 0o600) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def backing_file(disk: Path) -> Path:
    """Return what a disk, which may be in use, is linked to; ``/`` where it stands alone.

    Raises:
        ToolFailed: it is not a qcow2 disk.
    """
    found = json.loads(tool("qemu-img", "info", "--force-share", "--output=json", "-f", "qcow2", str(disk)))
    return Path(found.get("full-backing-filename") or "/")


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; nothing where it is missing or spoilt."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def boot_id() -> str:
    """Return what names the host's present boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def processor() -> str:
    """Return the host's processor and its features: memory that was saved on another may not run here."""
    return processor_of(Path("/proc/cpuinfo").read_text())


def processor_of(cpuinfo: str) -> str:
    """Return the first processor's model and features, out of ``/proc/cpuinfo``.

    >>> processor_of("model name\\t: EPYC\\nflags\\t\\t: fpu sse2\\n\\nmodel name\\t: other\\n")
    'EPYC: fpu sse2'
    """
    found = dict(re.findall(r"^(model name|flags)\s*:\s*(.*)$", cpuinfo.partition("\n\n")[0], re.MULTILINE))
    return f"{found.get('model name', '')}: {found.get('flags', '')}"


def untouched(disk: Path) -> bool:
    """Return whether nothing was ever written to a linked clone: no part of it is its own.

    Raises:
        ToolFailed: it is not a disk, or is in use.
    """
    return is_untouched(json.loads(tool("qemu-img", "map", "--output=json", "-f", "qcow2", str(disk))))


def is_untouched(extents: Sequence[dict[str, Any]]) -> bool:
    """Return that, out of what ``qemu-img map`` tells.

    >>> is_untouched([{"depth": 1, "present": True}, {"depth": 0, "present": False}])
    True
    >>> is_untouched([{"depth": 1, "present": True}, {"depth": 0, "present": True}])
    False
    """
    return not any(extent["depth"] == 0 and extent["present"] for extent in extents)
