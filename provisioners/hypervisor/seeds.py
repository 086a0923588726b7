"""Where disks are made that a running machine is given for a while: backups, and what cloud-init reads."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from provisioners.hypervisor.host import ROOT

SEEDS = ROOT / "seeds"


@contextmanager
def seed_directory(domain: str) -> Iterator[Path]:
    """Give an empty directory for a machine's disk: qemu holds a plugged one open, so it goes with what is in it.

    It is this process's own until it ends, however that happens; then whoever comes next clears it.

    Raises:
        OSError: it cannot be made.
    """
    SEEDS.mkdir(mode=0o711, parents=True, exist_ok=True)
    with ExitStack() as stack:
        with _locked(SEEDS):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{domain}-", dir=SEEDS)))
            stack.enter_context(_locked(directory))
        directory.chmod(0o711)  # qemu, which is another user, opens the disk
        yield directory


def clear_seeds() -> None:
    """Remove what belongs to nobody who still runs."""
    with suppress(FileNotFoundError), _locked(SEEDS):
        for left in SEEDS.iterdir():
            with suppress(OSError), _locked(left, wait=False):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        flock(descriptor, LOCK_EX if wait else LOCK_EX | LOCK_NB)
        yield
    finally:
        os.close(descriptor)
