"""Rehearses on a stage what Git would change: apply, check, back out, compare, apply again, check.

That is services, and machines: new ones, and other sizes. It begins where prod stands: what services of the stage have
and prod's have not is taken back first. All else must be up to date. A disk with data that would be made anew cannot be
rehearsed: it has no way back. What came of it is appended to the stage's log of evidence, signed with your key; only
with such a record does prod's gate let the change through. Do not edit services/ meanwhile.
The exit code is 0 where all went well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.arguments import add_stack, project_directory, short_stack
from cli.change._previewed import previewed
from cli.change._stage import Stage, ahead_of_prod, had_by_prod, refuse_without_copies, say
from cli.files import load_environment, read_lock
from cli.mirror import compared, portraits
from components.files import SIZES_BEFORE
from model.change.digest import identifier
from model.change.planned import SERVICE, VOLUME, Planned, planned
from model.change.rehearsing import (
    Base,
    Wanted,
    changes,
    changes_of_machines,
    refuse_another_text,
    refuse_other_start,
    resized,
    sizes_before,
    wanted,
    with_bigger_disk,
)
from model.drilling import fault_in
from model.errors import UnderstudyError
from model.evidence.rehearsal import (
    BACK_OUT,
    NO_CHECK,
    Rehearsal,
    RehearsedSeed,
    RehearsedStep,
    rehearsal_body,
)
from model.mirror import Excuse, Portrait, compare_all, in_record, of_a_boot
from provisioners import evidence_log
from provisioners.signing import find_signer
from provisioners.ticker import ticking

_QUIET = frozenset(f"understudy:index:{kind}" for kind in ("HttpCheck", "Report", "TunnelCheck"))
"""Kinds that follow whatever changes."""
_MACHINE = (
    "Boot",
    "DataDisk",
    "Fence",
    "Filesystem",
    "FirstContact",
    "SshKeypair",
    "Template",
    "Tunnel",
    "WarmStart",
    "WireguardKeypair",
)
_OF_MACHINES = frozenset(f"understudy:index:{kind}" for kind in _MACHINE)
"""Kinds that change where a machine does, beside libvirt's own."""
_STAYS = "it is not made smaller again, and need not be"


@dataclass(slots=True)
class Play:
    """A rehearsal while it runs: what was done so far, what came of it, and what a way back left to a person."""

    directory: Path
    stack: str
    services: Sequence[Planned]
    there: Wanted | None = None
    base: Base = None
    boots: Sequence[Planned] = ()
    steps: list[RehearsedStep] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    fault: str = ""
    left: list[str] = field(default_factory=list)

    @property
    def machines(self) -> tuple[str, ...]:
        """Return the machines concerned that are there already."""
        every = {*(step.name.partition(":")[0] for step in self.services), *(step.name for step in self.boots)}
        return tuple(sorted(every - {step.name for step in self.boots if not step.before}))

    @property
    def staying(self) -> tuple[Planned, ...]:
        """Return the steps of services that are taken back by their copies: on a new machine they go with it."""
        return tuple(step for step in self.services if step.name.partition(":")[0] in self.machines)

    @property
    def sizes_before(self) -> dict[str, Any]:
        """Return the sizes that the machines had; None for one that was not there."""
        return {step.name: sizes_before(step) for step in self.boots}

    @property
    def bigger(self) -> tuple[str, ...]:
        """Return the machines whose data disk becomes bigger, and stays so."""
        return tuple(step.name for step in self.boots if with_bigger_disk(step))

    @property
    def excuses(self) -> tuple[Excuse, ...]:
        """Return what may differ after the way back: what a boot makes anew, and the size of what stays bigger."""
        stays = (Excuse(key="size of /srv", reason=_STAYS, area="system", machine=name) for name in self.bigger)
        return (*stays, *(excuse for step in self.boots for excuse in of_a_boot(step.name)))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step, and note how it went."""
        began, ok = time.monotonic(), False
        try:
            with ticking(say) as tell:
                tell(f"{name} …")
                yield
            ok = True
        finally:
            seconds = round(time.monotonic() - began, 1)
            self.steps.append(RehearsedStep(name=name, seconds=seconds, ok=ok))
            print(f"{name}: {'done' if ok else 'FAILED'} in {seconds:.1f} s", flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy change rehearse`."""
    add_stack(parser)
    parser.add_argument("--key", default="", metavar="FILE", help="the SSH key to sign with; default: your own")


def run(arguments: argparse.Namespace) -> int:
    """Rehearse, record, and say what came of it."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    environment = load_environment(directory, stack)
    if not environment.mirror_of:
        wanted = "a stack that mirrors another (`understudy:mirror`)"
        raise UnderstudyError(where=f"stack {stack}", found="it mirrors no other", wanted=wanted)
    signer = find_signer(directory, file=arguments.key)
    base = had_by_prod(directory, environment.mirror_of)
    there, steps = looked_at(directory, stack, base)
    play = Play(directory, stack, to_rehearse(stack, steps), there, base, resized(steps))
    refuse_other_start(stack, play.services, there, base)
    faithful = in_record(compared(directory, stack))
    try:
        perform(play)
    except UnderstudyError as error:
        play.fault = str(error)
    rehearsal = rehearsal_of(play, faithful, _seeds(directory, stack))
    body = rehearsal_body(rehearsal) | ({"fault": play.fault} if play.fault else {})
    body |= {"not_rehearsed": play.left} if play.left else {}
    record = evidence_log.append(directory, stack, signer, lambda _: ("rehearsal", body), say=print)
    for line in (*(f"  NOT REHEARSED: {line}" for line in play.left), *told(rehearsal, play.fault, stack)):
        print(line)
    print(f"record {record.n if record else '?'} of the evidence of {stack}")
    return 0 if rehearsal.green else 1


def to_rehearse(stack: str, steps: Sequence[Planned]) -> tuple[Planned, ...]:
    """Return the planned steps of services.

    Raises:
        UnderstudyError: there are none, nor of machines; or others as well, or some that cannot be taken back.
    """
    machines = resized(steps)
    services = tuple(step for step in steps if step.kind == SERVICE and not _only_restarted(step, machines))
    follow = {SERVICE, *_QUIET, *(_OF_MACHINES if machines else ())}
    others = [
        f"{step.kind.rpartition(':')[2]} {step.name}"
        for step in steps
        if step.kind not in follow and not (machines and step.kind.startswith("libvirt:"))
    ]
    if lost := [step.name for step in steps if step.kind == VOLUME and step.operation in ("replace", "delete")]:
        raise UnderstudyError(
            where=f"stack {stack}",
            found=f"disks would be made anew or removed, and what is on them is lost: {', '.join(lost)}",
            wanted="a change that can be taken back",
            todo="Its only way back is a restore, which is no rehearsal: prod's gate takes your word for it, "
            "`./run understudy change word`; its preview gives the digest.",
        )
    if not services and not machines:
        raise UnderstudyError(
            where=f"stack {stack}",
            found="Git changes no service and no machine there",
            wanted="an edit; what prod's services have not and the stage's have already would be taken back first",
            todo="If prod is still refused, its services may have no copies here: `understudy change list` shows them.",
        )
    if others:
        raise UnderstudyError(
            where=f"stack {stack}",
            found=f"not only services and machines would change: {', '.join(others[:5])}",
            todo=f"Bring it up without this change first (`git stash`, `./run pulumi up -s {stack}`).",
        )
    return services


def _only_restarted(step: Planned, machines: Sequence[Planned]) -> bool:
    """Tell whether a preview names a service only because its machine starts anew, and nothing of it is yet known."""
    restarted = {each.name for each in machines if each.before}
    same = bool(step.before and step.after) and step.before.get("digest") == step.after.get("digest")
    return same and step.name.partition(":")[0] in restarted


def perform(play: Play) -> None:
    """Apply, check, back out, compare, apply again.

    Raises:
        UnderstudyError: one of them failed; what was done so far is in the play. What was applied is taken back where
            it did not go well at first.
    """
    with play.step("look at the machines"):
        before = _looked(play)
        stage = Stage(play.directory, play.stack, play.machines)
    try:
        with play.step("apply and check"):
            _up(play)
            refuse_another_text(play.services, stage.digests, stage.digests_now())
    except UnderstudyError:
        with play.step("back out what was applied"):
            if play.boots:
                _up(play, play.sizes_before)
            stage.back_out(stage.made())
            stage.state_again()
        raise
    with play.step(BACK_OUT):
        if play.boots:
            _up(play, play.sizes_before)
        made = stage.made()
        refuse_without_copies(play.staying, made)
        play.left += [*stage.back_out(made), *(f"{name}: its data disk: {_STAYS}" for name in play.bigger)]
    with play.step("compare with how it was"):
        play.differences += differences(before, _looked(play), play.excuses)
    with play.step("apply again and check"):
        stage.state_again()
        _up(play)
        refuse_another_text(play.services, stage.digests, stage.digests_now())


def differences(before: Sequence[Portrait], after: Sequence[Portrait], excuses: Sequence[Excuse] = ()) -> list[str]:
    """Return in what the same machines differ from how they were, in words, and without what may differ."""
    mirror = compare_all(tuple(zip(before, after, strict=True)), excuses, datetime.now(UTC).date())
    return [
        f"{each.machine}: {each.area}: {each.key}: before {each.prod}, after the back-out {each.stage}"
        for each in mirror.differences
        if each.excuse is None
    ]


def looked_at(directory: Path, stack: str, base: Base) -> tuple[Wanted, tuple[Planned, ...]]:
    """Return what Git has, and what an update would do, on a stage that was brought to where prod stands."""
    options = ("--refresh", "--show-sames")
    preview = previewed(directory, stack, *options)
    there = wanted(preview)
    if ahead_of_prod(directory, stack, there, base):
        preview = previewed(directory, stack, *options)
    return wanted(preview), planned(preview)


def _looked(play: Play) -> tuple[Portrait, ...]:
    found = portraits(play.directory, play.stack, play.machines)
    for portrait in found:
        if portrait.failed:
            raise UnderstudyError(where=portrait.machine, found=portrait.failed)
    return found


def _up(play: Play, sizes: Mapping[str, Any] | None = None) -> None:
    """Bring the stage up, its machines with these sizes, else as Git has them.

    With a refresh, since changes were taken back without the state knowing of it.
    """
    argv = (str(play.directory / "run"), "pulumi", "up", "-s", play.stack, "--yes", "--skip-preview", "--refresh")
    kept: list[str] = []
    with subprocess.Popen(
        (*argv, "--non-interactive", "--color", "never"),
        cwd=play.directory,
        env=os.environ | ({SIZES_BEFORE: json.dumps(sizes)} if sizes else {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            kept.append(line)
    if process.returncode:
        raise UnderstudyError(where=f"stack {play.stack}", found=fault_in("".join(kept)))


def _seeds(directory: Path, stack: str) -> tuple[RehearsedSeed, ...]:
    placement = read_lock(directory, stack)
    return tuple(
        RehearsedSeed(store=pin.store, snapshot=pin.snapshot, taken_at=f"{pin.taken_at.astimezone(UTC):%FT%TZ}")
        for pin in (placement.seeds if placement else ())
    )


def rehearsal_of(play: Play, mirror: Mapping[str, Any], seeds: tuple[RehearsedSeed, ...]) -> Rehearsal:
    """Return what the record says."""
    return Rehearsal(
        changes=(*changes(play.services, play.there, play.base), *changes_of_machines(play.boots)),
        green=not play.fault and not play.differences and all(step.ok for step in play.steps),
        steps=tuple(play.steps),
        seeds=seeds,
        faithful=float(mirror["faithful"]),
        differences=tuple(play.differences),
        mirror={key: mirror[key] for key in ("complete", "differences", "unexcused")},
    )


def told(rehearsal: Rehearsal, fault: str, stack: str) -> list[str]:
    """Return what came of it, in a few lines."""
    lines = [f"  {'ok ' if step.ok else 'RED'} {step.name}: {step.seconds:.1f} s" for step in rehearsal.steps]
    lines += [f"  RED {difference}" for difference in rehearsal.differences]
    for change in rehearsal.changes:
        lines.append(f"change {identifier(change.digest)} of {change.service} on {', '.join(change.machines)}")
        if change.check == NO_CHECK:
            word = f'./run understudy change word {identifier(change.digest)} -s {stack} --why "..."'
            lines.append(f"  it has no check of its own: look at the stage, then give your word: {word}")
    return [*lines, f"rehearsal: {'GREEN' if rehearsal.green else 'RED'}{f': {fault}' if fault else ''}"]
