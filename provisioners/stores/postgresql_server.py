"""The PostgreSQL server that serves on a machine: its files, its unit, its passwords, and what differs from them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from model import postgresql
from model.postgresql import ROOT, configuration_directory, main_path, replication_rules, rules_path, unit_name
from provisioners.commands import scripted
from provisioners.outcome import Say
from provisioners.shell import Shell
from provisioners.stores import seeding
from provisioners.stores.landing import BORN_EMPTY, Ground, Lie
from provisioners.stores.postgresql_texts import (
    HARMLESS,
    has_password,
    main_settings,
    roles_sql,
    scram_verifier,
    settings_in,
    unit_text,
    verifiers_sql,
)
from provisioners.stores.transfer import TextFile, put_files


def ground(version: str) -> Ground:
    """Return where PostgreSQL's data lies."""
    return Ground(root=ROOT, unit=unit_name(version), account="postgres")


def port_of(inputs: Mapping[str, Any]) -> str:
    """Return the port that a server has."""
    return str(inputs.get("port") or (inputs.get("settings") or {}).get("port", "5432"))


def psql(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the command that runs SQL from standard input on the server that serves, in the database ``postgres``."""
    ask = postgresql.psql(inputs["version"], port_of(inputs))
    return (*ask, "--set=ON_ERROR_STOP=1", "--file=-")


def forced_settings(inputs: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the settings that hold whatever the site says: a copy never writes to a repository."""
    return {} if inputs["seed"]["kind"] == BORN_EMPTY else HARMLESS


def main_text(inputs: Mapping[str, Any], forced: Mapping[str, str]) -> str:
    """Return the server's main file."""
    return main_settings(inputs["version"], port_of(inputs), forced)


def place_files(
    shell: Shell,
    inputs: Mapping[str, Any],
    forced: Mapping[str, str],
    replicas: Sequence[str],
    *more: TextFile,
) -> bool:
    """Put a server's files in place and enable its unit; return whether any of them changed.

    Those that are the site's own are only what it begins with: once it serves, they are a service's, and changed as
    such.

    Args:
        shell: the machine.
        inputs: of the server.
        forced: settings that hold whatever the site says.
        replicas: the addresses that may replicate from it.
        more: further files.
    """
    version = inputs["version"]
    mine: dict[str, Any] = {"owner": "postgres", "group": "postgres", "mode": 0o640}
    files = (
        TextFile(path=main_path(version), text=main_text(inputs, forced), **mine),
        TextFile(path=f"{configuration_directory(version)}/pg_ident.conf", text="", **mine),
        TextFile(path=f"/etc/systemd/system/{unit_name(version)}", text=unit_text(version)),
        *more,
    )
    site = postgresql.site_files(version, inputs.get("settings") or {}, inputs.get("hba") or (), replicas)
    first = tuple(TextFile(path=path, text=text, **mine) for path, text in site.items())
    changed = put_files(shell, files, unit_name(version), first, ground(version).current)
    rules = replication_rules(replicas)
    allowed = shell.run(scripted("postgresql_allow", rules_path(version), *rules)).text if rules else ""
    return bool(changed or allowed)


def apply(shell: Shell, inputs: Mapping[str, Any], *, changed: bool) -> None:
    """Let the server that serves take up what changed; it restarts only where PostgreSQL says that it must."""
    unit = unit_name(inputs["version"])
    if shell.run(("systemctl", "is-active", "--quiet", "--", unit), check=False).code != 0:
        shell.run(("systemctl", "start", "--", unit), timeout_seconds=3600)
    elif changed:
        shell.run(scripted("postgresql_reload", unit, *psql(inputs)), timeout_seconds=900)


def settle(shell: Shell, inputs: Mapping[str, Any], say: Say, *, serving: bool = True) -> None:
    """Bring the server's own files and passwords to what is wanted.

    Args:
        shell: the machine.
        inputs: of the primary.
        say: shows progress.
        serving: whether the data that serves now is to be used on; False before another takes its place.
    """
    changed = place_files(shell, inputs, forced_settings(inputs), inputs.get("replica_addresses") or ())
    if serving:
        say("settings")
        apply(shell, inputs, changed=changed)
        set_passwords(shell, inputs)


def set_passwords(shell: Shell, inputs: Mapping[str, Any]) -> None:
    """Give the owner and the replication role their passwords, where they have others."""
    if all(_passwords_kept(shell, inputs).values()):
        return
    made = [scram_verifier(password, secrets.token_bytes(16)) for password in _passwords(inputs).values()]
    roles = roles_sql(inputs["owner_role"], made[0], made[1] if len(made) > 1 else "")
    shell.run(psql(inputs), stdin=roles.encode())


def _passwords(inputs: Mapping[str, Any]) -> dict[str, str]:
    names = ("owner_password", *filter(inputs.get, ["replication_password"]))
    return {name: inputs[name] for name in names}


def _passwords_kept(shell: Shell, inputs: Mapping[str, Any]) -> dict[str, bool]:
    """Return for each password that is wanted whether it is the one that the server has."""
    kept = shell.run(psql(inputs), stdin=verifiers_sql(inputs["owner_role"]).encode()).text.splitlines()
    wanted = _passwords(inputs)
    return {name: len(kept) > at and has_password(kept[at], wanted[name]) for at, name in enumerate(wanted)}


def drifted(shell: Shell, inputs: Mapping[str, Any], lie: Lie) -> dict[str, Any]:
    """Return the inputs that are really other than wanted: the main file, passwords, and whether it runs."""
    found = other_files(shell, inputs, forced_settings(inputs))
    if lie.active:
        found |= {name: seeding.OTHER_PASSWORD for name, same in _passwords_kept(shell, inputs).items() if not same}
    if "running" in inputs:
        found["running"] = lie.active
    return found


def other_files(shell: Shell, inputs: Mapping[str, Any], forced: Mapping[str, str]) -> dict[str, Any]:
    """Return in which lines the machine's main file is other than wanted; nothing where in none."""
    wanted = settings_in(main_text(inputs, forced))
    real = settings_in(shell.run(("cat", "--", main_path(inputs["version"])), check=False).text)
    other = {name: real.get(name, "(removed)") for name in {*real, *wanted} if real.get(name) != wanted.get(name)}
    return {"configuration": "; ".join(f"{name} = {other[name]}" for name in sorted(other))} if other else {}
