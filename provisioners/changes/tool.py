"""Puppet manifests and Ansible playbooks within a change: how they are applied and tried, and what they left. Pure.

Both run on the machine itself: the text that a person types is then the same, the machine's own deadline holds, and a
cut network leaves nothing half done. What they may change is stated with them, copied before, and put back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from model.change import Step
from provisioners.changes.seen import SHOWN_BYTES
from provisioners.changes.texts import Change, fenced
from provisioners.commands import Argv, command_line, scripted, word, words

NOT_THERE = 3
"""The code with which `trying` ends where the tool itself is not installed."""
_READ = SHOWN_BYTES + 1
_APPLY: Mapping[str, tuple[str, ...]] = {
    "ansible": ("ansible-playbook", "--connection", "local", "--inventory", "localhost,", "--diff"),
    "puppet": ("puppet", "apply", "--color=false", "--show_diff", "--detailed-exitcodes"),
}
# Source: puppet-apply(8), --detailed-exitcodes: 2 is "there were changes", 4 and 6 are failures.
_GOOD = {"ansible": "0", "puppet": "0 | 2"}
_NOISE = re.compile(r"Notice: (Compiled catalog|Applied catalog)|.*Would have triggered 'refresh'")
_NOTHING = re.compile(r"(ok|skipping): ")
_PLACE = re.compile(r"/run/understudy-try\.\w+/[^ \t]*")
_RECAP = re.compile(r"^\S+\s+:\s+ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


def applying(change: Change, tool: Mapping[str, Any]) -> Step:
    """Return the step that applies a manifest or a playbook, and notes what it left.

    Args:
        change: the change.
        tool: ``kind``, ``path`` and ``files`` of the inputs.
    """
    name = f"apply {tool['path']}"
    files = sorted(tool.get("files") or ())
    lines = (
        f"code=0; LC_ALL=C.UTF-8 {command_line((*_APPLY[tool['kind']], tool['path']))} 9<&- || code=$?",
        f'case $code in {_GOOD[tool["kind"]]}) ;; *) echo "it ended with $code" >&2; exit 1 ;; esac',
        f"for path in {words(files)}; do" if files else "for path in; do",
        '    if [ -L "$path" ]; then left="(symbolic link to $(readlink -- "$path"))"',
        '    elif [ -f "$path" ]; then',
        f'        left="$(head -c {_READ} -- "$path" | sha256sum | cut -c1-64) $(stat -c \'%a %u %g\' -- "$path")"',
        '        echo "$(sha256sum <"$path" | cut -c1-64) $path" | tee -a ../original/ours >>ours',
        "    else left=-; fi",
        '    printf \'%s\\t%s\\n\' "$path" "$left"',
        "done >tool.new; mv -T tool.new tool",
    )
    says = f"{change.service}: done: {name}"
    return Step(name=name, command=fenced(change, lines, says), prints=says, seconds=30)


def trying(tool: Mapping[str, Any]) -> Argv:
    """Return the command that says what a manifest or playbook would change, and changes nothing.

    Its text comes on standard input: what Git has now, not what lies on the machine.
    """
    return scripted("tool_try", tool["kind"], tool["path"].rpartition("/")[2])


def would_change(kind: str, printed: str) -> str:
    r"""Return what a manifest or playbook would change, out of what `trying` printed; empty for nothing.

    Source: puppet-apply(8), --noop; ansible-core 2.14, plugins/callback/default.py.

    >>> would_change("puppet", "Notice: Compiled catalog for a\nNotice: Applied catalog in 0.1 seconds\n")
    ''
    """
    if kind == "puppet":
        return "\n".join(line.rstrip() for line in printed.splitlines() if line.strip() and not _NOISE.match(line))
    if (recap := _RECAP.search(printed)) and recap.groups() == ("0", "0", "0"):
        return ""
    tasks = re.split(r"^(?=TASK \[|RUNNING HANDLER \[)", printed.partition("PLAY RECAP")[0], flags=re.MULTILINE)
    lines = [[line.rstrip() for line in task.splitlines() if line.strip()] for task in tasks[1:]]
    telling = [task for task in lines if not all(_NOTHING.match(line) for line in task[1:])]
    return "\n".join(_PLACE.sub("the playbook's", line.rstrip("* ")) for task in telling for line in task)


def names(paths: tuple[str, ...]) -> str:
    """Return paths as a sentence lists them.

    >>> names(("/a", "/b c"))
    "/a, '/b c'"
    """
    return ", ".join(word(path) for path in paths)
