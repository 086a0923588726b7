"""The project's logs, and what Git remembers of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from model.evidence.chain import Anchor, Log, file_name, read_log
from provisioners import evidence_log


def stacks(directory: Path) -> tuple[str, ...]:
    """Return the stacks that have a log."""
    return tuple(sorted(path.stem for path in (directory / "evidence").glob("[!.]*.jsonl")))


def read_with_git(directory: Path, stack: str) -> Log:
    """Return a log as far as it holds; what is committed must be in it."""
    return evidence_log.read(directory, stack, anchors=_committed(directory, stack))


def _committed(directory: Path, stack: str) -> tuple[Anchor, ...]:
    """Return the last record that Git has; nothing where it has none, or there is no Git."""
    command = ("git", "-C", str(directory), "show", f"HEAD:./{file_name(stack)}")
    try:
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ()
    return (read_log(done.stdout, stack, lambda _: "").head,) if done.returncode == 0 else ()
