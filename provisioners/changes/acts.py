"""What a change does besides files: what a person does by hand first, and migrations of databases, as values. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from model.errors import UnderstudyError

EXCEPT = "backed out, except for what is still to do"
"""What a way back prints last that leaves something to a person."""
STILL = "STILL TO DO: "
_NOT_MEASURED = "nobody knows how long: no drill has measured it yet"


def items(inputs: Mapping[str, Any], key: str) -> tuple[Mapping[str, Any], ...]:
    """Return the items of ``by_hand`` or ``migrations`` of a service's inputs, in order."""
    return tuple(inputs.get(key) or ())


def by_hand_digest(service: str, item: Mapping[str, Any]) -> str:
    """Return by what something that a person does is known: done once, it is done until its text or check changes.

    >>> by_hand_digest("web", {"name": "a", "text": "b"}) == by_hand_digest("web", {"name": "a", "text": "c"})
    False
    """
    return _digest(service, item["name"], item["text"], list(item.get("check") or ()), item.get("prints") or "")


def migration_digest(service: str, item: Mapping[str, Any]) -> str:
    """Return by what a migration is known: its way back may be mended later, its SQL may not."""
    return _digest(service, item["name"], item["database"], item["up"])


def _digest(*values: object) -> str:
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def pending_by_hand(inputs: Mapping[str, Any], done: frozenset[str]) -> tuple[str, ...]:
    """Return the names of what a person has yet to do, in order.

    Args:
        inputs: of the kind ``understudy:index:Service``.
        done: the digests of what was done.
    """
    service = str(inputs["service"])
    return tuple(each["name"] for each in items(inputs, "by_hand") if by_hand_digest(service, each) not in done)


def pending_migrations(inputs: Mapping[str, Any], made: Mapping[tuple[str, str], str]) -> tuple[str, ...]:
    """Return the names of the migrations that are yet to be made, in order.

    Args:
        inputs: of the kind ``understudy:index:Service``.
        made: the digest of each that was made, by service and name.

    Raises:
        UnderstudyError: one was made with another text: what it did cannot be told from the new one.
    """
    service, pending = str(inputs["service"]), []
    for each in items(inputs, "migrations"):
        known = made.get((service, each["name"]))
        if known is None:
            pending.append(each["name"])
        elif known != migration_digest(service, each):
            raise UnderstudyError(
                where=f"{inputs['connection']['name']}: {service}: migration {each['name']}",
                found=f"it was made in the database {each['database']} with another text",
                todo="Put its old text back, and add a migration of a new name for what is to change.",
            )
    return tuple(pending)


def databases(inputs: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """Return version, port and name of each database that has migrations, once."""
    found = ((str(each["version"]), str(each["port"]), str(each["database"])) for each in items(inputs, "migrations"))
    return tuple(dict.fromkeys(found))


def restore_words(inputs: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    """Return what a person does to take a migration back that only the backup takes back, and how long that takes."""
    forecast = (inputs.get("forecasts") or {}).get(item["store"]) or _NOT_MEASURED
    return (
        f"Restore the store {item['store']} from its newest good backup of before this change; what was written since "
        f"is lost. How long it takes: {forecast}."
    )


def whose_word(inputs: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    """Return the command with which somebody signs that something was done; empty where a check tells."""
    if item.get("check"):
        return ""
    stack = (inputs.get("evidence") or {}).get("stack") or "STACK"
    digest = by_hand_digest(str(inputs["service"]), item)
    return f'./run understudy change word {digest} --by-hand -s {stack} --why "..."'


def needs(inputs: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return whom it needs, one line each."""
    by_hand = (each for each in items(inputs, "by_hand") if each["name"] in names)
    return tuple(f"{who} (for: {each['name']})" for each in by_hand for who in each.get("needs") or ())
