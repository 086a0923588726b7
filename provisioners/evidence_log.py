"""The files of evidence: read whole, and appended to by one writer at a time; a line is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model import rules
from model.errors import UnderstudyError
from model.evidence.chain import Anchor, Log, Record, file_name, line, next_record, read_log, signed_text
from provisioners.hypervisor.host import locked, write_whole
from provisioners.outcome import Say
from provisioners.signing import Signer, sign, verifier

_AT_ONCE = 8

Decide = Callable[[Log], tuple[str, Mapping[str, Any]] | None]
"""Returns kind and body of the record that follows a log, or None where none is needed."""


def now() -> datetime:
    """Return the present moment; records know whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def read(directory: Path, stack: str, *, anchors: Iterable[Anchor] = ()) -> Log:
    """Return a stack's log as far as it holds; an empty one where there is none yet.

    Args:
        directory: the project's.
        stack: whose log.
        anchors: records that must be in it.

    Raises:
        UnderstudyError: it is there and cannot be opened.
    """
    data, verify = _bytes(_path(directory, stack)), verifier(directory)
    chained = read_log(data, stack, lambda _: "").records
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        verdicts = dict(zip((record.n for record in chained), pool.map(verify, chained), strict=True))
    return read_log(data, stack, lambda record: verdicts[record.n], anchors=anchors)


def whole(log: Log) -> Log:
    """Return a log that holds.

    Raises:
        UnderstudyError: one of its records is broken; says which and what to do.
    """
    if log.broken is None:
        return log
    todo = f"`git log -p {file_name(log.stack)}` shows what it was; nothing is added to it until it is whole again."
    if log.broken.cut_off:
        todo = f"`understudy evidence repair -s {log.stack}` takes the half line away."
    raise UnderstudyError(where=f"{file_name(log.stack)}, record {log.broken.n}", found=log.broken.why, todo=todo)


def append(
    directory: Path,
    stack: str,
    signer: Signer,
    decide: Decide,
    *,
    anchors: Iterable[Anchor] = (),
    clock: Callable[[], datetime] = now,
    say: Say = lambda _: None,
) -> Record | None:
    """Append the record that is decided on, with all others in view and nobody else writing; return it.

    Raises:
        UnderstudyError: the log is broken, or the record cannot be signed or written: then nothing was.
    """
    path = _path(directory, stack)
    with _alone(path, say):
        log = whole(read(directory, stack, anchors=anchors))
        wanted = decide(log)
        if wanted is None:
            return None
        kind, body = wanted
        record = next_record(log, kind=kind, who=signer.who, body=body, now=clock())
        record = replace(record, signature=sign(signer, signed_text(record)))
        data = _bytes(path) + f"{line(record)}\n".encode("ascii")
        whole(read_log(data, stack, verifier(directory), trusted=log.head))
        write_whole(path, data.decode("ascii"), mode=0o644)
        _sync(path.parent)
    return record


def repair(directory: Path, stack: str) -> str:
    """Take away a last line that was never written whole, and return it; empty where there is none.

    Raises:
        UnderstudyError: it cannot be written.
    """
    path = _path(directory, stack)
    with _alone(path, lambda _: None):
        log = read(directory, stack)
        if log.broken is None or not log.broken.cut_off:
            return ""
        kept, end, rest = _bytes(path).rpartition(b"\n")
        write_whole(path, (kept + end).decode("ascii"), mode=0o644)
        _sync(path.parent)
    return rest.decode("utf-8", "backslashreplace")


@contextmanager
def _alone(path: Path, say: Say) -> Iterator[None]:
    """Keep other writers away.

    Raises:
        UnderstudyError: what stands there cannot be written.
    """
    try:
        with locked(path.with_name(f".{path.name}.lock"), say, f"another one appends to {path.name}"):
            yield
    except OSError as error:
        raise UnderstudyError(where=str(path), found=f"cannot be written: {error.strerror}") from error


def _path(directory: Path, stack: str) -> Path:
    if not rules.STACK.fullmatch(stack):
        raise UnderstudyError(where="the stack's name", found=repr(stack), wanted=rules.STACK_ALLOWED)
    return directory / file_name(stack)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise UnderstudyError(where=str(path), found=f"cannot be read: {error.strerror}") from error


def _sync(folder: Path) -> None:
    """See that a file that was put into a folder is there after a power cut too."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
