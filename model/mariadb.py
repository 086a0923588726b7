"""How a MariaDB server is set up: where its files lie, which of them is a site's own, how it is validated.

The store has the data, the restore, the accounts, and the file that has the last word; what a site sets is in a file
that is a service's like any other's and is changed as such.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

ROOT = "/srv/mariadb"
UNIT = "mariadb.service"
SITE_PATH, STORE_PATH = (f"/etc/mysql/mariadb.conf.d/{name}.cnf" for name in ("80-site", "90-understudy"))
"""Of two files with one setting, the later one in the order of their names counts."""
CLIENT = ("mariadb", "--no-defaults", "--socket=/run/mysqld/mysqld.sock", "--user=root", "--batch")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_PLAIN = re.compile(r"[A-Za-z0-9_./:,@%+*-]*")
_READS = r"""set -euo pipefail; code=0;
 said=$(/usr/sbin/mariadbd "--defaults-file=$1" --datadir=/nonexistent --user=mysql --help --verbose 2>&1 >/dev/null)
 || code=$?; wrong=$(grep -E "\[ERROR\]|^error:| adjusted to " <<<"$said") || true;
 [ $code = 0 ] && [ -z "$wrong" ] || { printf "%s\n" "${wrong:-$said}" >&2; exit 1; }"""
"""The server reads the file as if it started with it, prints its help, and looks at no data.

Source: MariaDB 10.11, sql/mysqld.cc (``opt_help``); a value that it does not take it adjusts, with a warning.
"""


def setting_line(name: str, value: str) -> str:
    r"""Return the line of an option file that gives a setting exactly this value.

    Raises:
        ValueError: the name is none, or the value has a zero byte.

    Source: MariaDB 10.11, mysys/my_default.c (search_default_file_with_ext, find_end_comment).

    >>> setting_line("init_connect", 'SET @a = "#"')
    'init_connect = "SET @a = \\"#\\""\n'
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"no name of a setting: {name!r}")
    if "\0" in value:
        raise ValueError("a value has no zero byte")
    if _PLAIN.fullmatch(value):
        return f"{name} = {value}\n"
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{name} = "{quoted}"\n'


def site_text(settings: Mapping[str, str]) -> str:
    """Return the text of the file that is the site's own.

    Raises:
        ValueError: a setting is none.
    """
    usual = {"bind_address": "0.0.0.0"}  # noqa: S104  # the fence decides who reaches it
    lines = (setting_line(name, value) for name, value in sorted({**usual, **settings}.items()))
    return f"# Written by Understudy; edit services/mariadb/ instead.\n[mariadbd]\n{''.join(lines)}"


def validation() -> tuple[str, ...]:
    """Return the command that tells whether a new file of settings is good, ``{}`` standing for it."""
    return ("bash", "-c", " ".join(_READS.split()), "validate", "{}")


def checks() -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """Return what tells that a server took its new file well: a name, the command, and the line that it prints."""
    ask = (*CLIENT, "--skip-column-names", "--execute=SELECT 'it serves'")
    return (("it serves", ask, "it serves"),)
