"""The PostgreSQL server that serves on a machine: its files, its unit, its passwords, and what differs from them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from provisioners.commands import scripted
from provisioners.outcome import Say
from provisioners.shell import Shell
from provisioners.stores import seeding
from provisioners.stores.landing import BORN_EMPTY, Ground, Lie
from provisioners.stores.postgresql_texts import (
    HARMLESS,
    ROOT,
    access_rules,
    configuration_directory,
    has_password,
    programs,
    roles_sql,
    rules_in,
    scram_verifier,
    server_settings,
    settings_in,
    unit_name,
    unit_text,
    verifiers_sql,
)
from provisioners.stores.transfer import TextFile, put_files


def ground(version: str) -> Ground:
    """Return where PostgreSQL's data lies."""
    return Ground(root=ROOT, unit=unit_name(version), account="postgres")


def port_of(settings: Mapping[str, str] | None) -> str:
    """Return the port that a server with these settings of the site's own has."""
    return (settings or {}).get("port", "5432")


def psql(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the command that runs SQL from standard input on the server that serves, in the database ``postgres``."""
    place = ("--host=/var/run/postgresql", f"--port={port_of(inputs.get('settings'))}", "--dbname=postgres")
    plain = ("--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1")
    drop = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--")
    return (*drop, f"{programs(inputs['version'])}/psql", *plain, *place, "--file=-")


def forced_settings(inputs: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the settings that hold whatever the site says: a copy never writes to a repository."""
    return {} if inputs["seed"]["kind"] == BORN_EMPTY else HARMLESS


def server_files(version: str, settings: str, rules: str) -> tuple[TextFile, ...]:
    """Return the files of a server."""
    directory = configuration_directory(version)
    mine: dict[str, Any] = {"owner": "postgres", "group": "postgres", "mode": 0o640}
    return (
        TextFile(path=f"{directory}/postgresql.conf", text=settings, **mine),
        TextFile(path=f"{directory}/pg_hba.conf", text=rules, **mine),
        TextFile(path=f"{directory}/pg_ident.conf", text="", **mine),
        TextFile(path=f"/etc/systemd/system/{unit_name(version)}", text=unit_text(version)),
    )


def place_files(shell: Shell, version: str, files: tuple[TextFile, ...]) -> bool:
    """Put a server's files in place and enable its unit; return whether any of them changed."""
    return bool(put_files(shell, files, unit_name(version)))


def apply(shell: Shell, inputs: Mapping[str, Any], *, changed: bool) -> None:
    """Let the server that serves take up what changed; it restarts only where PostgreSQL says that it must."""
    unit = unit_name(inputs["version"])
    if shell.run(("systemctl", "is-active", "--quiet", "--", unit), check=False).code != 0:
        shell.run(("systemctl", "start", "--", unit), timeout_seconds=3600)
    elif changed:
        shell.run(scripted("postgresql_reload", unit, *psql(inputs)), timeout_seconds=900)


def settle(shell: Shell, inputs: Mapping[str, Any], say: Say, *, serving: bool = True) -> None:
    """Bring settings, rules and passwords to what is wanted.

    Args:
        shell: the machine.
        inputs: of the primary.
        say: shows progress.
        serving: whether the data that serves now is to be used on; False before another takes its place.
    """
    version = inputs["version"]
    settings = server_settings(version, inputs.get("settings") or {}, forced_settings(inputs))
    rules = access_rules(inputs.get("hba") or (), inputs.get("replica_addresses") or ())
    changed = place_files(shell, version, server_files(version, settings, rules))
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
    """Return the inputs that are really other than wanted: settings, rules, passwords, and whether it runs."""
    found = other_files(shell, inputs, forced_settings(inputs), inputs.get("replica_addresses") or ())
    if lie.active:
        found |= {name: seeding.OTHER_PASSWORD for name, same in _passwords_kept(shell, inputs).items() if not same}
    if "running" in inputs:
        found["running"] = lie.active
    return found


def other_files(
    shell: Shell, inputs: Mapping[str, Any], forced: Mapping[str, str], replicas: Sequence[str]
) -> dict[str, Any]:
    """Return settings and rules as the machine's files have them, where these are other than wanted."""
    version = inputs["version"]
    wanted = settings_in(server_settings(version, inputs.get("settings") or {}, forced))
    directory = configuration_directory(version)
    shown = shell.run(("cat", "--", f"{directory}/postgresql.conf"), check=False)
    real = settings_in(shown.text)
    rules = rules_in(shell.run(("cat", "--", f"{directory}/pg_hba.conf"), check=False).text, replicas)
    found: dict[str, Any] = {}
    if real != wanted:
        site = dict(inputs.get("settings") or {})
        other = {name: real.get(name, "(removed)") for name in {*real, *wanted} if real.get(name) != wanted.get(name)}
        found["settings"] = {**site, **other}
    if rules != list(inputs.get("hba") or ()):
        found["hba"] = rules
    return found
