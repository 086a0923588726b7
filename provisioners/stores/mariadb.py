"""MariaDB as an engine of stores: one server with one database. Satisfies `provisioners.stores.filling.Engine`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioners.outcome import Say
from provisioners.provider.inputs import TEXT, WORDS, Rule, optional
from provisioners.provider.kinds import Failure, Values
from provisioners.shell import Shell
from provisioners.stores import seeding
from provisioners.stores.dump_repository import Dumps
from provisioners.stores.filling import Filling
from provisioners.stores.landing import BORN_EMPTY, Ground, Lie
from provisioners.stores.mariadb_texts import (
    DROP_IN,
    DROP_IN_PATH,
    HARMLESS,
    ROOT,
    SETTINGS_PATH,
    UNIT,
    database_sql,
    heartbeat_sql,
    kept_hash_sql,
    password_hash,
    private_settings,
    roles_sql,
    server_settings,
    settings_in,
    table_questions,
)
from provisioners.stores.postgresql import MOST_SQL
from provisioners.stores.seeding import OTHER_PASSWORD
from provisioners.stores.storage import Tree
from provisioners.stores.transfer import TextFile, environment, put_files

TOKEN = "understudy:index:MariadbPrimary"
SCRIPT = "mariadb_fill"
RULES: Mapping[str, Rule] = {
    **seeding.RULES,
    "version": TEXT,
    "database": TEXT,
    "owner_role": TEXT,
    "owner_password": TEXT,
    "settings": seeding.SETTINGS,
    "seed": seeding.seed_rule(BORN_EMPTY, "mysqldump"),
    "expected_tables": optional(WORDS),
    "heartbeat": seeding.HEARTBEAT,
    "init_sql": optional(TEXT),
}
BEGINS = frozenset({"init_sql"})
ALWAYS: tuple[str, ...] = ("server accepts connections", "every table and index is readable (CHECK TABLE)")
_CLIENT = ("mariadb", "--no-defaults", "--socket=/run/mysqld/mysqld.sock", "--user=root", "--batch")
_SQL = (*_CLIENT, "--skip-column-names")


def refused(inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
    """Return what is wrong with inputs beyond the rules."""
    text = inputs.get("init_sql")
    if not isinstance(text, str) or len(text) <= MOST_SQL:
        return ()
    return (Failure(property="init_sql", reason=f"has more than {MOST_SQL} characters"),)


def ground(_: Mapping[str, Any]) -> Ground:
    """Return where MariaDB's data lies."""
    return Ground(root=ROOT, unit=UNIT, account="mysql")


def needs(_: Values) -> Mapping[str, str]:
    """Return the programs that a filling runs, and their packages."""
    return {"mariadbd": "mariadb-server", "mariadb": "mariadb-client"}


def bring(shell: Shell, filling: Filling, tree: Tree, say: Say) -> None:
    """Bring the dump, which root reads."""
    filling.seed.way.bring(shell, tree, filling.brought, say)


def variables(inputs: Values, filling: Filling) -> Mapping[str, str]:
    """Return the environment of the script that fills a place."""
    repository = filling.repository
    return environment(
        kind=filling.seed.kind,
        place=filling.place,
        private_conf=private_settings(filling.place),
        database=inputs["database"],
        database_sql=database_sql(inputs["database"]),
        roles_sql=roles_sql(inputs["owner_role"], inputs["database"], inputs["owner_password"]),
        init_sql=inputs.get("init_sql") or "",
        tables=table_questions(tuple(inputs.get("expected_tables") or ())),
        heartbeat_sql=heartbeat_sql(inputs.get("heartbeat") or {}),
        dump=repository.path(filling.seed.snapshot) if isinstance(repository, Dumps) else "",
    )


def _settings(inputs: Mapping[str, Any]) -> str:
    forced = {} if inputs["seed"]["kind"] == BORN_EMPTY else HARMLESS
    return server_settings(inputs.get("settings") or {}, forced)


def settle(shell: Shell, inputs: Values, say: Say, *, serving: bool) -> None:
    """Bring settings and the owner's password to what is wanted."""
    files = (
        TextFile(path=SETTINGS_PATH, text=_settings(inputs)),
        TextFile(path=DROP_IN_PATH, text=DROP_IN),
    )
    changed = put_files(shell, files, UNIT)
    if not serving:
        return
    say("settings")
    running = shell.run(("systemctl", "is-active", "--quiet", "--", UNIT), check=False).code == 0
    if changed or not running:
        shell.run(("systemctl", "restart", "--", UNIT), timeout_seconds=3600)
    if not _has_password(shell, inputs):
        roles = roles_sql(inputs["owner_role"], inputs["database"], inputs["owner_password"])
        shell.run(_SQL, stdin=roles.encode())


def _has_password(shell: Shell, inputs: Values) -> bool:
    kept = shell.run(_SQL, stdin=kept_hash_sql(inputs["owner_role"]).encode()).text
    return kept == password_hash(inputs["owner_password"])


def drifted(shell: Shell, inputs: Values, lie: Lie) -> dict[str, Any]:
    """Return the inputs that are really other than wanted: settings, the password, and whether it runs."""
    real = settings_in(shell.run(("cat", "--", SETTINGS_PATH), check=False).text)
    wanted = settings_in(_settings(inputs))
    found: dict[str, Any] = {}
    if real != wanted:
        other = {name: real.get(name, "(removed)") for name in {*real, *wanted} if real.get(name) != wanted.get(name)}
        found["settings"] = {**(inputs.get("settings") or {}), **other}
    if lie.active and not _has_password(shell, inputs):
        found["owner_password"] = OTHER_PASSWORD
    if "running" in inputs:
        found["running"] = lie.active
    return found
