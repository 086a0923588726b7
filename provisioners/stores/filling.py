"""How a store of any engine is filled: beside the data that serves, checked there, and only then put in its place."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from model.errors import UnderstudyError
from model.evidence import Check
from model.snapshot import Snapshot
from provisioners.commands import scripted
from provisioners.jobs import end_job, find_job, run_job
from provisioners.outcome import CommandFailed, ConnectionLost, Say, Stopped, Unreachable
from provisioners.provider.inputs import Rule
from provisioners.provider.kinds import Failure, Values
from provisioners.shell import Shell
from provisioners.stores import landing, seeding
from provisioners.stores.landing import BORN_EMPTY, Ground, Lie
from provisioners.stores.needs import refuse_lacking
from provisioners.stores.pgbackrest_repository import PgBackRest
from provisioners.stores.repository import Repository
from provisioners.stores.seeding import Seed
from provisioners.stores.storage import Tree
from provisioners.stores.story import Story

PASSING = (ConnectionLost, Stopped, Unreachable)
"""Errors after which a filling goes on at the next call: what was begun is left as it is."""
_FULL_BYTES = 32 << 20
"""With less than two segments of WAL, PostgreSQL cannot go on; what could not be written whole was removed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """One filling.

    Args:
        place: the directory on the machine.
        repository: the backups; None for a store that begins empty.
        snapshot: what is restored of them; None for a store that begins empty.
        lie: how things lay before.
    """

    seed: Seed
    name: str
    place: str
    repository: Repository | None
    snapshot: Snapshot | None
    lie: Lie

    @property
    def brought(self) -> str:
        """Return where the backup is on the machine while it is restored."""
        return f"{self.place}/repository"


class Engine(Protocol):
    """What differs from engine to engine; each is a module."""

    TOKEN: str
    RULES: Mapping[str, Rule]
    SCRIPT: str
    """The script that fills a place; also the job's name, with hyphens."""
    BEGINS: frozenset[str]
    """Inputs that only say what it begins with; their change alone is no difference."""
    ALWAYS: tuple[str, ...]
    """Names of the checks that must have run, whatever the store."""

    def refused(self, inputs: Mapping[str, Any], /) -> tuple[Failure, ...]:
        """Return what is wrong with inputs beyond the rules."""

    def ground(self, inputs: Mapping[str, Any], /) -> Ground:
        """Return where the data lies."""

    def needs(self, inputs: Values, /) -> Mapping[str, str]:
        """Return the programs that a filling runs on the machine, and the Debian packages that have them."""

    def bring(self, shell: Shell, filling: Filling, tree: Tree, say: Say) -> None:
        """Bring the backup to the machine, into the directory ``filling.brought``."""

    def variables(self, inputs: Values, filling: Filling) -> Mapping[str, str]:
        """Return the script's environment."""

    def settle(self, shell: Shell, inputs: Values, say: Say, *, serving: bool) -> None:
        """Bring settings and passwords to what is wanted; not ``serving`` before other data takes over."""

    def drifted(self, shell: Shell, inputs: Values, lie: Lie) -> dict[str, Any]:
        """Return the inputs that are really other than wanted."""


def fill(shell: Shell, engine: Engine, inputs: Values, seed: Seed, lie: Lie, say: Say) -> Mapping[str, Any]:
    """Fill a new place, check it, and put it in use.

    Returns:
        What is remembered of it on the machine.

    Raises:
        UnderstudyError: the backup or its data is not good; what served before still does.
    """
    where = engine.ground(inputs)
    _refuse_loss(shell, where, seed, lie)
    refuse_lacking(shell, seed.store, engine.needs(inputs))
    repository: Repository | None = None
    snapshot: Snapshot | None = None
    if seed.kind != BORN_EMPTY:
        say("looking at the backup")
        repository, snapshot = seeding.open_pinned(seed, lie)
    clear_left(shell, engine, inputs, lie, seed.key)
    name = landing.begin(shell, where, lie, seed.key)
    filling = Filling(seed=seed, name=name, place=where.place(name), repository=repository, snapshot=snapshot, lie=lie)
    try:
        record = _checked(shell, engine, inputs, filling, say)
        engine.settle(shell, inputs, say, serving=False)
        say("all checks passed; the new data takes over")
        landing.switch(shell, where, lie, name, record)
    except UnderstudyError as error:
        if not isinstance(error, PASSING):
            _give_up(shell, engine, inputs, filling)
        raise
    end_job(shell, _job(engine))
    return record


def clear_left(shell: Shell, engine: Engine, inputs: Values, lie: Lie, begun: str = "") -> None:
    """End and remove what killed runs left, its disk included, but for what was ``begun`` with this key."""
    where, left = engine.ground(inputs), landing.left_over(lie, begun)
    if not left:
        return
    if find_job(shell, _job(engine)).key.partition(" ")[0] in left:
        end_job(shell, _job(engine))
    for name in left:
        seeding.seed_of(inputs).way.take_away(shell, f"{where.place(name)}/repository")
    landing.clear(shell, where, *left)


def _refuse_loss(shell: Shell, where: Ground, seed: Seed, lie: Lie) -> None:
    if seed.kind == BORN_EMPTY and lie.current is not None and lie.current.seed.get("kind") == BORN_EMPTY:
        raise UnderstudyError(
            where=f"{shell.connection.name}: {where.current}",
            found="the directory of its data is gone, though it is nobody's copy",
            todo="Put it back, or remove the link if the data is not needed.",
        )


def _job(engine: Engine) -> str:
    return engine.SCRIPT.replace("_", "-")


def _give_up(shell: Shell, engine: Engine, inputs: Values, filling: Filling) -> None:
    end_job(shell, _job(engine))
    filling.seed.way.take_away(shell, filling.brought)
    landing.clear(shell, engine.ground(inputs), filling.name)


def _checked(shell: Shell, engine: Engine, inputs: Values, filling: Filling, say: Say) -> Mapping[str, Any]:
    story = _told(shell, engine, inputs, filling, say)
    age = seeding.judge_age(story, inputs.get("heartbeat") or {}, filling.snapshot)
    _judge(shell, engine, inputs, filling, story, age)
    timings = story.timings()
    seconds = round(timings.get("restore", 0.0) + timings.get("recovery", 0.0), 3) if filling.snapshot else None
    return seeding.seed_record(filling.seed, filling.name, story, filling.snapshot, age, seconds)


def _told(shell: Shell, engine: Engine, inputs: Values, filling: Filling, say: Say) -> Story:
    """Run the filling on the machine, or follow the one that runs there already, and return what it told."""
    seed, snapshot, key = filling.seed, filling.snapshot, f"{filling.name} {filling.seed.key}"
    story = Story(say=say, size_bytes=snapshot.size_bytes if snapshot else 0)
    known = find_job(shell, _job(engine))
    if known.key != key or known.state == "died":
        if known.state != "absent":
            end_job(shell, _job(engine))
        if snapshot is not None and seed.by_machine:
            seeding.check_space(shell, snapshot, 0, filling.lie, engine.ground(inputs).root)
            say("the machine fetches the backup itself")
        elif filling.repository is not None and snapshot is not None:
            tree = filling.repository.fetch(snapshot.label, say)
            seeding.check_space(shell, snapshot, tree.size_bytes, filling.lie, engine.ground(inputs).root)
            seed.way.take_away(shell, filling.brought)
            shell.run(("mkdir", "-m", "0755", "--", filling.brought))
            began = time.monotonic()
            engine.bring(shell, filling, tree, say)
            story.bring_seconds = time.monotonic() - began
    variables = engine.variables(inputs, filling)
    try:
        script = scripted(engine.SCRIPT, sharing="filling")
        run_job(shell, _job(engine), key, script, on_line=story.heard, environment=variables)
    except CommandFailed as error:
        unknown = seeding.Age(seconds=None, check=None)
        seeding.note_attempt(seeding.seed_record(seed, filling.name, story, snapshot, unknown, None))
        raise _explained(shell, engine.ground(inputs), filling, story, error) from error
    seed.way.take_away(shell, filling.brought)
    return story


def _explained(shell: Shell, where: Ground, filling: Filling, story: Story, error: CommandFailed) -> UnderstudyError:
    """Return the error with the words that matter: those of the programs that failed."""
    lines = error.result.stdout.decode("utf-8", "replace").splitlines()
    told = [line for line in lines if not line.startswith("@") and " INFO: " not in line and line.strip()]
    if isinstance(filling.repository, PgBackRest):
        damaged = filling.repository.damaged_files(filling.seed.snapshot)
        told += [f"damaged in the repository: {name}" for name in damaged[:3]]
    free = landing.survey(shell, where).free_bytes
    if free < _FULL_BYTES:  # a server's own log, which would say so, may lie on that disk
        told.append(f"the disk of {where.root} is full: {free >> 20} MiB are left (No space left on device)")
    return UnderstudyError(
        where=_named(shell, filling),
        found=f"it cannot be restored ({story.phase or 'the beginning'}): " + ("\n".join(told[-6:]) or str(error)),
        todo="The old data still serves." if filling.lie.current else "Nothing serves yet.",
    )


def _named(shell: Shell, filling: Filling) -> str:
    return f"{shell.connection.name}: store {filling.seed.store}, snapshot {filling.seed.snapshot or 'none'}"


def _judge(shell: Shell, engine: Engine, inputs: Values, filling: Filling, story: Story, age: seeding.Age) -> None:
    """Complete the checks and raise where one is not green."""
    if filling.snapshot is None:  # an empty store need not have rows
        story.checks = [check for check in story.checks if check.name in engine.ALWAYS]
    else:
        tables = tuple(f"table {table} has rows" for table in inputs.get("expected_tables") or ())
        story.checks += seeding.missing_checks(story, (*engine.ALWAYS, *tables))
    if age.check is not None:
        story.checks.append(age.check)
    if filling.snapshot is not None and filling.snapshot.system_identifier:
        found, wanted = story.facts.get("system_identifier", ""), filling.snapshot.system_identifier
        detail = found if found == wanted else f"it is {found or 'unknown'}, the backup says {wanted}"
        name = "it is the backup's own cluster (system identifier)"
        story.checks.append(Check(name=name, ok=found == wanted, detail=detail))
    if not story.done or not all(check.green for check in story.checks):
        seeding.note_attempt(seeding.seed_record(filling.seed, filling.name, story, filling.snapshot, age, None))
        raise seeding.ChecksFailed(_named(shell, filling), story.checks, serves=filling.lie.current is not None)
