"""The texts that PostgreSQL is given by its store: its main file, its unit, and SQL for psql. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from model.postgresql import REPLICATION_ROLE, ROOT, configuration_directory, programs, setting_line
from provisioners.commands import psql_word

_ITERATIONS = 4096
"""Source: PostgreSQL 15, src/include/common/scram-common.h, SCRAM_DEFAULT_ITERATIONS."""


def server_needs(version: str) -> dict[str, str]:
    """Return the programs of a version's server and its clients, and Debian's packages of them."""
    directory = programs(version)
    return {f"{directory}/postgres": f"postgresql-{version}", f"{directory}/psql": f"postgresql-client-{version}"}


def unit_text(version: str) -> str:
    """Return the unit. It starts the server itself: Debian's own goes through Perl, which takes seconds.

    Source: PostgreSQL 15, "Starting the Database Server", on systemd.
    """
    configuration = f"{configuration_directory(version)}/postgresql.conf"
    return f"""# Written by Understudy.
[Unit]
Description=PostgreSQL {version}
After=network.target
RequiresMountsFor=/srv
ConditionPathExists={ROOT}/current/PG_VERSION

[Service]
Type=notify
User=postgres
RuntimeDirectory=postgresql
RuntimeDirectoryMode=2775
RuntimeDirectoryPreserve=yes
ExecStart={programs(version)}/postgres -D {ROOT}/current -c config_file={configuration}
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
KillSignal=SIGINT
TimeoutSec=infinity
OOMScoreAdjust=-900
Environment=PG_OOM_ADJUST_FILE=/proc/self/oom_score_adj PG_OOM_ADJUST_VALUE=0 LC_ALL=C.UTF-8
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""


def main_settings(version: str, port: str, forced: Mapping[str, str]) -> str:
    """Return ``postgresql.conf``: it draws in the site's own settings, and has what these cannot change.

    Args:
        version: the major version.
        port: the server's.
        forced: what holds whatever the site says.
    """
    directory = configuration_directory(version)
    usual = {
        "cluster_name": f"{version}/main",
        "listen_addresses": "*",
        "unix_socket_directories": "/var/run/postgresql",
        "password_encryption": "scram-sha-256",
        "wal_keep_size": "128MB",
    }
    fixed = {
        "data_directory": f"{ROOT}/current",
        "hba_file": f"{directory}/pg_hba.conf",
        "ident_file": f"{directory}/pg_ident.conf",
        "port": port,
        **forced,
    }
    lines = [setting_line(name, value) for name, value in {**usual, "include_dir": "conf.d", **fixed}.items()]
    return f"# Written by Understudy: the store's own. What a site sets is in conf.d.\n{''.join(lines)}"


def settings_in(text: str) -> dict[str, str]:
    """Return the settings of a file that `main_settings` wrote, also where somebody edited it.

    >>> settings_in("# a\\nport = '5432'\\nwork_mem=4MB # more\\n")
    {'port': '5432', 'work_mem': '4MB'}
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = (part.strip() for part in line.partition("="))
        if not name or name.startswith("#"):
            continue
        if value.startswith("'"):
            value = value[1:].rpartition("'")[0].replace("''", "'").replace("\\\\", "\\")
        else:
            value = value.partition("#")[0].strip()
        found[name] = value
    return found


HARMLESS = {"archive_mode": "off", "archive_command": "", "archive_library": ""}
"""For restored data: nothing of it goes to a repository."""


def private_settings(place: str, settings: Mapping[str, str], recovering: bool) -> str:
    """Return the settings of the server that only checks a place's data.

    Args:
        place: the place's directory.
        settings: the site's own; some of them are needed to read the data.
        recovering: whether it replays the WAL in ``pg_wal`` until the data is consistent, and ends recovery there.
    """
    private = f"{place}/private"
    forced = {
        "data_directory": f"{place}/data",
        "hba_file": f"{private}/pg_hba.conf",
        "ident_file": f"{private}/pg_ident.conf",
        "listen_addresses": "",
        "unix_socket_directories": private,
        "port": "5432",
        "ssl": "off",
        **HARMLESS,
        "hot_standby": "off",
        "autovacuum": "off",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_line_prefix": "",
        "log_statement": "none",
        "log_min_duration_statement": "-1",
        "synchronous_standby_names": "",
    }
    if recovering:
        forced |= {
            "restore_command": "/bin/false",
            "recovery_target": "immediate",
            "recovery_target_action": "promote",
            "recovery_target_timeline": "current",
        }
    # Prepared transactions in the backup would otherwise keep the server from starting.
    usual = {"max_prepared_transactions": "64"}
    return "".join(setting_line(name, value) for name, value in {**usual, **settings, **forced}.items())


def scram_verifier(password: str, salt: bytes) -> str:
    """Return what PostgreSQL keeps of a password, so that the password itself is never in a statement.

    Source: RFC 5803; PostgreSQL 15, src/common/scram-common.c, scram_build_secret.

    >>> scram_verifier("secret", b"0123456789abcdef")[:52]
    'SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$bpSY5Ze9'
    """
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored, server = hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")
    words = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(_ITERATIONS, *words)


def has_password(verifier: str, password: str) -> bool:
    """Return whether a kept verifier is that of a password.

    >>> has_password(scram_verifier("a", b"salt"), "a"), has_password(scram_verifier("a", b"salt"), "b")
    (True, False)
    """
    try:
        salt = base64.b64decode(verifier.split("$")[1].partition(":")[2])
    except (IndexError, ValueError):
        return False
    return hmac.compare_digest(scram_verifier(password, salt), verifier)


def roles_sql(owner: str, owner_verifier: str, replication_verifier: str) -> str:
    """Return SQL that makes the roles that are missing and gives them their passwords.

    Args:
        owner: the role that owns the database.
        owner_verifier: as `scram_verifier` returns it.
        replication_verifier: the same for replicas; empty where there are none.
    """
    text = _role_sql(owner, owner_verifier, "LOGIN")
    if replication_verifier:
        text += _role_sql(REPLICATION_ROLE, replication_verifier, "LOGIN REPLICATION")
    return text


def _role_sql(role: str, verifier: str, options: str) -> str:
    return f"""\\set role {psql_word(role)}
\\set verifier {psql_word(verifier)}
SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') AS missing \\gset
\\if :missing
CREATE ROLE :"role";
\\endif
ALTER ROLE :"role" {options} PASSWORD :'verifier';
"""  # noqa: S608  # only psql's own variables stand in it


def verifiers_sql(owner: str) -> str:
    """Return SQL that prints the kept passwords of the owner and of the replication role, a line each."""
    return f"""\\set owner {psql_word(owner)}
\\set replication {psql_word(REPLICATION_ROLE)}
SELECT rolpassword FROM pg_authid WHERE rolname IN (:'owner', :'replication') ORDER BY rolname = :'replication';
"""  # noqa: S608  # only psql's own variables stand in it


def checks_sql(tables: Sequence[str], heartbeat: Mapping[str, str]) -> str:
    """Return SQL that looks into each expected table and for the newest heartbeat, and prints lines of a story.

    Args:
        tables: ``table`` or ``schema.table``.
        heartbeat: ``table`` and ``column``; empty where there is none.
    """
    beat = _heartbeat_sql(heartbeat) if heartbeat else ""
    return _SERVER_SQL + "".join(_table_sql(table) for table in tables) + beat


_SERVER_SQL = """SELECT system_identifier FROM pg_control_system() \\gset
\\echo '@fact\\tsystem_identifier\\t':system_identifier
SELECT NOT pg_is_in_recovery() AS open, current_setting('data_checksums') = 'on' AS summed \\gset
\\if :open
\\echo '@check\\tserver accepts connections\\tok\\t\\t'
\\else
\\echo '@check\\tserver accepts connections\\tbad\\t\\tit is still in recovery'
\\endif
\\if :summed
\\echo '@check\\tdata checksums are on\\tok\\t\\t'
\\else
\\echo '@check\\tdata checksums are on\\tbad\\t\\tthey are off: damage in a page would go unseen'
\\endif
"""


def _table_sql(table: str) -> str:
    return f"""\\set name {psql_word(f"table {table} has rows")}
{_relation(table)}
SELECT EXISTS (SELECT FROM {_shown(table)}) AS found \\gset
\\if :ERROR
\\echo '@check\\t':name'\\tbad\\t\\t':LAST_ERROR_MESSAGE
\\elif :found
\\echo '@check\\t':name'\\tok\\t\\t'
\\else
\\echo '@check\\t':name'\\tbad\\t\\tit is empty'
\\endif
"""  # noqa: S608  # only psql's own variables stand in it


def _heartbeat_sql(heartbeat: Mapping[str, str]) -> str:
    return f"""\\set column {psql_word(heartbeat["column"])}
{_relation(heartbeat["table"])}
SELECT coalesce(extract(epoch FROM max(:"column"))::text, '') AS beat FROM {_shown(heartbeat["table"])} \\gset
\\if :ERROR
\\echo '@fact\\theartbeat fault\\t':LAST_ERROR_MESSAGE
\\else
\\echo '@fact\\theartbeat\\t':beat
\\endif
"""  # noqa: S608  # only psql's own variables stand in it


def _relation(table: str) -> str:
    schema, _, name = table.rpartition(".")
    return f"\\set schema {psql_word(schema)}\n\\set relation {psql_word(name)}"


def _shown(table: str) -> str:
    return ':"schema".:"relation"' if "." in table else ':"relation"'
