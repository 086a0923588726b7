"""Which module builds what the placement puts on a host. A cloud's is loaded only where a machine is placed there."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast

from components.backends import Backend
from model.capacity import LIBVIRT
from model.errors import UnderstudyError
from model.placement import Placement

_MODULES: Mapping[str, str] = {LIBVIRT: "libvirt", "aws": "aws", "gcp": "gcp", "azure": "azure"}
"""By the kind of a host: the module of this folder."""


def backend_of(placement: Placement, host: str) -> Backend[Any, Any]:
    """Return the backend of a host.

    Args:
        placement: where all machines of the stack are.
        host: the host's name in it.

    Raises:
        UnderstudyError: there is none for it.
    """
    placed = placement.host(host)
    kind = placed.kind if placed else LIBVIRT
    if kind not in _MODULES:
        raise UnderstudyError(
            where=f"host {host}", found=f"{kind}, without a backend", wanted=f"one of {', '.join(sorted(_MODULES))}"
        )
    return cast("Backend[Any, Any]", importlib.import_module(f"components.backends.{_MODULES[kind]}"))
