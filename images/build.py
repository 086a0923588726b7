"""Build the machine image, unless it is there already: ``python -m images.build`` prints its directory."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from images import cache, root
from images.cache import ImagePaths
from images.recipe import HERE, read_recipe, recipe_digest
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
    if os.geteuid() != 0:
        return _ensure_as_root(directory, say)
    images.mkdir(mode=0o755, parents=True, exist_ok=True)
    with alone(images / f".{digest}.lock", say):
        paths = cache.usable(directory, verify=verify)  # another may have built it meanwhile
        if isinstance(paths, ImagePaths):
            return paths
        if directory.exists():
            say(f"image {digest}: {paths}; building it anew")
            shutil.rmtree(directory)
        return _build(directory, digest, say)


def _build(directory: Path, digest: str, say: Say) -> ImagePaths:
    began = time.monotonic()
    for old in directory.parent.glob(f".building-{digest}-*"):
        shutil.rmtree(old, ignore_errors=True)  # of a build that was cut off; nobody else is in it, the lock is ours
    work = Path(tempfile.mkdtemp(prefix=f".building-{digest}-", dir=directory.parent))
    try:
        say(f"image {digest}: building it, which usually takes one to two minutes")
        whole = root.build(read_recipe(), work, say)
        cache.seal(whole, digest, root.installed(work))
        whole.chmod(0o755)
        whole.rename(directory)
    except OSError as error:
        raise UnderstudyError(where=f"image {digest}", found=str(error), todo="Mend that, and try again.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say(f"image {digest}: built in {time.monotonic() - began:.0f} s")
    return _present(directory)


def _present(directory: Path) -> ImagePaths:
    paths = cache.usable(directory)
    if isinstance(paths, ImagePaths):
        return paths
    raise UnderstudyError(where=str(directory), found=f"just built, and already {paths}", todo="Look at the disk.")


def _ensure_as_root(directory: Path, say: Say) -> ImagePaths:
    """Have this program run by root."""
    if run_as_root("images.build", (), say) is None:
        raise UnderstudyError(
            where=f"image {directory.name}",
            found="not built yet, and only root can build it",
            todo="Run: sudo ./run python -m images.build",
        )
    return _present(directory)


def run_as_root(module: str, arguments: Sequence[str], say: Say) -> str | None:
    """Have a program of this package run by root, and return what it printed, None where it failed.

    What it says is passed on as it comes.
    """
    argv = ("sudo", "-n", "--", sys.executable, "-m", module, *arguments)
    program = subprocess.Popen(argv, cwd=HERE.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with program:
        for line in program.stderr or ():
            say(line.rstrip())
        printed = program.stdout.read() if program.stdout else ""  # a line at most: no pipe is full meanwhile
    return None if program.returncode else printed.strip()


@contextmanager
def alone(lock: Path, say: Say) -> Iterator[None]:
    """Hold a lock among all processes of this computer; wait for it where another has it."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is building the image; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Print the image's directory; 1 and a message when there is none, and none is or can be built."""
    parser = argparse.ArgumentParser(prog="python -m images.build", description=__doc__)
    parser.add_argument("--verify", action="store_true", help="read all files again and compare their digests")
    parser.add_argument("--look", action="store_true", help="build nothing where there is none that is whole")
    arguments = parser.parse_args()
    if arguments.look:
        found = cache.usable(IMAGES / recipe_digest(), verify=arguments.verify)
        print(found if isinstance(found, str) else found.directory)
        return int(isinstance(found, str))
    try:
        paths = ensure(lambda line: print(line, file=sys.stderr, flush=True), verify=arguments.verify)
    except UnderstudyError as error:
        print(f"images.build: {error}", file=sys.stderr)
        return 1
    print(paths.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
