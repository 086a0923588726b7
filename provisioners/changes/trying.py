"""Asks a machine what a service's manifest or playbook would change there; nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioners.changes.marks import filled, mark
from provisioners.changes.tool import NOT_THERE, trying, would_change
from provisioners.outcome import last_lines
from provisioners.shell import Shell

_SECONDS = 600.0


def tried(shell: Shell, inputs: Mapping[str, Any]) -> str:
    """Return what the manifest or playbook of these inputs would change on a machine; empty for nothing.

    Where it could not be tried, the text says so. No secret of the inputs is in it.

    Args:
        shell: the machine.
        inputs: of the kind ``understudy:index:Service``; ``tool`` and the content of its file are known.
    """
    tool, secrets = inputs["tool"], inputs.get("secrets") or {}
    content = filled(inputs["files"][tool["path"]]["content"], secrets)
    done = shell.run(trying(tool), stdin=content.encode(), check=False, timeout_seconds=_SECONDS)
    if done.code == NOT_THERE:
        return f"{tool['kind']} is not installed yet: what it will change is known once it is"
    text = would_change(tool["kind"], done.text)
    if done.code != 0:
        text = f"{tool['kind']} could not try it: {last_lines(done.stderr or done.stdout)}"
    for name in sorted(secrets, key=lambda name: -len(secrets[name])):
        text = text.replace(secrets[name], mark(name))
    return text
