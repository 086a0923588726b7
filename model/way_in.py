"""How a machine of a stack is entered, as the stack's state says it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from model.connection import Connection, connection_of
from model.errors import UnderstudyError
from model.readers import meant, one_of

_BOOT = "understudy:index:Boot"
# Source: pulumi, sdk/go/common/resource/sig: the signature of a secret in a state.
_SIGNATURE, _SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"


def way_in(deployment: Mapping[str, Any], stack: str, machine: str) -> tuple[Connection, str]:
    """Return a machine's connection and the private key that opens it.

    Args:
        deployment: what ``pulumi stack export --show-secrets`` printed, parsed.
        stack: the stack's name, for errors.
        machine: the machine's name.

    Raises:
        UnderstudyError: the stack has built no such machine.
    """
    resources = (deployment.get("deployment") or {}).get("resources") or []
    booted = {each["urn"].rpartition("::")[2]: each for each in resources if each.get("type") == _BOOT}
    if machine not in booted:
        raise UnderstudyError(
            where=f"stack {stack}",
            found=f"no machine {machine} that it has built",
            wanted=f"{one_of(booted)}{meant(machine, booted)}",
            todo=f"Build it with `./run pulumi up -s {stack}`." if not booted else "",
        )
    values = {**booted[machine].get("inputs", {}), **booted[machine].get("outputs", {})}
    return connection_of(revealed(values["connection"])), str(revealed(values["private_key"]))


def machine_names(deployment: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the machines that a stack has built, in order."""
    resources = (deployment.get("deployment") or {}).get("resources") or []
    return tuple(sorted(each["urn"].rpartition("::")[2] for each in resources if each.get("type") == _BOOT))


def revealed(value: Any) -> Any:
    """Return a value out of a state whose secrets were exported in plain text.

    >>> revealed({"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": '"key"'})
    'key'
    """
    if isinstance(value, Mapping):
        if value.get(_SIGNATURE) == _SECRET:
            return json.loads(value["plaintext"])
        return {key: revealed(inner) for key, inner in value.items()}
    return value
