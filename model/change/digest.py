"""The digest of a change: of what stage and prod share, before an environment's own values are filled in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

from model.service import Service

MACHINE = "machine"
NOTHING = "0" * 64
"""The digest of a service that is not there, such as before its first change."""


def service_digest(
    service: Service, sources: Mapping[str, str], packages: Mapping[str, str], places: object = ()
) -> str:
    """Return the digest of a service as Git has it: its description, the text of its files, and its packages.

    Args:
        service: the service as its ``service.yaml`` describes it, its variables included: they are the same everywhere.
            What an environment fills in (names, addresses, passwords) stands in the templates as names only.
        sources: the text of each file of the service's folder, by ``service/file``.
        packages: the SHA-256 of each package's file, by ``name_version``.
        places: where it runs, as JSON has it: its machines' names, and what stands of the stores that it sets up.

    >>> a = Service(name="web", variables=(("port", 80),))
    >>> service_digest(a, {}, {}) == service_digest(Service(name="web", variables=(("port", 81),)), {}, {})
    False
    >>> service_digest(a, {}, {}) == service_digest(a, {"web/a": "x"}, {})
    False
    >>> service_digest(a, {}, {}, ["app1"]) == service_digest(a, {}, {}, ["app1", "app2"])
    False
    """
    mine = {name: text for name, text in sources.items() if name.partition("/")[0] == service.name}
    values = asdict(service)
    # What came later counts where a service has it: the digests of all the others are as they were.
    described = {key: value for key, value in values.items() if value or key not in ("by_hand", "migrations")}
    return _digest({"service": described, "sources": mine, "packages": dict(packages), "places": places})


def machine_name(machine: str) -> str:
    """Return the name under which the gate and its records know a machine itself, beside services.

    >>> machine_name("lb")
    'machine lb'
    """
    return f"{MACHINE} {machine}"


def machine_digest(machine: str, sizes: Mapping[str, int]) -> str:
    """Return the digest of a machine as the described stack's file has it: stage and prod share that.

    Args:
        machine: its name.
        sizes: as `model.topology.Machine.sizes` has them.
    """
    return _digest({"machine": machine, "sizes": {key: int(size) for key, size in sizes.items()}})


def change_digest(before: str, after: str) -> str:
    """Return the digest of a change: from which service digest to which.

    Args:
        before: the service's digest now; `NOTHING` where it is not there.
        after: its digest then; `NOTHING` where it is taken away.
    """
    return _digest({"before": before, "after": after})


def identifier(digest: str) -> str:
    """Return by what people know a change: in its document, on its machines, in records, in commands.

    >>> identifier(change_digest(NOTHING, "1" * 64))
    '0857e73fe61b'
    """
    return digest[:12]


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
