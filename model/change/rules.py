"""What the gate asks of a rehearsal, as a stack's file says it. No value opens the gate for good."""

from __future__ import annotations

from dataclasses import dataclass

from model import rules, units
from model.readers import Place, read_keys, read_text

DAY_SECONDS = 86400
LEAST_FAITHFUL, MOST_SEED_AGE_SECONDS = 0.5, 90 * DAY_SECONDS
"""Nobody may ask for less than this."""
EMERGENCY_SECONDS = 3600
"""For so long an emergency record is good; no stack's file changes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """What the gate asks.

    Args:
        least_faithful: how faithful to its original the stage must have been, from 0 to 1.
        most_seed_age_seconds: how old the stage's data may have been when the change was rehearsed.
        evidence: the stack in whose log the rehearsals are.
    """

    least_faithful: float = 0.95
    most_seed_age_seconds: int = 7 * DAY_SECONDS
    evidence: str = "stage"


def read_gate(place: Place, value: object) -> GateRules:
    """Return what a stack's file says of the gate."""
    usual = GateRules()
    section = read_keys(place, value, required=(), optional=("least_faithful", "most_seed_age", "evidence"))
    least = section.read("least_faithful", _read_share)
    most = section.read("most_seed_age", _read_age)
    evidence = section.read("evidence", read_text, rules.STACK, "the name of the stack on which changes are rehearsed")
    return GateRules(
        least_faithful=usual.least_faithful if least is None else least,
        most_seed_age_seconds=most or usual.most_seed_age_seconds,
        evidence=evidence or usual.evidence,
    )


def _read_share(place: Place, value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and LEAST_FAITHFUL <= value <= 1:
        return float(value)
    place.fault(value, f"a number from {LEAST_FAITHFUL} to 1: nothing opens the gate for good")
    return None


def _read_age(place: Place, value: object) -> int | None:
    try:
        age = units.seconds(value) if isinstance(value, str) and len(value) < 20 else 0
    except ValueError:
        age = 0
    if 0 < age <= MOST_SEED_AGE_SECONDS:
        return age
    place.fault(value, f"a duration such as 36h or 7d, at most {MOST_SEED_AGE_SECONDS // DAY_SECONDS}d")
    return None
