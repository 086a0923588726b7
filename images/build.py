"""Build the machine image, unless it is there already: ``python -m images.build`` prints its directory."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from images import cache, root
from images.cache import ImagePaths
from images.recipe import read_recipe, recipe_digest
from model.errors import UnderstudyError

IMAGES = Path("/var/lib/understudy/images")
Say = Callable[[str], None]


def ensure(say: Say, *, images: Path = IMAGES, verify: bool = False) -> ImagePaths:
    """Return the image of the present recipe; build it first where it is missing or not whole.

    Two that ask at once: one builds, the other waits. A build that is cut off leaves nothing that is taken for whole.

    Args:
        say: gets a line whenever something happens, and at least every few seconds while it does.
        images: the directory of all images.
        verify: read all files and compare their digests, not only their sizes.

    Raises:
        UnderstudyError: the image cannot be built; says why.
    """
    digest = recipe_digest()
    directory = images / digest
    paths = cache.usable(directory, verify=verify)
    if isinstance(paths, ImagePaths):
        return paths
    _make_directory(images)
    with _alone(images / f".{digest}.lock", say):
        paths = cache.usable(directory, verify=verify)  # another may have built it meanwhile
        if isinstance(paths, ImagePaths):
            return paths
        if directory.exists():
            say(f"image {digest}: {paths}; building it anew")
            shutil.rmtree(directory)
        return _build(directory, digest, say)


def _build(directory: Path, digest: str, say: Say) -> ImagePaths:
    if os.geteuid() != 0:
        raise UnderstudyError(
            where=f"image {digest}",
            found="not built yet, and only root can build it",
            todo="Run: sudo -E ./run python -m images.build",
        )
    began = time.monotonic()
    work = directory.parent / f".building-{digest}"
    shutil.rmtree(work, ignore_errors=True)  # of a build that was cut off; nobody else is in it, the lock is ours
    work.mkdir(mode=0o700)
    try:
        say(f"image {digest}: building it, which takes one to two minutes")
        whole = root.build(read_recipe(), work, say)
        cache.seal(whole, digest)
        whole.chmod(0o755)
        whole.rename(directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    paths = cache.usable(directory)
    if not isinstance(paths, ImagePaths):
        raise UnderstudyError(where=str(directory), found=f"just built, and already {paths}", todo="Look at the disk.")
    say(f"image {digest}: built in {time.monotonic() - began:.0f} s")
    return paths


def _make_directory(images: Path) -> None:
    try:
        images.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise UnderstudyError(where=str(images), found=str(error), todo="Run as root, or with sudo.") from error


@contextmanager
def _alone(lock: Path, say: Say) -> Iterator[None]:
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is building the image; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Print the image's directory; 1 and a message when there is none and none can be built."""
    parser = argparse.ArgumentParser(prog="python -m images.build", description=__doc__)
    parser.add_argument("--verify", action="store_true", help="read all files again and compare their digests")
    arguments = parser.parse_args()
    try:
        paths = ensure(lambda line: print(line, file=sys.stderr, flush=True), verify=arguments.verify)
    except UnderstudyError as error:
        print(f"images.build: {error}", file=sys.stderr)
        return 1
    print(paths.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
