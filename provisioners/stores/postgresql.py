"""A PostgreSQL server with one database: empty, or restored from a backup and checked before it serves."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from model.errors import UnderstudyError
from model.evidence import Check
from model.pgbackrest import wal_segments
from model.snapshot import Snapshot
from provisioners.commands import scripted
from provisioners.jobs import end_job, find_job, run_job
from provisioners.outcome import CommandFailed, Say
from provisioners.provider.inputs import REACH, TEXT, WORDS, failures, optional
from provisioners.provider.kinds import Failure, Real, Values
from provisioners.provider.machines import changing, reading
from provisioners.shell import Shell
from provisioners.stores import landing, seeding
from provisioners.stores.dump_repository import Dumps
from provisioners.stores.landing import BORN_EMPTY, Ground, Lie
from provisioners.stores.pgbackrest_repository import PgBackRest
from provisioners.stores.postgresql_server import drifted, ground, settle
from provisioners.stores.postgresql_texts import (
    checks_sql,
    private_settings,
    programs,
    roles_sql,
    scram_verifier,
    unit_name,
)
from provisioners.stores.repository import Repository
from provisioners.stores.seeding import Seed, seed_of
from provisioners.stores.story import Story
from provisioners.stores.transfer import environment

_JOB = "postgresql-fill"
_MOST_SQL = 60_000
"""It travels as one variable of an environment, which Linux limits to 128 KiB."""
_RULES = {
    **seeding.RULES,
    "version": TEXT,
    "database": TEXT,
    "owner_role": TEXT,
    "owner_password": TEXT,
    "replication_password": optional(TEXT),
    "replica_addresses": optional(WORDS),
    "settings": seeding.SETTINGS,
    "hba": optional(WORDS),
    "seed": seeding.seed_rule(BORN_EMPTY, "pgbackrest", "pg_dump"),
    "expected_tables": optional(WORDS),
    "heartbeat": seeding.HEARTBEAT,
    "init_sql": optional(TEXT),
}
_ALWAYS = (
    "server accepts connections",
    "data checksums are on",
    "every table and index is readable (pg_amcheck)",
    "every page has its checksum (pg_checksums)",
)


class PostgresPrimary:
    """Kind ``understudy:index:PostgresPrimary``.

    ``seed``, ``snapshot``, ``snapshot_digest`` and ``drilled_at`` say what it is filled with: a change of these
    restores anew, beside the data that serves, and only what passed all checks takes its place. Data that began empty
    (``seed: init``) is nobody's copy: it is never removed, and a later change of ``init_sql`` does not touch it.
    """

    token = "understudy:index:PostgresPrimary"
    secret_outputs: frozenset[str] = frozenset()
    replace_on = frozenset({"store"})
    ignored = REACH | seeding.WAYS

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        found = failures(inputs, _RULES)
        if len(str(inputs.get("init_sql") or "")) > _MOST_SQL:
            reason = f"has more than {_MOST_SQL} characters; let it make the tables, and fill them another way"
            found = (*found, Failure(property="init_sql", reason=reason))
        return found

    def foresee(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Values:
        """Return all outputs where the data stays."""
        try:
            stays = outputs.get("key") == seed_of(inputs).key
        except (TypeError, KeyError, AttributeError):
            return {}
        return dict(outputs) if stays else {"unit": unit_name(str(inputs["version"]))}

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Fill it, unless the data that is wanted serves already, and let it serve.

        Raises:
            UnderstudyError: the backup is bad, or its data is; what served before still does.
        """
        seed, where = seed_of(inputs), ground(inputs["version"])
        with changing(inputs, f"the database {seed.store}", say) as shell:
            lie = landing.survey(shell, where)
            if seed.is_in(lie):
                left = [place.name for place in lie.others if place.seed.get("kind") != BORN_EMPTY]
                landing.clear(shell, where, *left)
                settle(shell, inputs, say)
            else:
                lie = _filled(shell, inputs, seed, lie, say)
            assert lie.current is not None
            return f"{inputs['connection']['name']}:{seed.store}", _outputs(lie.current.seed, inputs)

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return what really serves there."""
        if not inputs:
            raise UnderstudyError(where=identifier, found="a store is not imported", todo="Let `up` make it.")
        with reading(inputs, identifier, say) as shell:
            lie = landing.survey(shell, ground(inputs["version"]))
            if lie.current is None or not lie.current.has_data or not lie.current.seed:
                return None
            found = drifted(shell, inputs, lie)
        seed = lie.current.seed
        if seed.get("key") != seed_of(inputs).key:
            found["snapshot"] = str(seed.get("snapshot") or "none that is known")
        return Real(inputs={**inputs, **found}, outputs=_outputs(seed, inputs))

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Fill it anew where other data is wanted; otherwise change settings, rules and passwords in place."""
        return self.create(inputs, say)[1]

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Forget it: a store's data is never deleted with its resource."""


def _outputs(record: Mapping[str, Any], inputs: Mapping[str, Any]) -> Values:
    return {**record, "unit": unit_name(inputs["version"])}


def _filled(shell: Shell, inputs: Values, seed: Seed, lie: Lie, say: Say) -> Lie:
    """Fill a new place, check it, and put it in use."""
    where = ground(inputs["version"])
    if seed.kind == BORN_EMPTY and lie.current is not None and lie.current.seed.get("kind") == BORN_EMPTY:
        raise UnderstudyError(
            where=f"{shell.connection.name}: {where.current}",
            found="the directory of its data is gone, though it is nobody's copy",
            todo="Put it back, or remove the link if the data is not needed.",
        )
    repository: Repository | None = None
    snapshot: Snapshot | None = None
    if seed.kind != BORN_EMPTY:
        say("looking at the backup")
        repository, snapshot = seeding.open_pinned(seed, lie)
    name = landing.begin(shell, where, lie, seed.key)
    try:
        story = _told(shell, inputs, seed, name, repository, snapshot, lie, say)
        age = seeding.judge_age(story, inputs.get("heartbeat") or {}, snapshot)
        _judge(shell, seed, inputs, story, age, snapshot, lie)
        timings = story.timings()
        seconds = round(timings.get("restore", 0.0) + timings.get("recovery", 0.0), 3) if snapshot else None
        record = seeding.seed_record(seed, name, story, snapshot, age, seconds)
        settle(shell, inputs, say, serving=False)
        say("all checks passed; the new data takes over")
        landing.switch(shell, where, lie, name, record)
    except UnderstudyError as error:
        if not isinstance(error, _passing()):
            _give_up(shell, where, seed, name)
        raise
    end_job(shell, _JOB)
    return landing.survey(shell, where)


def _passing() -> tuple[type[UnderstudyError], ...]:
    """Errors after which the filling goes on at the next call."""
    from provisioners.outcome import ConnectionLost, Stopped, Unreachable

    return (ConnectionLost, Stopped, Unreachable)


def _give_up(shell: Shell, where: Ground, seed: Seed, name: str) -> None:
    end_job(shell, _JOB)
    seed.way.take_away(shell, f"{where.place(name)}/repository")
    landing.clear(shell, where, name)


def _told(
    shell: Shell,
    inputs: Values,
    seed: Seed,
    name: str,
    repository: Repository | None,
    snapshot: Snapshot | None,
    lie: Lie,
    say: Say,
) -> Story:
    """Run the filling on the machine, or follow the one that runs there already, and return what it told."""
    where = ground(inputs["version"])
    place, key = where.place(name), f"{name} {seed.key}"
    known = find_job(shell, _JOB)
    if repository is not None and snapshot is not None and (known.key != key or known.state == "died"):
        tree = repository.fetch(snapshot.label, say)
        seeding.check_space(shell, snapshot, tree.size_bytes, lie, where.root)
        end_job(shell, _JOB)
        seed.way.take_away(shell, f"{place}/repository")
        shell.run(("mkdir", "-m", "0755", "--", f"{place}/repository"))
        seed.way.bring(shell, tree, f"{place}/repository", say, root_reads=seed.kind == "pgbackrest")
    story = Story(say=say, size_bytes=snapshot.size_bytes if snapshot else 0)
    variables = _variables(inputs, seed, place, repository, snapshot, lie)
    try:
        run_job(shell, _JOB, key, scripted("postgresql_fill"), on_line=story.heard, environment=variables)
    except CommandFailed as error:
        raise _explained(shell, seed, story, error, serves=lie.current is not None) from error
    seed.way.take_away(shell, f"{place}/repository")
    return story


def _variables(
    inputs: Values, seed: Seed, place: str, repository: Repository | None, snapshot: Snapshot | None, lie: Lie
) -> Mapping[str, str]:
    replication = inputs.get("replication_password") or ""
    salts = (secrets.token_bytes(16), secrets.token_bytes(16))
    verifier = scram_verifier(inputs["owner_password"], salts[0])
    common = environment(
        kind=seed.kind,
        place=place,
        bin=programs(inputs["version"]),
        processors=lie.processors,
        private_conf=private_settings(place, inputs.get("settings") or {}, seed.kind == "pgbackrest"),
        database=inputs["database"],
        owner=inputs["owner_role"],
        roles_sql=roles_sql(
            inputs["owner_role"], verifier, scram_verifier(replication, salts[1]) if replication else ""
        ),
        init_sql=inputs.get("init_sql") or "",
        checks_sql=checks_sql(inputs.get("expected_tables") or (), inputs.get("heartbeat") or {}),
    )
    if isinstance(repository, PgBackRest) and snapshot is not None and seed.backup is not None:
        own = environment(stanza=seed.backup.stanza, label=snapshot.label, segments=wal_segments(snapshot))
        return {**common, **own}
    if isinstance(repository, Dumps):
        return {**common, **environment(dump=repository.path(seed.snapshot), format=repository.format(seed.snapshot))}
    return common


def _explained(shell: Shell, seed: Seed, story: Story, error: CommandFailed, serves: bool) -> UnderstudyError:
    """Return the error with the words that matter: those of pgBackRest or PostgreSQL."""
    lines = error.result.stdout.decode("utf-8", "replace").splitlines()
    told = [line for line in lines if not line.startswith("@") and " INFO: " not in line and line.strip()]
    phase = story.phase or "the beginning"
    return UnderstudyError(
        where=f"{shell.connection.name}: store {seed.store}, snapshot {seed.snapshot or 'none'}",
        found=f"it cannot be restored ({phase}): " + ("\n".join(told[-6:]) or str(error)),
        todo="The old data still serves." if serves else "Nothing serves yet.",
    )


def _judge(
    shell: Shell, seed: Seed, inputs: Values, story: Story, age: seeding.Age, snapshot: Snapshot | None, lie: Lie
) -> None:
    """Complete the checks and raise where one is not green."""
    if snapshot is None:  # an empty database need not have rows
        story.checks = [check for check in story.checks if check.name in _ALWAYS]
    else:
        tables = tuple(f"table {table} has rows" for table in inputs.get("expected_tables") or ())
        story.checks += seeding.missing_checks(story, (*_ALWAYS, *tables))
    if age.check is not None:
        story.checks.append(age.check)
    if snapshot is not None and snapshot.system_identifier:
        found = story.facts.get("system_identifier", "")
        same = found == snapshot.system_identifier
        detail = found if same else f"it is {found}, the backup says {snapshot.system_identifier}"
        story.checks.append(Check(name="it is the backup's own cluster (system identifier)", ok=same, detail=detail))
    if not story.done or not all(check.green for check in story.checks):
        where = f"{shell.connection.name}: store {seed.store}, snapshot {seed.snapshot or 'none'}"
        raise seeding.ChecksFailed(where, story.checks, serves=lie.current is not None)
