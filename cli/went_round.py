"""Finds what went round the gate of a stack, shouts it, and records it where somebody can sign."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from cli.pulumi_state import PulumiState
from model.change.went_round import record_body, went_round
from model.errors import UnderstudyError
from model.evidence.chain import Log, file_name
from provisioners import evidence_log
from provisioners.signing import find_signer


def has_log(directory: Path, stack: str) -> bool:
    """Tell whether there is anything that the state could be compared with."""
    return (directory / file_name(stack)).is_file()


def look_round(directory: Path, state: PulumiState, say: Callable[[str], None], *, act: bool) -> None:
    """Compare a stack's state with what its gate has let through.

    Args:
        directory: the project's.
        state: the stack's, opened.
        say: shows a line.
        act: whether it may be recorded; a preview changes nothing.
    """

    def body(own: Log) -> tuple[str, dict[str, object]] | None:
        found = went_round(state.exported, own, settled=lambda: _settled(directory, state.stack))
        made = record_body(found, own)
        return None if made is None else ("went-round", made)

    log = evidence_log.read(directory, state.stack)
    if log.broken is not None:
        say(f"{file_name(log.stack)}: record {log.broken.n} is BROKEN: {log.broken.why}")
        return
    for each in went_round(state.exported, log, settled=lambda: _settled(directory, state.stack)):
        say(f"WENT ROUND THE GATE: {each.change.words}: {each.how}")
    if not act or body(log) is None:
        return
    try:
        record = evidence_log.append(directory, state.stack, find_signer(directory, asks=False), body, say=say)
    except UnderstudyError as error:
        say(f"what went round the gate of {state.stack} is not recorded: {error}")
        return
    if record is not None:
        say(f"{file_name(state.stack)}: record {record.n} says so, signed by {record.who}; commit it")


def _settled(directory: Path, stack: str) -> bool:
    """Tell from Pulumi's history whether the last command that changed the stack did all that it was to do."""
    command = ("pulumi", "--cwd", str(directory), "--non-interactive", "stack", "history", "--json", "--page-size", "5")
    done = subprocess.run((*command, "--stack", stack), capture_output=True, timeout=120, check=False)
    try:
        entries = json.loads(done.stdout or b"[]")
    except ValueError:
        return False
    results = [each.get("result") for each in entries if each.get("kind") in ("update", "destroy")]
    return results[:1] == ["succeeded"]
