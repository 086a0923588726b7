"""Who works on a stack at this moment: `./run pulumi` notes it (`toolchain/locks.sh`), and a drill holds a lock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from hashlib import sha256
from pathlib import Path

from cli.files import state_directory
from model.errors import UnderstudyError


def who_works_on(stack: str) -> str:
    """Return who of this computer changes a stack now, as `./run pulumi` noted it; empty for nobody.

    A process is known by its number and its start: of one that has ended, another may have the number.
    """
    try:
        process, start = _file(stack, "pid").read_text(encoding="utf-8").split()
        known = Path("/proc", process, "stat").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
    state, *fields = known.rpartition(") ")[2].split()
    return f"process {process} (./run pulumi)" if state not in ("Z", "X") and fields[18] == start else ""


def refuse_busy(stack: str) -> None:
    """Refuse to begin where somebody changes the stack.

    Raises:
        UnderstudyError: somebody does.
    """
    if owner := who_works_on(stack):
        raise UnderstudyError(
            where=f"stack {stack}",
            found=f"it is being changed by {owner}",
            wanted="one at a time",
            todo="Wait for it to end, or end it, and try again. Nothing was changed.",
        )


@contextmanager
def only_drill(stack: str) -> Iterator[None]:
    """Let no other drill of the stack begin on this computer.

    Raises:
        UnderstudyError: another one runs.
    """
    file = _file(stack, "drill.lock")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.open("a") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise UnderstudyError(
                where=f"stack {stack}",
                found="another drill of it runs",
                wanted="one at a time",
                todo="Wait for it to end, and try again. Nothing was changed.",
            ) from None
        yield


def _file(stack: str, ending: str) -> Path:
    """Return a file of the stack's, as `stack_mark` in `toolchain/stack.sh` names it."""
    mark = sha256(os.environ.get("PULUMI_BACKEND_URL", "").encode()).hexdigest()[:8]
    return state_directory() / "running" / f"{stack}-{mark}.{ending}"
