"""MariaDB as an engine of stores: one server with one database. Satisfies `provisioners.stores.filling.Engine`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.mariadb import CLIENT, ROOT, SITE_PATH, STORE_PATH, UNIT, site_text
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
    database_sql,
    heartbeat_sql,
    kept_hash_sql,
    password_hash,
    private_settings,
    roles_sql,
    settings_in,
    store_settings,
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
    "configuration": optional(TEXT),
    "settings": seeding.SETTINGS,
    "seed": seeding.seed_rule(BORN_EMPTY, "mysqldump"),
    "expected_tables": optional(WORDS),
    "heartbeat": seeding.HEARTBEAT,
    "init_sql": optional(TEXT),
}
BEGINS = frozenset({"settings", "init_sql"})
ALWAYS: tuple[str, ...] = ("server accepts connections", "every table and index is readable (CHECK TABLE)")
_SQL = (*CLIENT, "--skip-column-names")


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
    return store_settings({} if inputs["seed"]["kind"] == BORN_EMPTY else HARMLESS)


def settle(shell: Shell, inputs: Values, say: Say, *, serving: bool) -> None:
    """Bring the server's own file and the owner's password to what is wanted.

    The site's file is only what it begins with: once it serves, that is a service's, and changed as such. Where what
    was in one file is in two now, nothing else is in force, and the server goes on.
    """
    files = (TextFile(path=STORE_PATH, text=_settings(inputs)), TextFile(path=DROP_IN_PATH, text=DROP_IN))
    first = (TextFile(path=SITE_PATH, text=site_text(inputs.get("settings") or {})),)
    before = _in_force(shell)
    put_files(shell, files, UNIT, first, ground(inputs).current)
    if not serving:
        return
    say("settings")
    running = shell.run(("systemctl", "is-active", "--quiet", "--", UNIT), check=False).code == 0
    if _in_force(shell) != before or not running:
        shell.run(("systemctl", "restart", "--", UNIT), timeout_seconds=3600)
    if not _has_password(shell, inputs):
        roles = roles_sql(inputs["owner_role"], inputs["database"], inputs["owner_password"])
        shell.run(_SQL, stdin=roles.encode())


def _in_force(shell: Shell) -> Mapping[str, str]:
    """Return what the files say that decide how the server starts: its settings, and its unit's."""
    return settings_in(shell.run(("cat", "--", SITE_PATH, STORE_PATH, DROP_IN_PATH), check=False).text)


def _has_password(shell: Shell, inputs: Values) -> bool:
    kept = shell.run(_SQL, stdin=kept_hash_sql(inputs["owner_role"]).encode()).text
    return kept == password_hash(inputs["owner_password"])


def drifted(shell: Shell, inputs: Values, lie: Lie) -> dict[str, Any]:
    """Return the inputs that are really other than wanted: the server's own file, the password, and whether it runs."""
    real, wanted = settings_in(shell.run(("cat", "--", STORE_PATH), check=False).text), settings_in(_settings(inputs))
    found: dict[str, Any] = {}
    if other := sorted(name for name in {*real, *wanted} if real.get(name) != wanted.get(name)):
        found["configuration"] = "; ".join(f"{name} = {real.get(name, '(removed)')}" for name in other)
    if lie.active and not _has_password(shell, inputs):
        found["owner_password"] = OTHER_PASSWORD
    if "running" in inputs:
        found["running"] = lie.active
    return found
