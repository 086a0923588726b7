"""A place for one measurement, on disk. What a measurement that was killed left behind is taken away first."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.site import Site

_STACK = "-stage.yaml"


@contextmanager
def room(say: Callable[[str], None], below: Path | None = None) -> Iterator[Path]:
    """Give an empty directory, to one measurement at a time, and remove it.

    It is kept where stacks in it could not be destroyed: their state is in it.

    Args:
        say: is told what is taken away.
        below: where; the user's cache otherwise.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    rooms = below or cache / "understudy/bench"
    rooms.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (rooms / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in sorted(path for path in rooms.iterdir() if path.is_dir()):
            say(f"taking away what an earlier measurement left in {left}")
            clear(left)
        directory = Path(tempfile.mkdtemp(dir=rooms, prefix=""))
        try:
            yield directory
        finally:
            clear(directory)


def clear(directory: Path) -> None:
    """Destroy the stages of all sites below, then remove the directory."""
    for site in sites(directory):
        site.end(*(stack for stack in (site.stage,) if site.has_begun(stack)))
    shutil.rmtree(directory)


def sites(directory: Path) -> tuple[Site, ...]:
    """Return the sites that are in a directory, or one level below."""
    files = [*directory.glob(f"Pulumi.t*{_STACK}"), *directory.glob(f"*/Pulumi.t*{_STACK}")]
    return tuple(
        Site(path.parent, name=path.name.removeprefix("Pulumi.").removesuffix(_STACK)) for path in sorted(files)
    )
