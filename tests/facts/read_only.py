"""Tells whether a command is on the list of those that change nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import dropwhile
from typing import Any

import pytest

from provisioners.outcome import Result
from provisioners.shell import Shell
from tests.reading import cases

_LISTS = cases("read_only_commands.yaml")
_SESSION = re.compile(
    r"--dbname=.* options='-c default_transaction_read_only=on -c statement_timeout=15000 -c lock_timeout=2000'"
    r" connect_timeout=10"
)
_STATEMENT = re.compile(r"--(?:command|execute)=(?:SELECT|SHOW) ")
_CHANGING = re.compile(
    r"\b(INSERT|UPDATE|DELETE|MERGE|DROP|ALTER|CREATE|TRUNCATE|GRANT|REVOKE|COPY|CALL|DO|VACUUM|ANALYZE|LOCK|SET|INTO|FOR|"
    r"pg_read_file|pg_write|lo_import|lo_export|dblink|pg_terminate_backend|pg_switch_wal|nextval|setval|pg_promote)\b",
    re.IGNORECASE,
)


def _rest(words: Sequence[str], pattern: Sequence[str]) -> list[str] | None:
    """Return the words after those that the pattern takes, None where it does not match."""
    rest = list(words)
    for expected in pattern:
        if expected.startswith("</"):
            rest = list(dropwhile(lambda word: word.startswith("/"), rest))
            continue
        if expected.endswith(">*"):
            return []
        if not rest or (rest[0] != expected and not re.fullmatch(r"<\w+>", expected)):
            return None
        rest.pop(0)
    return rest


def is_read_only(argv: Sequence[str]) -> bool:
    """Return whether a whole command line, with its prefixes, is on the list."""
    words = list(argv)
    while True:
        shorter = next((rest for prefix in _LISTS["prefixes"] if (rest := _rest(words, prefix)) is not None), None)
        if shorter is None:
            break
        words = shorter
    if not any(_rest(words, command) == [] for command in _LISTS["commands"]):
        return False
    return words[0] not in ("psql", "mysql") or _only_asks(words)


def noted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Sequence[str]]]:
    """Return what machines will be told from now on, each with the port of its SSH."""
    told, run = list[tuple[int, Sequence[str]]](), Shell.run

    def noting(self: Shell, argv: Sequence[str], **more: Any) -> Result:
        told.append((self.connection.port, argv))
        return run(self, argv, **more)

    monkeypatch.setattr(Shell, "run", noting)
    return told


def _only_asks(words: Sequence[str]) -> bool:
    statement = words[-1]
    session = words[0] == "mysql" or bool(_SESSION.fullmatch(words[-2]))
    return session and bool(_STATEMENT.match(statement)) and ";" not in statement and not _CHANGING.search(statement)
