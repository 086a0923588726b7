"""The part of a change document that tells of one service on one machine. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from model.change import Step
from model.change.document import Part
from provisioners.changes.marks import hidden
from provisioners.changes.observed import CONFIGS, Observed
from provisioners.changes.parts import Parts, parts
from provisioners.changes.steps import steps_of
from provisioners.commands import command_line


def service_part(inputs: Mapping[str, Any], found: Observed) -> Part | None:
    """Return what is done to a service on a machine, as it is typed; None where nothing is.

    Args:
        inputs: of the kind ``understudy:index:Service``.
        found: what is on the machine.

    Raises:
        UnderstudyError: something is in a file's place that no file may replace.
    """
    steps = steps_of(inputs, found)
    if not steps:
        return None
    machine, changed = str(inputs["connection"]["name"]), parts(inputs, found)
    undo = tuple(
        Step(name=f"take {inputs['service']} back", command=f"{step.inverse}\n", prints="backed out")
        for step in steps
        if step.inverse
    )
    return Part(
        name=f"{machine}:{inputs['service']}",
        machine=machine,
        effect=effect(inputs, changed),
        differences=differences(inputs, found, changed),
        steps=steps,
        undo=undo,
        notes=(f"What was there is kept in `{CONFIGS}/{inputs['service']}` on {machine}.",),
    )


def taken_away_part(inputs: Mapping[str, Any]) -> Part:
    """Return what is done where a service goes: what was there before its first change comes back."""
    machine, service = str(inputs["connection"]["name"]), str(inputs["service"])
    command = command_line(("bash", f"{CONFIGS}/{service}/original/back-out.sh")) + "\n"
    step = Step(name="put back what was there before its first change", command=command, prints="backed out")
    again = Step(name="again", command=f"Give {machine} the service again, and update.", place="person")
    return Part(name=f"{machine}:{service}", machine=machine, effect=f"{service} goes.", steps=(step,), undo=(again,))


def effect(inputs: Mapping[str, Any], changed: Parts) -> str:
    """Return in a sentence or two what happens to a service.

    >>> effect({"service": "haproxy"}, Parts(write=("/etc/haproxy/haproxy.cfg",), reload=("haproxy.service",)))
    'haproxy: 1 file written. haproxy.service takes its new configuration while it runs.'
    """
    counted = (
        (len(changed.write), "written"),
        (len(changed.remove), "removed"),
        (len(changed.give_back), "put back as before us"),
    )
    told = [f"{count} file{'s' if count > 1 else ''} {how}" for count, how in counted if count]
    if changed.install:
        told.append(f"installed: {', '.join(changed.install)}")
    sentences = [f"{inputs['service']}: {', '.join(told) or 'nothing written'}."]
    sentences += [f"{unit} is restarted, and does not answer until it runs again." for unit in changed.restart]
    sentences += [f"{unit} takes its new configuration while it runs." for unit in changed.reload]
    sentences += [f"{unit} is stopped." for unit in changed.leave]
    return " ".join(sentences)


def interruptions(inputs: Mapping[str, Any], found: Observed) -> tuple[str, ...]:
    """Return what users may notice of a change to a service on a machine, one line each."""
    machine, changed = inputs["connection"]["name"], parts(inputs, found)
    restarted = (unit for unit in changed.restart if found.units[unit].runs)
    return tuple(f"{unit} on {machine} is restarted: what it serves is away for that long." for unit in restarted)


def differences(inputs: Mapping[str, Any], found: Observed, changed: Parts) -> tuple[str, ...]:
    """Return the differences of all files, line by line; secrets are not shown."""
    lines: list[str] = []
    files, secrets = inputs.get("files") or {}, inputs.get("secrets") or {}
    for path in changed.touched:
        wanted, is_there = files.get(path) or {}, found.files.get(path)
        content = "" if wanted.get("absent") else str(wanted.get("content") or "")
        real = hidden(is_there.content_beside(None), content, secrets) if is_there else ""
        before, after = (f"{path} (now)" if is_there else "/dev/null"), (path if path in files else "/dev/null")
        shown = difflib.unified_diff(real.splitlines(), content.splitlines(), before, after, lineterm="")
        lines += shown
        lines += _about(path, wanted, is_there.beside(wanted) if is_there else {})
    return tuple(lines)


def _about(path: str, wanted: Mapping[str, Any], real: Mapping[str, Any]) -> list[str]:
    keys = [key for key in ("mode", "owner", "group") if key in real and wanted.get(key) != real[key]]
    return [f"# {path}: {key} {real[key]} becomes {wanted.get(key)}" for key in keys]
