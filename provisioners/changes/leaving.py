"""The steps after which a service is no longer on a machine: what was there before its first change comes back. Pure.

A service that goes is a change like any other: what is there is copied first, so that it can be taken back as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from model.change.digest import NOTHING, change_digest, identifier
from provisioners.changes.observed import BEFORE, Observed, digest_before, units_of
from provisioners.changes.texts import Change, same_as_copied

GOES = "goes"
"""The input that says that a service is to be there no more."""


def going(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a service's inputs, said to be there no more; its migrations stay in their databases.

    Args:
        inputs: of the kind ``understudy:index:Service``, as it is there now.
    """
    before = inputs.get("digest") or ""
    return {**inputs, GOES: True, BEFORE: before, "digest": NOTHING, "by_hand": [], "migrations": []}


def has_gone(found: Observed) -> bool:
    """Return whether there is nothing of a service left that could be put back."""
    first = found.first_files or found.first_units or found.first_packages
    return not first and found.digest in ("", NOTHING)


def change_that_goes(inputs: Mapping[str, Any], found: Observed) -> Change:
    """Return the change: that of the service, or, where nobody knows which that is, named by what comes back."""
    if (before := digest_before(inputs, found)) != NOTHING:
        return Change(service=inputs["service"], identifier=identifier(change_digest(before, NOTHING)))
    value = [inputs["service"], dict(found.first_files), {**found.first_units}, dict(found.first_packages)]
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return Change(service=inputs["service"], identifier=identifier(digest))


def copied(inputs: Mapping[str, Any], found: Observed) -> tuple[list[str], tuple[tuple[str, str], ...], list[str]]:
    """Return what is copied: paths, units with what takes an old file back, packages; all in order."""
    restarted = inputs.get("units") or {}
    units = sorted({*found.first_units, *units_of(inputs)})
    verbs = tuple((unit, "restart" if unit in restarted else "try-reload-or-restart") for unit in units)
    return sorted(found.first_files), verbs, sorted(found.first_packages)


def earlier(found: Observed) -> tuple[str, ...]:
    """Return the packages that change, and may be there now in a version that has to be able to come back."""
    return tuple(name for name, was in sorted(found.first_packages.items()) if found.packages.get(name) != was)


def giving_back(found: Observed) -> tuple[str, ...]:
    """Return the lines that put back what was there before the first change, unless somebody changed it meanwhile."""
    return (*same_as_copied(tuple(sorted(found.first_files))), "bash back-out.sh --first 9<&-")
