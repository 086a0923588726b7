"""The texts that MariaDB is given: settings, its unit's drop-in, and SQL. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from model.mariadb import ROOT, SITE_PATH, UNIT, setting_line
from provisioners.commands import sql_name, sql_text

DROP_IN_PATH = f"/etc/systemd/system/{UNIT}.d/understudy.conf"
DROP_IN = """# Written by Understudy. The server is started itself: Debian's way round it takes seconds.
[Unit]
RequiresMountsFor=/srv

[Service]
ExecStart=
ExecStart=/usr/sbin/mariadbd
ExecStartPost=
RuntimeDirectory=mysqld
"""
HARMLESS = {"event_scheduler": "OFF", "skip_slave_start": "ON"}
"""For restored data: nothing in it acts by itself."""


def store_settings(forced: Mapping[str, str]) -> str:
    """Return the store's own part of the server's configuration: what holds whatever the site's says."""
    fixed = {"datadir": f"{ROOT}/current", "socket": "/run/mysqld/mysqld.sock", **forced}
    lines = (setting_line(name, value) for name, value in fixed.items())
    return (
        f"# Written by Understudy: the store's own. What a site sets is in {SITE_PATH}.\n[mariadbd]\n{''.join(lines)}"
    )


def settings_in(text: str) -> dict[str, str]:
    """Return the settings of a file of settings, also where somebody edited it.

    >>> settings_in('[mariadbd]\\nport = 3306\\n# a\\ninit_connect = "SET @a = \\\\"#\\\\""\\n')
    {'port': '3306', 'init_connect': 'SET @a = "#"'}
    """
    lines = (line.partition("=") for line in text.splitlines() if line.strip() and line[0] not in "#[;")
    return {name.strip(): _unquoted(value.strip()) for name, _, value in lines}


def _unquoted(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], value[1:-1])


def private_settings(place: str) -> str:
    """Return the settings of the server that only fills and checks a place."""
    fixed = {
        "datadir": f"{place}/data",
        "socket": f"{place}/private/socket",
        "pid_file": f"{place}/private/pid",
        "skip_networking": "ON",
        "skip_log_bin": "ON",
        "innodb_flush_log_at_trx_commit": "0",
        "max_allowed_packet": "1G",
        **HARMLESS,
    }
    return "[mariadbd]\n" + "".join(f"{name} = {value}\n" for name, value in fixed.items())


def password_hash(password: str) -> str:
    """Return what MariaDB keeps of a password, so that the password itself is never in a statement.

    Source: MariaDB Server documentation, "Authentication Plugin - mysql_native_password".

    >>> password_hash("secret")
    '*14E65567ABDB5135D0CFD9A70B3032C179A49EE7'
    """
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return f"*{hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()}"


def roles_sql(owner: str, database: str, password: str) -> str:
    """Return SQL that makes the owner, if missing, with this password and all rights on the database.

    Where a dump brought it with other hosts too, each of these accounts gets the password: the nearest host wins.
    """
    role = f"{sql_text(owner)}@'%'"
    return f"""CREATE USER IF NOT EXISTS {role};
SET @hash = {sql_text(password_hash(password))};
SET @accounts = (SELECT GROUP_CONCAT(CONCAT(QUOTE(user), '@', QUOTE(host),
    ' IDENTIFIED VIA mysql_native_password USING ', QUOTE(@hash))) FROM mysql.user WHERE user = {sql_text(owner)});
EXECUTE IMMEDIATE CONCAT('ALTER USER ', @accounts, ' ACCOUNT UNLOCK');
GRANT ALL PRIVILEGES ON {sql_name(database)}.* TO {role};
"""  # noqa: S608  # quoted by sql_text and sql_name


def kept_hash_sql(owner: str) -> str:
    """Return SQL that prints what is kept of the owner's passwords, one a line."""
    return f"SELECT DISTINCT authentication_string FROM mysql.user WHERE user = {sql_text(owner)};\n"  # noqa: S608


def database_sql(database: str) -> str:
    """Return SQL that makes the database."""
    return f"CREATE DATABASE IF NOT EXISTS {sql_name(database)} CHARACTER SET utf8mb4;\n"


def table_questions(tables: Sequence[str]) -> str:
    """Return a line for each table: its name, a tab, and SQL that prints 1 where it has rows."""
    return "".join(f"{table}\tSELECT EXISTS (SELECT 1 FROM {_relation(table)})\n" for table in tables)  # noqa: S608


def heartbeat_sql(heartbeat: Mapping[str, str]) -> str:
    """Return SQL that prints the newest heartbeat, in seconds since 1970; empty where there is none.

    A ``DATETIME`` is read as UTC; a ``TIMESTAMP`` says itself what it means.
    """
    if not heartbeat:
        return ""
    newest = f"UNIX_TIMESTAMP(MAX({sql_name(heartbeat['column'])}))"
    return f"SET time_zone = '+00:00'; SELECT {newest} FROM {_relation(heartbeat['table'])}"  # noqa: S608


def _relation(table: str) -> str:
    return ".".join(sql_name(part) for part in table.split("."))
