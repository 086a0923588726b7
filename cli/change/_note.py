"""What is noted before an update, so that what fails in it can be taken back.

The note lies on this computer. It is there while an update runs, and as long as what failed in it is not taken back on
all machines: whatever is killed meanwhile, the next run goes on from there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.files import state_directory
from components.files import state_place
from model import names
from model.change.stopped import Failed, noted
from provisioners.hypervisor.host import write_whole


def note_path(stack: str) -> Path:
    """Return where the note of a stack's update lies."""
    owner = names.owner(stack, state_place(os.environ))
    return state_directory() / "rollouts" / f"{owner.replace('/', '-')}.json"


def read_note(stack: str) -> dict[str, Any] | None:
    """Return the note of an update that has not ended well yet; None for none."""
    try:
        note: dict[str, Any] = json.loads(note_path(stack).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return note


def take_note(stack: str, deployment: Mapping[str, Any]) -> None:
    """Note what is there before an update.

    Args:
        stack: the stack's name.
        deployment: its state; secrets are encrypted, and stay so.
    """
    note = noted(deployment, read_note(stack))
    if note["machines"]:  # what is made on new machines has nothing to be taken back to
        write_whole(note_path(stack), json.dumps(note))


def forget_note(stack: str) -> None:
    """Forget the note: nothing is to be taken back any more."""
    note_path(stack).unlink(missing_ok=True)


def failed_of(note: Mapping[str, Any] | None) -> tuple[Failed, ...]:
    """Return what failed in an update and is to be taken back; nothing where it was only cut off."""
    return tuple(Failed(**each) for each in (note or {}).get("failed") or ())
