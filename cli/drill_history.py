"""The history of a stack's drills: one line of JSON each, in the order in which they were made."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from components.files import stack_files
from model.errors import UnderstudyError
from model.evidence import Drill, drill_line


def history_path(directory: Path, stack: str) -> Path:
    """Return where a stack's drills are written down."""
    return directory / "reports" / stack / "drills.jsonl"


def read_history(directory: Path, stack: str) -> tuple[Drill, ...]:
    """Return the drills that were made, oldest first; lines that cannot be read are left out.

    Raises:
        UnderstudyError: the history is there and cannot be opened.
    """
    from provisioners.report.kind import read_drills

    return read_drills(str(history_path(directory, stack)))[0]


def record(directory: Path, drill: Drill) -> bool:
    """Append a drill to the stack's history, show it in the report, and return whether it is written down.

    A stack that nobody has ever described gets no history: its name was mistyped.
    """
    path = history_path(directory, drill.stack)
    if drill.stack not in stack_files(directory) and not path.parent.is_dir():
        return False
    try:
        _append(path, f"{drill_line(drill)}\n".encode())
    except OSError as error:
        print(f"the drill cannot be written down: {path}: {error.strerror or error}", file=sys.stderr)
        return False
    from provisioners.report.kind import refresh

    try:
        refresh(str(path.with_name("report.html")), str(path))
    except UnderstudyError as error:
        print(f"the drill is in {path}, but not in the report: {error}", file=sys.stderr)
    return True


def _append(path: Path, line: bytes) -> None:
    """Write a line of its own, also after one that was cut off when the disk was full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read() == b"\n" else b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
