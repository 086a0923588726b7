"""Plain files as an engine of stores: one directory. Satisfies `provisioners.stores.filling.Engine`.

Its files keep their names, contents, modes and times, and symbolic links what they say; directories without files are
not kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from provisioners.outcome import Say
from provisioners.provider.inputs import TEXT, Rule, optional, text
from provisioners.provider.kinds import Failure, Values
from provisioners.shell import Shell
from provisioners.stores import seeding
from provisioners.stores.filling import Filling
from provisioners.stores.landing import BORN_EMPTY, Ground, Lie
from provisioners.stores.storage import Tree, file_digest
from provisioners.stores.transfer import environment

TOKEN = "understudy:index:FilesStore"
SCRIPT = "files_fill"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
RULES: Mapping[str, Rule] = {
    **seeding.RULES,
    "directory": Rule(
        good=lambda value: text(value) and _NAME.fullmatch(value) is not None,
        allowed="a directory's name: letters, digits, `.`, `_` and `-`",
    ),
    "owner": optional(TEXT),
    "seed": seeding.seed_rule(BORN_EMPTY, "files"),
}
BEGINS: frozenset[str] = frozenset()
ALWAYS: tuple[str, ...] = ("every file is as in the backup (SHA-256)",)


def refused(_: Mapping[str, Any]) -> tuple[Failure, ...]:
    """Return nothing: the rules say all."""
    return ()


def ground(inputs: Mapping[str, Any]) -> Ground:
    """Return where the files lie; ``/srv/files/DIRECTORY`` leads there."""
    return Ground(root=f"/srv/files/.{inputs['directory']}", unit="", account=inputs.get("owner") or "root")


def needs(_: Values) -> Mapping[str, str]:
    """Return nothing: every machine can have files."""
    return {}


def bring(shell: Shell, filling: Filling, tree: Tree, say: Say) -> None:
    """Bring the files, the digest of each, and the list of all that is to be there."""
    sums = "".join(_sum(file_digest(tree.root / name), f"./{name}") for name in tree.names)
    shell.put(_bytes(sums), f"{filling.place}/sums")
    listed = [*(_bytes(f"f\t{name}\t\0") for name in tree.names), *(_bytes(f"l\t{a}\t{b}\0") for a, b in tree.links)]
    shell.put(b"".join(sorted(listed)), f"{filling.place}/list")
    filling.seed.way.bring(shell, tree, filling.brought, say, exact=True)


def _sum(digest: str, name: str) -> str:
    r"""Return a line as sha256sum reads it.

    Source: GNU coreutils 9.1, src/digest.c (filename_unescape).

    >>> _sum("00", "a b"), _sum("00", "a\nb")
    ('00  a b\n', '\\00  a\\nb\n')
    """
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"


def _bytes(text: str) -> bytes:
    """Return a text that has names of files as the bytes that they are."""
    return text.encode("utf-8", "surrogateescape")


def variables(inputs: Values, filling: Filling) -> Mapping[str, str]:
    """Return the environment of the script that fills a place."""
    return environment(place=filling.place, owner=inputs.get("owner") or "root")


def settle(shell: Shell, inputs: Values, say: Say, *, serving: bool) -> None:  # noqa: ARG001  # the protocol has it
    """Let the name under which the files are used lead to them."""
    shell.run(("ln", "--symbolic", "--force", "--no-target-directory", _target(inputs), _link(inputs)))


def _link(inputs: Mapping[str, Any]) -> str:
    return f"/srv/files/{inputs['directory']}"


def _target(inputs: Mapping[str, Any]) -> str:
    return f".{inputs['directory']}/current"


def drifted(shell: Shell, inputs: Values, lie: Lie) -> dict[str, Any]:  # noqa: ARG001  # the protocol has it
    """Return where the files' name leads, if elsewhere; what users of the files change in them is not looked at."""
    found: dict[str, Any] = {"running": True} if "running" in inputs else {}
    leads = shell.run(("readlink", "--", _link(inputs)), check=False).text
    if leads != _target(inputs):
        found["directory"] = f"(leads to {leads or 'nothing'})"
    return found
