"""Plain files as an engine of stores: one directory. Satisfies `provisioners.stores.filling.Engine`.

Its files keep their names, contents, modes and times; directories without files are not kept.
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
ALWAYS: tuple[str, ...] = ("every file is as in the backup (SHA-256)",)


def refused(_: Mapping[str, Any]) -> tuple[Failure, ...]:
    """Return nothing: the rules say all."""
    return ()


def ground(inputs: Mapping[str, Any]) -> Ground:
    """Return where the files lie; ``/srv/files/DIRECTORY`` leads there."""
    return Ground(root=f"/srv/files/.{inputs['directory']}", unit="", account=inputs.get("owner") or "root")


def bring(shell: Shell, filling: Filling, tree: Tree, say: Say) -> None:
    """Bring the files, and the digest of each."""
    sums = "".join(f"{file_digest(tree.root / name)}  {name}\n" for name in tree.names)
    shell.put(sums.encode(), f"{filling.place}/sums")
    filling.seed.way.bring(shell, tree, filling.brought, say, exact=True)


def variables(inputs: Values, filling: Filling) -> Mapping[str, str]:
    """Return the environment of the script that fills a place."""
    return environment(place=filling.place, owner=inputs.get("owner") or "root")


def settle(shell: Shell, inputs: Values, say: Say, *, serving: bool) -> None:  # noqa: ARG001  # the protocol has it
    """Let the name under which the files are used lead to them."""
    directory = inputs["directory"]
    shell.run(("ln", "--symbolic", "--force", "--no-dereference", f".{directory}/current", f"/srv/files/{directory}"))


def drifted(shell: Shell, inputs: Values, lie: Lie) -> dict[str, Any]:  # noqa: ARG001  # the protocol has it
    """Return nothing: what users of the files change in them is not looked at."""
    return {"running": True} if "running" in inputs else {}
