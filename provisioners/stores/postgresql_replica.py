"""A PostgreSQL server that follows a primary: a copy of it, made anew where the primary's data is other data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.errors import UnderstudyError
from model.evidence import Check
from model.postgresql import REPLICATION_ROLE, configuration_directory, programs, unit_name
from provisioners.commands import scripted
from provisioners.jobs import end_job, run_job
from provisioners.outcome import CommandFailed, ConnectionLost, Say, Stopped, Unreachable
from provisioners.provider.inputs import COMMON, FLAG, REACH, TEXT, WORDS, Rule, failures, optional
from provisioners.provider.kinds import Failure, Real, Values
from provisioners.provider.machines import changing, reading
from provisioners.shell import Shell
from provisioners.stores import landing, seeding
from provisioners.stores.landing import Lie
from provisioners.stores.needs import refuse_lacking
from provisioners.stores.postgresql import BEGINS
from provisioners.stores.postgresql_server import apply, ground, other_files, place_files, psql
from provisioners.stores.postgresql_texts import (
    HARMLESS,
    server_needs,
)
from provisioners.stores.story import Story, check_values
from provisioners.stores.transfer import TextFile, environment

_JOB = "postgresql-follow"
_PATIENCE_SECONDS = 90
_PRIMARY = Rule(
    good=lambda value: (
        isinstance(value, Mapping)
        and {"name", "address"} <= set(value)
        and all(isinstance(each, str) for each in value.values())
    ),
    allowed="the primary's `name` and `address`, and `port` where it is not 5432",
)
_RULES = {
    **COMMON,
    "store": TEXT,
    "version": TEXT,
    "primary": _PRIMARY,
    "primary_data_id": TEXT,
    "primary_system_identifier": TEXT,
    "replication_password": TEXT,
    "port": optional(TEXT),
    "configuration": optional(TEXT),
    "settings": seeding.SETTINGS,
    "hba": optional(WORDS),
    "running": optional(FLAG),
}
_FOLLOWS = "it streams from its primary"


class PostgresReplica:
    """Kind ``understudy:index:PostgresReplica``."""

    token = "understudy:index:PostgresReplica"
    secret_outputs: frozenset[str] = frozenset()
    replace_on = frozenset({"store"})
    ignored = REACH | BEGINS

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        return failures(inputs, _RULES)

    def foresee(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Values:
        """Return what stays where it need not be copied anew."""
        if outputs.get("key") == _key(inputs):
            return {name: value for name, value in outputs.items() if name not in ("lag_bytes", "checks")}
        return {}

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Copy the primary, unless a copy of its present data is there, and follow it.

        Raises:
            UnderstudyError: it cannot be copied, or does not follow.
        """
        where = ground(inputs["version"])
        with changing(inputs, f"the replica of {inputs['store']}", say) as shell:
            lie = landing.survey(shell, where)
            follows = None
            if lie.current is not None and lie.current.has_data and lie.current.seed.get("key") == _key(inputs):
                landing.clear(shell, where, *(place.name for place in lie.others))
                apply(shell, inputs, changed=_settle(shell, inputs))
                follows = _follows(shell, inputs, say)
            if follows is None or not follows.green:
                lie = _copied(shell, inputs, lie, say)
                follows = _follows(shell, inputs, say)
            if not follows.green:
                raise UnderstudyError(
                    where=f"{shell.connection.name}: replica of {inputs['store']}",
                    found=f"it does not follow {inputs['primary']['name']}: {follows.detail}",
                )
            assert lie.current is not None
            return f"{inputs['connection']['name']}:{inputs['store']}", _outputs(lie.current.seed, follows)

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return what is really there, and whether it follows."""
        if not inputs:
            raise UnderstudyError(where=identifier, found="a replica is not imported", todo="Let `up` make it.")
        with reading(inputs, identifier, say) as shell:
            lie = landing.survey(shell, ground(inputs["version"]))
            if lie.current is None or not lie.current.has_data or not lie.current.seed:
                return None
            found = other_files(shell, inputs, _forced(inputs))
            if "running" in inputs:
                found["running"] = lie.active
            if lie.current.seed.get("key") != _key(inputs):
                found["primary_data_id"] = str(lie.current.seed.get("primary_data_id", ""))
            elif lie.active and not _streams(shell, inputs, 5).green:
                found["primary_data_id"] = "it does not follow"
        return Real(inputs={**inputs, **found})

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Copy it anew where the primary's data is other data; otherwise change settings in place."""
        return self.create(inputs, say)[1]

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Forget it: a store's data is never deleted with its resource."""


def _key(inputs: Mapping[str, Any]) -> str:
    return f"{inputs['primary_data_id']} {inputs['primary_system_identifier']}"


def _outputs(record: Mapping[str, Any], follows: Check) -> Values:
    lag = int(follows.detail.partition(" ")[0] or 0)
    checks = [*record.get("checks", ()), *check_values([follows])]
    return {**record, "checks": checks, "lag_bytes": lag, "unit": record.get("unit", "")}


def _connection_info(inputs: Mapping[str, Any]) -> str:
    primary = inputs["primary"]
    name = inputs["connection"]["name"]
    words = (f"host={primary['address']}", f"port={primary.get('port', '5432')}", f"user={REPLICATION_ROLE}")
    return " ".join((*words, f"application_name={name}", "connect_timeout=10"))


def _pass_line(inputs: Mapping[str, Any]) -> str:
    password = inputs["replication_password"].replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:{REPLICATION_ROLE}:{password}"


def _passfile(inputs: Mapping[str, Any]) -> str:
    return f"{configuration_directory(inputs['version'])}/replication.pass"


def _forced(inputs: Mapping[str, Any]) -> Mapping[str, str]:
    information = f"{_connection_info(inputs)} passfile={_passfile(inputs)}"
    return {**HARMLESS, "primary_conninfo": information, "hot_standby": "on"}


def _settle(shell: Shell, inputs: Values) -> bool:
    text = f"{_pass_line(inputs)}\n"
    secret = TextFile(path=_passfile(inputs), text=text, owner="postgres", group="postgres", mode=0o600)
    return place_files(shell, inputs, _forced(inputs), (), secret)


def _copied(shell: Shell, inputs: Values, lie: Lie, say: Say) -> Lie:
    where, key = ground(inputs["version"]), _key(inputs)
    refuse_lacking(shell, inputs["store"], server_needs(inputs["version"]))
    name = landing.begin(shell, where, lie, key)
    try:
        story = _told(shell, inputs, where.place(name), f"{name} {key}", say)
        _judge(shell, inputs, story)
        _settle(shell, inputs)
        say("starting the replica")
        record = {
            "key": key,
            "kind": "replica",
            "store": inputs["store"],
            "data_id": name,
            "primary_data_id": inputs["primary_data_id"],
            "system_identifier": story.facts["system_identifier"],
            "timings": story.timings(),
            "checks": check_values(story.checks),
            "unit": unit_name(inputs["version"]),
        }
        landing.switch(shell, where, lie, name, record)
    except (ConnectionLost, Stopped, Unreachable):
        raise
    except UnderstudyError:
        end_job(shell, _JOB)
        landing.clear(shell, where, name)
        raise
    end_job(shell, _JOB)
    return landing.survey(shell, where)


def _told(shell: Shell, inputs: Values, place: str, key: str, say: Say) -> Story:
    story = Story(say=say)
    variables = environment(
        place=place,
        bin=programs(inputs["version"]),
        conninfo=_connection_info(inputs),
        passfile_text=_pass_line(inputs),
    )
    try:
        run_job(shell, _JOB, key, scripted("postgresql_follow"), on_line=story.heard, environment=variables)
    except CommandFailed as error:
        lines = error.result.stdout.decode("utf-8", "replace").splitlines()
        told = "\n".join([line for line in lines if not line.startswith("@")][-6:])
        raise UnderstudyError(
            where=f"{shell.connection.name}: replica of {inputs['store']}",
            found=f"{inputs['primary']['name']} cannot be copied: {told or error}",
        ) from error
    return story


def _judge(shell: Shell, inputs: Values, story: Story) -> None:
    found, wanted = story.facts.get("system_identifier", ""), inputs["primary_system_identifier"]
    if found != wanted:
        detail = f"{inputs['primary']['address']} is of cluster {found or 'unknown'}, not {wanted}"
        story.checks.append(Check(name="it is the primary's own cluster", ok=False, detail=detail))
    if not story.done or not story.checks or not all(check.green for check in story.checks):
        where = f"{shell.connection.name}: replica of {inputs['store']}"
        raise seeding.ChecksFailed(where, story.checks, serves=False)


def _follows(shell: Shell, inputs: Values, say: Say) -> Check:
    say(f"waiting until it has caught up with {inputs['primary']['name']}")
    return _streams(shell, inputs, _PATIENCE_SECONDS)


def _streams(shell: Shell, inputs: Values, patience_seconds: int) -> Check:
    argv = scripted("postgresql_following", str(patience_seconds), unit_name(inputs["version"]), *psql(inputs))
    found = shell.run(argv, check=False, timeout_seconds=patience_seconds + 60)
    word, _, lag = found.text.partition(" ")
    if found.code == 0 and word == "streaming":
        return Check(name=_FOLLOWS, ok=True, detail=f"{lag.split('.')[0]} bytes behind")
    said = " ".join(f"{found.text} {found.stderr.decode('utf-8', 'replace')}".split())
    return Check(name=_FOLLOWS, ok=False, detail=said)
