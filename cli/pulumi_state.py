"""A stack's state, as the command `pulumi` on PATH exports and imports it.

Where states lie on this computer, what an export gives is read out of Pulumi's file: an export takes longer than all
else that comes before an update.
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from components.files import backend_url
from components.strict_yaml import parse
from model.errors import UnderstudyError

_PATIENCE_SECONDS = 120.0


class PulumiState:
    """The state of one stack. Pulumi begins to export it when the block is entered, and is waited for when it is read.

    Args:
        directory: the project's.
        stack: the stack's name.
        secrets: whether its secrets are exported in plain text.
    """

    def __init__(self, directory: Path, stack: str, *, secrets: bool = False) -> None:
        self.directory, self.stack, self._secrets = directory, stack, secrets
        self._command = ("pulumi", "--cwd", str(directory), "--non-interactive", "stack")
        self._export: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start to export."""
        if not self._secrets and (kept := _kept(self.directory, self.stack)):
            self.exported = kept
            return self
        options = ("--show-secrets",) if self._secrets else ()
        try:
            self._export = subprocess.Popen(
                [*self._command, "export", "--stack", self.stack, *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except FileNotFoundError:
            raise UnderstudyError(
                where="pulumi", found="no such command", todo="Use `./run`, which puts it on PATH."
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        """End the export, if nobody waited for it."""
        if self._export is not None:
            self._export.kill()
            self._export.communicate()

    @cached_property
    def exported(self) -> dict[str, Any]:
        """Return the state as Pulumi exported it.

        Raises:
            UnderstudyError: Pulumi refused; its own words are in the text.
        """
        assert self._export is not None, "read it inside the block"
        try:
            printed, said = self._export.communicate(timeout=_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            found = f"`pulumi stack export` did not end in {_PATIENCE_SECONDS:g} s"
            raise UnderstudyError(where=f"stack {self.stack}", found=found) from None
        if self._export.returncode:
            raise UnderstudyError(where=f"stack {self.stack}", found=f"`pulumi stack export`: {_words(said)}")
        state: dict[str, Any] = json.loads(printed)
        return state

    def replace(self, deployment: dict[str, Any]) -> None:
        """Make this the state.

        Raises:
            UnderstudyError: Pulumi refused; its own words are in the text.
        """
        done = subprocess.run(
            [*self._command, "import", "--stack", self.stack],
            input=json.dumps(deployment).encode(),
            capture_output=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
        if done.returncode:
            raise UnderstudyError(where=f"stack {self.stack}", found=f"`pulumi stack import`: {_words(done.stderr)}")


def _kept(directory: Path, stack: str) -> dict[str, Any] | None:
    """Return what a file backend's own file of a stack holds, as an export gives it; None where Pulumi is to be asked.

    Source: pulumi, pkg/backend/diy/state.go; sdk/go/common/apitype/core.go (VersionedCheckpoint, CheckpointV3).
    """
    url = backend_url(os.environ)
    if not url.startswith("file:///"):
        return None
    try:
        described: Any = parse("Pulumi.yaml", (directory / "Pulumi.yaml").read_text(encoding="utf-8"))[0]
        project = described["name"]
        file = Path(url.removeprefix("file://"), ".pulumi/stacks", project, f"{stack}.json")
        if any(file.with_name(f"{file.name}.{packed}").exists() for packed in ("gz", "zst")):
            return None  # Pulumi takes the newest
        kept = json.loads(file.read_text(encoding="utf-8"))
        version, deployment = kept["version"], kept["checkpoint"]["latest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {"version": 3, "deployment": deployment} if version == 3 and isinstance(deployment, dict) else None


def _words(said: bytes) -> str:
    return said.decode("utf-8", "replace").strip().removeprefix("error: ") or "no reason given"
