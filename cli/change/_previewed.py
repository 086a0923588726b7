"""What `pulumi preview` says of a stack, as JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from model.errors import UnderstudyError


def previewed(directory: Path, stack: str, *options: str) -> dict[str, Any]:
    """Return what a preview of a stack printed, parsed.

    Args:
        directory: the project's.
        stack: the stack's name.
        options: further options of `pulumi preview`.

    Raises:
        UnderstudyError: Pulumi refused; its own words are in the text.
    """
    argv = (str(directory / "run"), "pulumi", "preview", "-s", stack, "--json", "--non-interactive", *options)
    done = subprocess.run(argv, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    except ValueError:
        found = {}
    if done.returncode or "steps" not in found:
        said = [each.get("message", "") for each in found.get("diagnostics") or ()] or [done.stderr]
        words = "\n".join(line.strip() for line in said if line.strip())
        raise UnderstudyError(where=f"stack {stack}", found=f"`pulumi preview` refused: {words or 'no reason given'}")
    return found
