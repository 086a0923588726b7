"""What a change of a service consists of besides files: what a person does by hand, and migrations of a database."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from model.readers import Place, read_keys, read_list, read_name, read_text

RESTORE = "restore"
"""The way back of a migration that has no other: the store is restored from its backup."""
_SQL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.sql")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_NAME_ALLOWED = "a name: lower case, digits, hyphens"


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHand:
    """Something that a person does before the rest of a change, once.

    Args:
        text: what to do, a template.
        needs: whom it needs, one line each.
        check: the command on the machine that tells whether it is done, each word a template; empty where nothing can
            tell: then a named person's signed word does.
        prints: a line that the check must print; empty where its exit code alone tells.
        back_out: what to do to take it back; empty for nothing.
    """

    name: str
    text: str
    needs: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    prints: str = ""
    back_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A change of a store's tables, made once, on its primary.

    Args:
        store: the store's name.
        up: the SQL file of the service's folder that makes it, in one transaction.
        back_out: the SQL file that takes it back; `RESTORE` where only the backup does.
    """

    name: str
    store: str
    up: str
    back_out: str

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the names of its files.

        >>> Migration(name="a", store="shop", up="a.sql", back_out="restore").sources
        ('a.sql',)
        """
        return (self.up,) if self.back_out == RESTORE else (self.up, self.back_out)


def read_by_hand(
    place: Place,
    value: object,
    line: Callable[[Place, object], str | None],
    command: Callable[[Place, object], tuple[str, ...]],
) -> ByHand:
    """Return one item of ``by_hand``.

    Args:
        place: where it stands.
        value: what stands there.
        line: reads one line of text.
        command: reads the words of a command.
    """
    keys = read_keys(place, value, required=("name", "text"), optional=("needs", "check", "prints", "back_out"))
    if "prints" in keys.values and "check" not in keys.values:
        (place / "prints").fault(keys.values["prints"], "only beside `check`")
    return ByHand(
        name=keys.read("name", read_text, _NAME, _NAME_ALLOWED) or "",
        text=keys.read("text", line) or "",
        needs=keys.read("needs", read_list, line) or (),
        check=keys.read("check", command) or (),
        prints=keys.read("prints", line) or "",
        back_out=keys.read("back_out", line) or "",
    )


def read_migration(place: Place, value: object) -> Migration:
    """Return one item of ``migrations``."""
    keys = read_keys(place, value, required=("name", "store", "up", "back_out"), optional=())
    file = "the name of an SQL file in the service's folder, such as add-note.sql"
    back = keys.values.get("back_out")
    return Migration(
        name=keys.read("name", read_text, _NAME, _NAME_ALLOWED) or "",
        store=keys.read("store", read_name, "store") or "",
        up=keys.read("up", read_text, _SQL, file) or "",
        back_out=RESTORE if back == RESTORE else keys.read("back_out", read_text, _SQL, f"{file}, or `restore`") or "",
    )
