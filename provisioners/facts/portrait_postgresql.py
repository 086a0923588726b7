"""A PostgreSQL server for the comparison: version, settings, roles, databases, extensions and collations.

A setting that may hold a secret leaves the server as a digest only; so do the rules of who may connect.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from model.mirror.reading import Reading
from provisioners.facts.fact import Fact
from provisioners.facts.postgresql import Cluster, query

WITHIN = 0.25
"""A backup is older than prod, and a restored database has other gaps: sizes may differ by this share."""

# md5() is in every version, sha256() only from 11 on; the digest is compared and never shown.
SETTINGS = """
SELECT row_to_json(answer) FROM (
  SELECT name,
    CASE WHEN vartype <> 'string' OR name ~ '^(server_version|lc_|search_path$|timezone|datestyle|log_destination$)'
      OR name IN ('shared_preload_libraries', 'default_text_search_config', 'listen_addresses', 'TimeZone', 'DateStyle',
      'session_preload_libraries', 'server_encoding') THEN coalesce(setting, '') ELSE '' END AS shown,
    CASE WHEN vartype = 'string' THEN md5(coalesce(setting, '')) ELSE '' END AS digest
  FROM pg_settings WHERE name !~ '^(transaction_|default_transaction_read_only$|statement_timeout$|lock_timeout$)'
  AND name NOT IN ('application_name', 'in_hot_standby', 'server_version', 'server_version_num', 'port')) answer
"""
SERVER = """
SELECT row_to_json(answer) FROM (
  SELECT 'version' AS key, current_setting('server_version') AS shown, '' AS digest, NULL::bigint AS bytes
  UNION ALL SELECT 'is a replica', pg_is_in_recovery()::text, '', NULL
  UNION ALL SELECT 'checksums', current_setting('data_checksums'), '', NULL
  UNION ALL SELECT 'role ' || rolname, concat_ws(' ', CASE WHEN rolsuper THEN 'superuser' END,
    CASE WHEN rolcanlogin THEN 'login' ELSE 'no login' END, CASE WHEN rolreplication THEN 'replication' END,
    CASE WHEN rolcreatedb THEN 'createdb' END, CASE WHEN rolcreaterole THEN 'createrole' END), '', NULL
    FROM pg_roles WHERE rolname !~ '^pg_'
  UNION ALL SELECT 'settings of role ' || coalesce(pg_get_userbyid(nullif(setrole, 0)), '(any)') || ' in '
    || coalesce(d.datname, '(any)'), '', md5(array_to_string(setconfig, chr(10))), NULL
    FROM pg_db_role_setting LEFT JOIN pg_database d ON d.oid = setdatabase
  UNION ALL SELECT 'database ' || datname, concat_ws(' ', pg_encoding_to_char(encoding), datcollate, datctype,
    'owner', pg_get_userbyid(datdba), 'collation version', to_jsonb(d) ->> 'datcollversion'), '', NULL
    FROM pg_database d WHERE NOT datistemplate AND datallowconn
  UNION ALL SELECT 'size of ' || datname, pg_size_pretty(pg_database_size(oid)), '', pg_database_size(oid)
    FROM pg_database WHERE NOT datistemplate AND datallowconn) answer
"""
RULES = """
SELECT row_to_json(answer) FROM (
  SELECT 'who may connect (pg_hba)' AS key, count(*) || ' rules' AS shown, md5(coalesce(string_agg(concat_ws(' ', type,
    array_to_string(database, ','), array_to_string(user_name, ','), address, netmask, auth_method,
    array_to_string(options, ',')), chr(10) ORDER BY line_number), '')) AS digest, NULL::bigint AS bytes
  FROM pg_hba_file_rules) answer
"""
INSIDE = """
SELECT row_to_json(answer) FROM (
  SELECT 'extension ' || extname AS key, extversion AS shown, '' AS digest, NULL::bigint AS bytes FROM pg_extension
  UNION ALL SELECT 'collation ' || collname, concat_ws(' ', collcollate, to_jsonb(c) ->> 'collversion'), '', NULL
    FROM pg_collation c WHERE collnamespace <> 'pg_catalog'::regnamespace) answer
"""


def _rows(output: str) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not a row")
            yield row


def parse_settings(output: str) -> tuple[Reading, ...]:
    """Return a server's settings; the server's own name for itself stands before each with `about`.

    Raises:
        ValueError: the output is not such an answer.
        KeyError: a row lacks a column.
    """
    return tuple(
        Reading(area="database settings", key=row["name"], value=row["shown"], digest=row["digest"])
        for row in _rows(output)
    )


def parse_server(output: str) -> tuple[Reading, ...]:
    """Return what a server has: its version, roles, databases, extensions.

    Raises:
        ValueError: the output is not such an answer.
        KeyError: a row lacks a column.
    """
    return tuple(
        Reading(
            area="databases",
            key=row["key"],
            value=row["shown"],
            digest=row["digest"],
            amount=None if row["bytes"] is None else int(row["bytes"]),
            within=0.0 if row["bytes"] is None else WITHIN,
        )
        for row in _rows(output)
    )


def settings(cluster: Cluster) -> Fact[tuple[Reading, ...]]:
    """Return the question for all settings."""
    return Fact(name="database settings", argv=query(cluster, SETTINGS), parse=parse_settings, user=cluster.user)


def server(cluster: Cluster) -> Fact[tuple[Reading, ...]]:
    """Return the question for the version, the roles, and the databases with their sizes."""
    return Fact(name="databases", argv=query(cluster, SERVER), parse=parse_server, user=cluster.user)


def rules(cluster: Cluster) -> Fact[tuple[Reading, ...]]:
    """Return the question for who may connect."""
    return Fact(name="databases", argv=query(cluster, RULES), parse=parse_server, user=cluster.user)


def inside(cluster: Cluster, database: str) -> Fact[tuple[Reading, ...]]:
    """Return the question for a database's extensions and own collations."""
    return Fact(name="databases", argv=query(cluster, INSIDE, database), parse=parse_server, user=cluster.user)
