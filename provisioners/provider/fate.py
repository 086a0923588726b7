"""Whether a machine that does not answer is gone, is off, or should be there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from model.errors import UnderstudyError
from provisioners.hypervisor.door import door

Fate = Literal["gone", "off", "unknown"]


def fate(inputs: Mapping[str, Any]) -> Fate:
    """Return what became of the machine that a resource's ``connection`` leads to.

    ``unknown`` where nobody can tell: it is no virtual machine of ours, or its host does not answer either.
    """
    connection = inputs.get("connection")
    address, _, name = str((connection or {}).get("domain") or "").rpartition("#")
    if not address:
        return "unknown"
    try:
        state = door(address).call("state", name, say=lambda _: None)
    except UnderstudyError:
        return "unknown"
    if not state:
        return "gone"
    return "off" if state in ("shut off", "crashed") else "unknown"
