"""PostgreSQL as an engine of stores: one server with one database. Satisfies `provisioners.stores.filling.Engine`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from model.postgresql import programs
from provisioners.outcome import Say
from provisioners.provider.inputs import TEXT, WORDS, Rule, optional
from provisioners.provider.kinds import Failure, Values
from provisioners.shell import Shell
from provisioners.stores import own_fetch, postgresql_server, seeding
from provisioners.stores.dump_repository import Dumps
from provisioners.stores.filling import Filling
from provisioners.stores.landing import BORN_EMPTY, Ground
from provisioners.stores.pgbackrest_repository import PgBackRest
from provisioners.stores.postgresql_texts import (
    checks_sql,
    private_settings,
    roles_sql,
    scram_verifier,
    server_needs,
)
from provisioners.stores.storage import Tree
from provisioners.stores.transfer import environment

TOKEN = "understudy:index:PostgresPrimary"
SCRIPT = "postgresql_fill"
RULES: Mapping[str, Rule] = {
    **seeding.RULES,
    "version": TEXT,
    "database": TEXT,
    "owner_role": TEXT,
    "owner_password": TEXT,
    "replication_password": optional(TEXT),
    "replica_addresses": optional(WORDS),
    "port": optional(TEXT),
    "configuration": optional(TEXT),
    "settings": seeding.SETTINGS,
    "hba": optional(WORDS),
    "seed": seeding.seed_rule(BORN_EMPTY, "pgbackrest", "pg_dump"),
    "expected_tables": optional(WORDS),
    "heartbeat": seeding.HEARTBEAT,
    "init_sql": optional(TEXT),
}
ALWAYS: tuple[str, ...] = (
    "server accepts connections",
    "data checksums are on",
    "every table and index is readable (pg_amcheck)",
    "every page has its checksum (pg_checksums)",
)
BEGINS = frozenset({"settings", "hba", "init_sql"})
MOST_SQL = 60_000
"""It travels as one variable of an environment, which Linux limits to 128 KiB."""

settle = postgresql_server.settle
drifted = postgresql_server.drifted


def refused(inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
    """Return what is wrong with inputs beyond the rules."""
    text = inputs.get("init_sql")
    if not isinstance(text, str) or len(text) <= MOST_SQL:
        return ()
    reason = f"has more than {MOST_SQL} characters; let it make the tables, and fill them another way"
    return (Failure(property="init_sql", reason=reason),)


def ground(inputs: Mapping[str, Any]) -> Ground:
    """Return where PostgreSQL's data lies."""
    return postgresql_server.ground(inputs["version"])


def needs(inputs: Values) -> Mapping[str, str]:
    """Return the programs that a filling runs, and their packages."""
    backrest = {"pgbackrest": "pgbackrest"} if inputs["seed"]["kind"] == "pgbackrest" else {}
    return {**server_needs(inputs["version"]), **backrest}


def bring(shell: Shell, filling: Filling, tree: Tree, say: Say) -> None:
    """Bring the repository, which only root reads, or the dump, which pg_restore reads as postgres."""
    filling.seed.way.bring(shell, tree, filling.brought, say, root_reads=filling.seed.kind == "pgbackrest")


def variables(inputs: Values, filling: Filling) -> Mapping[str, str]:
    """Return the environment of the script that fills a place."""
    owner, seed = inputs["owner_role"], filling.seed
    recovering = seed.kind == "pgbackrest"
    common = environment(
        kind=seed.kind,
        place=filling.place,
        bin=programs(inputs["version"]),
        processors=filling.lie.processors,
        private_conf=private_settings(filling.place, inputs.get("settings") or {}, recovering),
        database=inputs["database"],
        owner=owner,
        roles_sql=roles_sql(
            owner, _verifier(inputs["owner_password"]), _verifier(inputs.get("replication_password") or "")
        ),
        init_sql=inputs.get("init_sql") or "",
        checks_sql=checks_sql(inputs.get("expected_tables") or (), inputs.get("heartbeat") or {}),
    )
    return {**common, **_of_backup(filling)}


def _of_backup(filling: Filling) -> Mapping[str, str]:
    seed, repository, snapshot = filling.seed, filling.repository, filling.snapshot
    if isinstance(repository, PgBackRest) and snapshot is not None and seed.backup is not None:
        told = environment(stanza=seed.backup.stanza, label=snapshot.label, segments=repository.wal(snapshot.label))
        return {**told, **own_fetch.variables(seed.backup)} if seed.by_machine else told
    if isinstance(repository, Dumps):
        return environment(dump=repository.path(seed.snapshot), format=repository.format(seed.snapshot))
    return {}


def _verifier(password: str) -> str:
    return scram_verifier(password, secrets.token_bytes(16)) if password else ""
