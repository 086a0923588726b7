"""How a machine of a stack is entered, as the stack's state says it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from model.connection import Connection, connection_of
from model.errors import UnderstudyError
from model.readers import meant, one_of

_BOOTS = ("understudy:index:Boot", "understudy:index:FirstContact")
_SERVICE = "understudy:index:Service"
# Source: pulumi, sdk/go/common/resource/sig: the signature of a secret in a state.
SIGNATURE, SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"


def way_in(deployment: Mapping[str, Any], stack: str, machine: str) -> tuple[Connection, str]:
    """Return a machine's connection and the private key that opens it.

    Args:
        deployment: what ``pulumi stack export --show-secrets`` printed, parsed.
        stack: the stack's name, for errors.
        machine: the machine's name.

    Raises:
        UnderstudyError: the stack has neither built such a machine nor put a service on it.
    """
    known = _reached(deployment)
    if machine not in known:
        raise UnderstudyError(
            where=f"stack {stack}",
            found=f"no machine {machine} that it has built, or has put a service on",
            wanted=f"{one_of(known)}{meant(machine, known)}",
            todo=f"Build it with `./run pulumi up -s {stack}`." if not known else "",
        )
    values = {**known[machine].get("outputs", {}), **known[machine].get("inputs", {})}
    return connection_of(revealed(values["connection"])), str(revealed(values.get("private_key") or ""))


def machine_names(deployment: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the machines that a stack has built, or has put services on, in order."""
    return tuple(sorted(_reached(deployment)))


def _reached(deployment: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return for each machine what says how it is reached: its start, or, where it was there before us, a service."""
    resources = (deployment.get("deployment") or {}).get("resources") or []
    names = [(each.get("type"), each["urn"].rpartition("::")[2], each) for each in resources]
    services = {name.partition(":")[0]: each for kind, name, each in names if kind == _SERVICE and _inputs(each)}
    return services | {name: each for kind, name, each in names if kind in _BOOTS}


def _inputs(resource: Mapping[str, Any]) -> bool:
    return "connection" in (resource.get("inputs") or {})


def revealed(value: Any) -> Any:
    """Return a value out of a state whose secrets were exported in plain text.

    >>> revealed({"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": '"key"'})
    'key'
    """
    if isinstance(value, Mapping):
        if value.get(SIGNATURE) == SECRET:
            return json.loads(value["plaintext"])
        return {key: revealed(inner) for key, inner in value.items()}
    return value
