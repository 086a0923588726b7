"""What was read on one machine, as values that can be laid beside another's. Nothing secret is in what is shown."""

from __future__ import annotations

from dataclasses import dataclass

from model.facts import Unread

AREAS = (
    "system",
    "packages",
    "files",
    "kernel settings",
    "units",
    "ports",
    "databases",
    "database settings",
)
"""What is compared. Each area counts the same in a machine's figure, however much is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One thing that is so on a machine.

    Args:
        area: one of ``AREAS``.
        key: what it is, such as a package's name or a file's path; once in an area.
        value: what is shown of it.
        digest: compared as well, and never shown: of a file's content, or of a setting that may hold a secret.
        amount: a size; where both machines have one it is compared in place of the value.
        within: the share of the larger amount by which the two may differ, 0 to 1.
    """

    area: str
    key: str
    value: str
    digest: str = ""
    amount: int | None = None
    within: float = 0.0

    def same(self, other: Reading) -> bool:
        """Return whether both machines have the same, as near as this kind of thing can be.

        >>> small, large = (Reading(area="databases", key="shop", value="", amount=n, within=0.25) for n in (80, 100))
        >>> small.same(large), small.same(Reading(area="databases", key="shop", value="", amount=200, within=0.25))
        (True, False)
        """
        if self.amount is not None and other.amount is not None:
            least, most = sorted((self.amount, other.amount))
            return most - least <= self.within * most
        return self.value == other.value and self.digest == other.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """Everything that was read on one machine for the comparison.

    Args:
        machine: its name in the topology.
        readings: each area and key once.
        unread: areas, as ``fact``, that could not be read or not whole, with the machine's own words.
        failed: why the machine could not be asked at all; empty where it answered.
    """

    machine: str
    readings: tuple[Reading, ...] = ()
    unread: tuple[Unread, ...] = ()
    failed: str = ""


def unreachable(machine: str, reason: str) -> Portrait:
    """Return what is known of a machine that did not answer."""
    return Portrait(machine=machine, failed=reason)
