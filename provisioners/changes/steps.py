"""The steps of a change of one service on one machine: run, documented, rehearsed and taken back from one value. Pure.

A step's text depends on the service's inputs and on which parts differ, never on the time; it holds no secret. It may
be typed into a root shell of the machine, or pasted there. Where packages are installed, steps before the first bring
their files from the operator's computer. The inverse of the step that opens the change takes it back, at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from model.change import Step
from model.connection import connection_of
from provisioners.changes import leaving, texts
from provisioners.changes.act_texts import by_hand_steps, left_to_persons, migration_steps, noting
from provisioners.changes.copy_texts import copying
from provisioners.changes.leaving import GOES
from provisioners.changes.marks import marked
from provisioners.changes.observed import Observed, touched
from provisioners.changes.package_texts import bring, installing, keeping_earlier
from provisioners.changes.parts import Parts, change_id, parts
from provisioners.changes.texts import Change, block, fenced
from provisioners.changes.tool import applying
from provisioners.commands import guest_script, word, written

CONFIRM_SECONDS = 120
"""How long a machine waits for the word to keep a change, unless the inputs say otherwise."""
_WHOLE = ("sync back-out.new; mv -T back-out.new back-out.sh",)


def steps_of(inputs: Mapping[str, Any], observed: Observed) -> tuple[Step, ...]:
    """Return the steps that make a service on a machine as it should be; none where it is so already.

    Args:
        inputs: of the kind ``understudy:index:Service``.
        observed: what is on the machine.

    Raises:
        UnderstudyError: something is in a file's place that no file may replace.
    """
    if inputs.get(GOES):
        return _leaving(inputs, observed)
    changed = parts(inputs, observed)
    if not changed:
        return ()
    change = change_of(inputs, observed)
    files = inputs.get("files") or {}
    laid = tuple(path for path in changed.touched if path not in changed.remove)
    checks = inputs.get("checks") or ()
    return (
        *by_hand_steps(inputs, changed),
        *bring(inputs, changed.install, connection_of(inputs["connection"])),
        _open(change),
        *_back_out_script(change),
        _copy(change, changed, inputs),
        *keeping_earlier(change, _earlier(inputs, observed, changed)),
        *left_to_persons(change, inputs, changed),
        _arm(change, int(inputs.get("confirm_seconds") or CONFIRM_SECONDS)),
        *installing(change, inputs, changed),
        *(step for path in changed.write for step in _lay(change, path, files[path], inputs.get("secrets") or {})),
        *(_lay_first(change, path) for path in changed.give_back),
        *_validate(change, changed, inputs.get("validate") or {}),
        *migration_steps(change, inputs, changed),
        *((_place(change, changed, laid),) if changed.touched else ()),
        *((_tell(change, changed),) if changed.units or changed.described or changed.of_systemd else ()),
        *((applying(change, inputs["tool"]),) if changed.tool else ()),
        *(_check(change, check["name"], check["command"], check.get("prints") or "") for check in checks),
        _keep(change, changed, inputs),
    )


def _leaving(inputs: Mapping[str, Any], observed: Observed) -> tuple[Step, ...]:
    """Return the steps after which a service is no longer on a machine; none where it is not there."""
    if leaving.has_gone(observed):
        return ()
    change, says = change_of(inputs, observed), f"{inputs['service']}: the change is kept"
    keep = texts.keeping(change, (), (), inputs["digest"], goes=True)
    name = "put back what was there before its first change"
    return (
        _open(change),
        *_back_out_script(change),
        _fenced(change, "copy what is there", copying(*leaving.copied(inputs, observed))),
        *keeping_earlier(change, leaving.earlier(observed)),
        _arm(change, int(inputs.get("confirm_seconds") or CONFIRM_SECONDS)),
        _fenced(change, name, leaving.giving_back(observed), seconds=5),
        Step(name="keep it", command=fenced(change, keep, says, last=True), prints=says),
    )


def change_of(inputs: Mapping[str, Any], observed: Observed) -> Change:
    """Return the change that makes a service on a machine as it should be."""
    if inputs.get(GOES):
        return leaving.change_that_goes(inputs, observed)
    return Change(service=inputs["service"], identifier=change_id(inputs, observed))


def _open(change: Change) -> Step:
    says = f"{change.service}: a change is open"
    return Step(
        name="open the change",
        command=block(texts.opening(change), says),
        prints=says,
        inverse=change.back_out,
    )


def _fenced(change: Change, name: str, lines: tuple[str, ...], *, seconds: int = 0) -> Step:
    says = f"{change.service}: done: {name}"
    return Step(name=name, command=fenced(change, lines, says), prints=says, seconds=seconds)


def _back_out_script(change: Change) -> tuple[Step, ...]:
    name = "write the script that takes it back"
    pieces = written("back-out.new", guest_script("back_out").encode())
    return tuple(
        _fenced(change, _part(name, at, len(pieces)), (text, *(_WHOLE if at == len(pieces) else ())))
        for at, text in enumerate(pieces, start=1)
    )


def _earlier(inputs: Mapping[str, Any], observed: Observed, changed: Parts) -> tuple[str, ...]:
    also = touched(inputs, "packages") if changed.tool else ()
    return tuple(sorted({*changed.earlier, *(name for name in also if name in observed.packages)}))


def _copy(change: Change, changed: Parts, inputs: Mapping[str, Any]) -> Step:
    files = bool(changed.touched or changed.install)
    verbs = dict.fromkeys(changed.units, "start")
    verbs |= dict.fromkeys(changed.reload, "try-reload-or-restart")
    verbs |= {unit: "restart" for unit in changed.restart if files}
    also = {kind: touched(inputs, kind) if changed.tool else () for kind in ("files", "units", "packages")}
    verbs |= {unit: verbs.get(unit, "restart") for unit in also["units"]}
    paths, names = sorted({*changed.touched, *also["files"]}), sorted({*changed.install, *also["packages"]})
    lines = copying(paths, tuple(sorted(verbs.items())), names)
    return _fenced(change, "copy what is there", lines)


def _arm(change: Change, seconds: int) -> Step:
    return _fenced(change, f"let the machine take it back after {seconds} s", texts.arming(change, seconds))


def _lay(change: Change, path: str, file: Mapping[str, Any], secrets: Mapping[str, str]) -> tuple[Step, ...]:
    name, new = f"lay {path} beside", change.beside(path)
    owner, group, mode = file.get("owner") or "root", file.get("group") or "root", file.get("mode") or "0644"
    asked = marked(file["content"], secrets)
    whole = "" if asked else texts.whole_file(new, owner, group, mode)
    pieces = written(new, file["content"].encode("utf-8", "surrogatepass"), whole)
    by_parts = bool(asked) or len(pieces) > 1
    begin = texts.making(change, path)
    fill = (
        "LC_ALL=C",
        f"IFS= read -rd '' text <{word(new)} || true",
        *(f'text=${{text//{word(f"@@{secret}@@")}/"$secret{count}"}}' for count, secret in enumerate(asked, start=1)),
        f'printf %s "$text" >{word(new)}',
    )
    owned = f"chown {word(f'{owner}:{group}')} {word(new)}; chmod {word(mode)} {word(new)}"
    end = (*(fill if asked else ()), *((owned,) if by_parts else ()), f"sync {word(new)}", *_ours(path, new))
    steps = []
    for at, text in enumerate(pieces, start=1):
        last = at == len(pieces)
        lines = (*(begin if at == 1 else ()), text, *(end if last else ()))
        step, says = _part(name, at, len(pieces)), f"{change.service}: done: {_part(name, at, len(pieces))}"
        secret = asked if last else ()
        command = fenced(change, lines, says, secrets=secret)
        steps.append(Step(name=step, command=command, prints=says, secrets=secret))
    return tuple(steps)


def _ours(path: str, new: str) -> tuple[str, ...]:
    ours = f'echo "${{sum%% *}}" {word(path)}'
    return (f"sum=$(sha256sum <{word(new)}); {ours} >>../original/ours; {ours} >>ours",)


def _lay_first(change: Change, path: str) -> Step:
    new = change.beside(path)
    lines = (
        *texts.making(change, path),
        f"cp -a {word(f'../original/files{path}')} {word(new)}",
    )
    return _fenced(change, f"lay what was at {path} before us beside", lines)


def _validate(change: Change, changed: Parts, validate: Mapping[str, Any]) -> tuple[Step, ...]:
    steps = []
    for path in changed.write:
        if command := validate.get(path):
            line = " ".join(word(part.replace("{}", change.beside(path))) for part in command)
            steps.append(_fenced(change, f"validate {path}", (f"{line} 9<&-",)))
    return tuple(steps)


def _place(change: Change, changed: Parts, laid: tuple[str, ...]) -> Step:
    copies = "packaged" if changed.install else "files"
    return _fenced(change, "put in place", texts.placing(change, laid, changed.remove, copies))


def _tell(change: Change, changed: Parts) -> Step:
    lines = texts.telling(changed)
    names = ", ".join(PurePosixPath(unit).stem for unit in changed.units)
    return _fenced(change, f"tell systemd{f': {names}' if names else ''}", lines, seconds=2)


def _check(change: Change, name: str, command: list[str], prints: str) -> Step:
    return _fenced(change, f"check: {name}", texts.checking(command, prints), seconds=1)


def _keep(change: Change, changed: Parts, inputs: Mapping[str, Any]) -> Step:
    says = f"{change.service}: the change is kept"
    given_up = tuple(path for path in changed.touched if path not in (inputs.get("files") or {}))
    kept = texts.keeping(change, given_up, changed.leave, inputs.get("digest") or "")
    lines = (*noting(inputs), *kept)
    return Step(name="keep it", command=fenced(change, lines, says, last=True), prints=says)


def _part(name: str, at: int, count: int) -> str:
    return name if count == 1 else f"{name}, part {at} of {count}"
