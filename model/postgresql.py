"""How a PostgreSQL server is set up: where its files lie, which of them are a site's own, how they are validated.

The store has the data, the recovery, the roles, and the server's main file; what a site sets is in files of its own,
which are a service's like any other's and are changed as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

ROOT = "/srv/postgresql"
REPLICATION_ROLE = "understudy_replication"
_NAMES = """
archive_mode autovacuum_freeze_max_age autovacuum_max_workers autovacuum_multixact_freeze_max_age
autovacuum_worker_slots bonjour bonjour_name cluster_name commit_timestamp_buffers data_directory data_sync_retry
dynamic_shared_memory_type event_source external_pid_file hba_file hot_standby huge_page_size huge_pages ident_file
ignore_invalid_pages io_max_combine_limit io_max_concurrency io_method jit_provider listen_addresses
logging_collector max_active_replication_origins max_connections max_files_per_process max_locks_per_transaction
max_logical_replication_workers max_notify_queue_pages max_pred_locks_per_transaction max_prepared_transactions
max_replication_slots max_wal_senders max_worker_processes min_dynamic_shared_memory multixact_member_buffers
multixact_offset_buffers notify_buffers old_snapshot_threshold port recovery_target recovery_target_action
recovery_target_inclusive recovery_target_lsn recovery_target_name recovery_target_time recovery_target_timeline
recovery_target_xid reserved_connections serializable_buffers shared_buffers shared_memory_type
shared_preload_libraries subtransaction_buffers superuser_reserved_connections track_activity_query_size
track_commit_timestamp transaction_buffers unix_socket_directories unix_socket_group unix_socket_permissions
wal_buffers wal_decode_buffer_size wal_level wal_log_hints
"""
RESTARTING = frozenset(_NAMES.split())
"""Settings that a server takes only when it starts.

Source: PostgreSQL 15, ``postgres --describe-config``, context ``postmaster``; 16 to 18, the same column's additions.
"""
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_UNQUOTABLE = frozenset("\n\r\0")
_HEAD = "# Written by Understudy; edit services/postgresql/ instead."
_RESTARTED, _RELOADED = "conf.d/10-restart.conf", "conf.d/20-reload.conf"
_FAULTS = """\
SELECT coalesce(string_agg(fault, '; '), 'its files are good, and all settings in force') FROM (
 SELECT sourcefile || ':' || sourceline || ': ' || coalesce(name, '') || ': ' || error
 FROM pg_file_settings WHERE error <> ''
 UNION ALL SELECT 'pg_hba.conf:' || line_number || ': ' || error FROM pg_hba_file_rules WHERE error <> ''
 UNION ALL SELECT path || ': it has not been read yet' FROM unnest(ARRAY[{paths}]) AS path
 WHERE (pg_stat_file(path, true)).modification > pg_conf_load_time()
 UNION ALL SELECT name || ' waits for a restart' FROM pg_settings WHERE pending_restart) AS found (fault)"""
"""A server reads its files a moment after it was told to; until then they are newer than what it has read."""
_STREAMS = """\
SELECT CASE WHEN NOT pg_is_in_recovery() OR EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')
 THEN 'it serves' ELSE 'it does not stream from its primary' END"""
_NOT_BELOW_PRIMARY = """\
set -euo pipefail; for pair in max_connections max_worker_processes max_wal_senders
 max_prepared_transactions:max_prepared_xacts max_locks_per_transaction:max_locks_per_xact; do
 new=$("$4" -C "${pair%:*}" "${@:5}" -c "config_file=$1");
 has=$(LC_ALL=C "$2" -D "$3" | sed -n "s/^${pair#*:} setting: *//p");
 [ "$new" -ge "${has:-0}" ] || { echo "${pair%:*} = $new is lower than on the primary, which has $has: a replica does
 not start with it. Lower it on the primary first: rollout: {first: [PRIMARY]}" >&2; exit 1; }; done"""
"""A replica starts only where these five are at least what its primary has; its control file remembers that.

Source: PostgreSQL 15, "Hot Standby", "Administrator's Overview".
"""


def quoted(text: str) -> str:
    r"""Return a text within single quotes, as PostgreSQL's configuration files and psql's own commands read it.

    Raises:
        ValueError: it has a line break or a zero byte.

    >>> quoted("it's a \\d")
    "'it''s a \\\\d'"
    """
    if _UNQUOTABLE & set(text):
        raise ValueError("a value has no line break and no zero byte")
    doubled = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{doubled}'"


def setting_line(name: str, value: str) -> str:
    r"""Return the line of a PostgreSQL configuration file that gives a setting exactly this value.

    Raises:
        ValueError: the name is none, or the value has a line break or a zero byte.

    Source: PostgreSQL 15, src/backend/utils/misc/guc-file.l, DeescapeQuotedString.

    >>> setting_line("search_path", "'a', b")
    "search_path = '''a'', b'\n"
    """
    if not _SETTING.fullmatch(name):
        raise ValueError(f"no name of a setting: {name!r}")
    return f"{name} = {quoted(value)}\n"


def programs(version: str) -> str:
    """Return the directory of a version's programs, as Debian has it."""
    return f"/usr/lib/postgresql/{version}/bin"


def configuration_directory(version: str) -> str:
    """Return where the server's configuration lies: in Debian's place, so that its tools find the server."""
    return f"/etc/postgresql/{version}/main"


def unit_name(version: str) -> str:
    """Return the unit's name, which is Debian's."""
    return f"postgresql@{version}-main.service"


def psql(version: str, port: str) -> tuple[str, ...]:
    """Return the command that asks the server that serves, as the user postgres, in the database ``postgres``."""
    place = ("--host=/var/run/postgresql", f"--port={port}", "--dbname=postgres")
    plain = ("--no-psqlrc", "--quiet", "--no-align", "--tuples-only")
    drop = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--")
    return (*drop, f"{programs(version)}/psql", *plain, *place)


def is_restarting(name: str) -> bool:
    """Tell whether a server takes a setting only when it starts; of an extension's own nobody knows: then it counts so.

    >>> is_restarting("max_connections"), is_restarting("work_mem"), is_restarting("pg_stat_statements.max")
    (True, False, True)
    """
    return name.lower() in RESTARTING or "." in name


def main_path(version: str) -> str:
    """Return the path of the server's main file, which is its store's."""
    return f"{configuration_directory(version)}/postgresql.conf"


def rules_path(version: str) -> str:
    """Return the path of the rules on who may connect."""
    return f"{configuration_directory(version)}/pg_hba.conf"


def restarted_path(version: str) -> str:
    """Return the path of the site's settings for which the server is restarted."""
    return f"{configuration_directory(version)}/{_RESTARTED}"


def site_files(
    version: str, settings: Mapping[str, str], hba: Sequence[str], replicas: Iterable[str]
) -> dict[str, str]:
    """Return the texts of a server's files that are the site's own, by path.

    Args:
        version: the major version.
        settings: the site's own. The port is the store's to set: its replicas depend on it.
        hba: the site's own lines on who may connect.
        replicas: the addresses that may replicate from it.

    Raises:
        ValueError: a setting is none, or its value has a line break or a zero byte.
    """
    directory = configuration_directory(version)
    lines = {True: "", False: ""}
    for name, value in sorted(settings.items()):  # the engine keeps no order
        if name != "port":
            lines[is_restarting(name)] += setting_line(name, value)
    return {
        restarted_path(version): f"{_HEAD} For these the server is restarted.\n{lines[True]}",
        f"{directory}/{_RELOADED}": f"{_HEAD} These it takes while it runs.\n{lines[False]}",
        rules_path(version): access_rules(hba, replicas),
    }


def replication_rules(replicas: Iterable[str]) -> tuple[str, ...]:
    """Return the lines that let replicas at these addresses follow."""
    return tuple(f"host replication {REPLICATION_ROLE} {address}/32 scram-sha-256" for address in replicas)


def access_rules(hba: Sequence[str], replicas: Iterable[str]) -> str:
    """Return ``pg_hba.conf``: the user postgres here, the site's own lines, and the replicas."""
    lines = ("local all postgres peer", *hba, "local all all peer", *replication_rules(replicas))
    return f"{_HEAD}\n" + "".join(f"{line}\n" for line in lines)


def validation(version: str, path: str, *, replica: bool) -> tuple[str, ...]:
    """Return the command that tells whether a new file of settings is good, ``{}`` standing for it.

    The server itself reads the file as if it started with it, and prints one setting. Nothing can tell so of
    ``pg_hba.conf``: the check after it was put in place does.

    Args:
        version: the major version.
        path: the file's.
        replica: whether the server follows another; then it must not have less than that one has.

    Source: PostgreSQL 15, postgres(1), ``-C``.
    """
    if path == rules_path(version):
        return ()
    current, reads = f"{ROOT}/current", f"{programs(version)}/postgres"
    places = (f"data_directory={current}", "hba_file=/dev/null", "ident_file=/dev/null")
    options = tuple(word for place in places for word in ("-c", place))
    if replica and path == restarted_path(version):
        script = " ".join(_NOT_BELOW_PRIMARY.split())
        control = f"{programs(version)}/pg_controldata"
        return ("bash", "-c", script, "validate", "{}", control, current, reads, *options)
    return (reads, "-C", "config_file", *options, "-c", "config_file={}")


def checks(version: str, port: str) -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """Return what tells that a server took its new files well: a name, the command, and the line that it prints."""
    ask = ("env", "--chdir=/", *psql(version, port))
    paths = ", ".join(quoted(path) for path in site_files(version, {}, (), ()))
    texts = (
        ("its files", _FAULTS.replace("{paths}", paths), "its files are good, and all settings in force"),
        ("it serves", _STREAMS, "it serves"),
    )
    return tuple((name, (*ask, f"--command={' '.join(sql.split())}"), prints) for name, sql, prints in texts)
