"""The part of a change document that tells of one service on one machine. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from model.change import Step
from model.change.document import Part
from provisioners.changes.act_texts import back_by_persons, says_back
from provisioners.changes.acts import needs
from provisioners.changes.before_texts import before_step
from provisioners.changes.leaving import GOES
from provisioners.changes.marks import hidden
from provisioners.changes.observed import CONFIGS, Observed, touched
from provisioners.changes.parts import Parts, parts
from provisioners.changes.steps import change_of, steps_of
from provisioners.commands import words


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
    goes = bool(inputs.get(GOES))
    machine, changed = str(inputs["connection"]["name"]), Parts() if goes else parts(inputs, found)
    undo = tuple(
        Step(name=f"take {inputs['service']} back", command=f"{step.inverse}\n", prints=says_back(inputs, changed))
        for step in steps
        if step.inverse and step.place != "person"
    )
    return Part(
        name=f"{machine}:{inputs['service']}",
        machine=machine,
        effect=goes_effect(inputs, found) if goes else effect(inputs, changed, found),
        differences=() if goes else differences(inputs, found, changed),
        steps=steps,
        undo=(*undo, *back_by_persons(inputs, changed)),
        notes=(f"What was there is kept in `{CONFIGS}/{inputs['service']}` on {machine}.",),
        before=(before_step(inputs, found, *_concerned(inputs, changed, found)),),
        change=change_of(inputs, found).identifier,
    )


def _concerned(inputs: Mapping[str, Any], changed: Parts, found: Observed) -> tuple[list[str], list[str]]:
    """Return the paths and the packages that a change concerns, in order."""
    if inputs.get(GOES):
        return sorted(found.first_files), sorted(found.first_packages)
    tools = {kind: touched(inputs, kind) if changed.tool else () for kind in ("files", "packages")}
    return sorted({*changed.touched, *tools["files"]}), sorted({*changed.install, *tools["packages"]})


def goes_effect(inputs: Mapping[str, Any], found: Observed) -> str:
    """Return in a few sentences what happens where a service goes."""
    sentences = [f"{inputs['service']} goes: what was there before its first change comes back."]
    files, packages = sorted(found.first_files.items()), sorted(found.first_packages.items())
    sentences += [f"{path}: {'removed' if kind == 'absent' else 'as before us'}." for path, kind in files]
    sentences += [f"{name}: {'removed' if was == '-' else was}." for name, was in packages]
    return " ".join(sentences)


def effect(inputs: Mapping[str, Any], changed: Parts, found: Observed) -> str:
    """Return in a sentence or two what happens to a service."""
    counted = (
        (len(changed.write), "written"),
        (len(changed.remove), "removed"),
        (len(changed.give_back), "put back as before us"),
    )
    told = [f"{count} file{'s' if count > 1 else ''} {how}" for count, how in counted if count]
    if changed.install:
        told.append(f"installed: {', '.join(changed.install)}")
    sentences = [f"{inputs['service']}: {', '.join(told) or 'nothing written'}."]
    sentences += [f"Before, by hand: {name}." for name in changed.by_hand]
    sentences += [f"Migration of the database: {name}." for name in changed.migrate]
    restarted = _restarted(changed, found)
    sentences += [f"{unit} is restarted, and does not answer until it runs again." for unit in restarted]
    reloaded = (unit for unit in changed.reload if unit not in restarted)
    sentences += [f"{unit} takes its new configuration while it runs." for unit in reloaded]
    sentences += [f"{unit} is stopped." for unit in changed.leave]
    if changed == Parts(settle=True):
        sentences.append("Only its checks are run, and how it is to be changed from now on is another.")
    return " ".join(sentences)


def people(inputs: Mapping[str, Any], found: Observed) -> tuple[str, ...]:
    """Return whom a change to a service on a machine needs, one line each."""
    return needs(inputs, parts(inputs, found).by_hand)


def interruptions(inputs: Mapping[str, Any], found: Observed) -> tuple[str, ...]:
    """Return what users may notice of a change to a service on a machine, one line each."""
    machine, service = inputs["connection"]["name"], inputs["service"]
    if inputs.get(GOES):
        running = sorted(unit for unit, state in found.units.items() if state.runs)
        return tuple(f"{unit} on {machine} is told that {service} goes: it may end there." for unit in running)
    changed = parts(inputs, found)
    return tuple(
        f"{unit} on {machine} is restarted: what it serves is away for that long{_last_time(unit, found)}."
        for unit in _restarted(changed, found)
        if found.units[unit].runs
    )


def _restarted(changed: Parts, found: Observed) -> tuple[str, ...]:
    """Return the units that are restarted: also those that are told to reload, and cannot."""
    cannot = (unit for unit in changed.reload if not found.units[unit].reloads and unit not in changed.restart)
    return (*changed.restart, *cannot)


def _last_time(unit: str, found: Observed) -> str:
    seconds = found.units[unit].start_seconds
    return "" if seconds is None else f" (its last start took {seconds:.1f} s)"


def foretold(inputs: Mapping[str, Any], found: Observed) -> str:
    """Return what a change will do on a machine, for a preview: its effect, interruption, commands and way back.

    Args:
        inputs: of the kind ``understudy:index:Service``.
        found: what is on the machine.

    Raises:
        UnderstudyError: something is in a file's place that no file may replace.
    """
    part = service_part(inputs, found)
    if part is None:
        return ""
    changed, validate = parts(inputs, found), inputs.get("validate") or {}
    told = [("enable", changed.enable), ("restart", changed.restart), ("try-reload-or-restart", changed.reload)]
    commands = [
        *(f"{words(validate[path])}   # {{}} is the new {path}" for path in changed.write if path in validate),
        *(f"systemctl {verb} {words(units)}" for verb, units in told if units),
        *(words(check["command"]) for check in inputs.get("checks") or ()),
    ]
    return "\n".join(
        (
            f"on {part.machine}: {part.effect}",
            *(f"  users: {line}" for line in interruptions(inputs, found)),
            f"  in {len(part.steps)} steps: {', '.join(step.name for step in part.steps)}",
            *(f"  $ {command}" for command in commands),
            *(f"  the way back: {step.command.strip()}" for step in part.undo),
            "  `understudy change document` types out each command.",
        )
    )


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
