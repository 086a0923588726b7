"""Holds an update to the newest change document of its stack: a plan shown is the plan done.

A document counts until an update has ended well after it. While it does, `up` is planned once more, and refused where
that plan would do what the document does not say; Pulumi itself is then held by the new plan. It is not held while the
gate stands open for an emergency.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from model.change.approved import beyond, does_anything, planned_at, stacks_of
from model.change.gate import unused_emergency
from model.errors import UnderstudyError
from provisioners import evidence_log

FOLDER = "changes"
CHANGES = "changes.json"
"""In a document's folder: what it consists of: for each change, by its id, machine and service of each part."""
_PARTIAL = frozenset({"pulumi.flag.target", "pulumi.flag.exclude"})
"""What Pulumi's history notes of an update that was not a whole one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """A change document that is not done yet.

    Args:
        folder: where it lies.
        plan: as `pulumi preview --save-plan` wrote it, parsed.
    """

    folder: Path
    plan: dict[str, Any]


def hold(directory: Path, stack: str, say: Callable[[str], None], into: str) -> None:
    """See that an update does nothing beyond the newest document of its stack, if there is one that counts.

    Args:
        directory: the project's.
        stack: the stack's name.
        say: shows a line.
        into: path of the file that the plan is written to which the update is to keep to; empty for none.

    Raises:
        UnderstudyError: it would do more.
    """
    approved = pending(directory, stack)
    if approved is None:
        return
    name = approved.folder.relative_to(directory)
    open_for = unused_emergency(evidence_log.read(directory, stack), evidence_log.now())
    if open_for is not None:
        say(f"EMERGENCY: this update is not held by {name}: record {open_for.n}, by {open_for.who}")
        return
    with TemporaryDirectory(prefix="understudy-plan-") as aside:
        file = Path(aside) / "plan.json"
        wanted = _planned(directory, stack, file)
        if more := beyond(approved.plan, wanted):
            raise UnderstudyError(
                where=str(name),
                found="\n".join(("this update would do more than the document says:", *(f"  {line}" for line in more))),
                wanted="a plan shown is the plan done; nothing was touched",
                todo=f'Write it down anew: ./run understudy change document -s {stack} --why "..."; or, where the '
                f"document is not to be done any more: rm -r {name}",
            )
        if into and does_anything(wanted):
            Path(into).write_bytes(file.read_bytes())
            say(f"held by {name}: what goes beyond it is refused")


def pending(directory: Path, stack: str) -> Approved | None:
    """Return the newest document of a stack, None where there is none or an update has ended well after it."""
    found = []
    for file in (directory / FOLDER).glob("*/plan.json"):
        try:
            plan = json.loads(file.read_text(encoding="utf-8"))
            if stack in stacks_of(plan):
                found.append((planned_at(plan), file.parent, plan))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UnderstudyError(
                where=str(file.relative_to(directory)),
                found="it cannot be read",
                wanted="a plan as `understudy change document` writes it",
            ) from None
    if not found:
        return None
    at, folder, plan = max(found, key=lambda each: each[:2])
    return None if _done_since(directory, stack, at) else Approved(folder=folder, plan=plan)


def _done_since(directory: Path, stack: str, at: datetime) -> bool:
    """Tell from Pulumi's history whether a whole update has ended well since then."""
    command = ("pulumi", "--cwd", str(directory), "--non-interactive", "stack", "history", "--json")
    limits = ("--page-size", "20", "--stack", stack)
    done = subprocess.run((*command, *limits), capture_output=True, timeout=120, check=False)
    entries = json.loads(done.stdout or b"[]") if done.returncode == 0 else []
    return any(
        (each.get("kind"), each.get("result")) == ("update", "succeeded")
        and not _PARTIAL & set(each.get("environment") or ())
        and datetime.fromisoformat(each["startTime"]) > at
        for each in entries
    )


def _planned(directory: Path, stack: str, file: Path) -> dict[str, Any]:
    """Return what an update would do now; the stack's own file is not written to."""
    copy = file.with_name("config.yaml")
    copy.write_bytes((directory / f"Pulumi.{stack}.yaml").read_bytes())
    command = ("pulumi", "--cwd", str(directory), "--non-interactive", "--color", "never", "preview", "--stack", stack)
    options = ("--config-file", str(copy), f"--save-plan={file}")
    done = subprocess.run((*command, *options), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode or not file.is_file():
        raise UnderstudyError(where=f"stack {stack}", found=f"`pulumi preview` refused: {done.stdout}{done.stderr}")
    plan: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return plan
