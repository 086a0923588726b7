"""What an update would do beyond the plan that lies beside a change document. Pure.

Source: pulumi, sdk/go/common/apitype/plan.go (DeploymentPlanV1, ResourcePlanV1, GoalV1, PlanDiffV1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from model.way_in import SECRET, SIGNATURE

_FOLLOWING = frozenset(f"understudy:index:{kind}" for kind in ("HttpCheck", "Report", "TunnelCheck"))
"""Kinds that follow whatever changes."""
_NOTHING = frozenset({"same", "refresh", "read"})


def stacks_of(plan: Mapping[str, Any]) -> frozenset[str]:
    """Return the stack of a plan; nothing where it plans nothing.

    >>> stacks_of({"resourcePlans": {"urn:pulumi:prod::shop::a:b:C::d": {}}})
    frozenset({'prod'})
    """
    return frozenset(urn.split("::")[0].rpartition(":")[2] for urn in plan.get("resourcePlans") or {})


def planned_at(plan: Mapping[str, Any]) -> datetime:
    """Return when a plan was made, in whole seconds.

    >>> planned_at({"manifest": {"time": "2026-11-25T17:30:23.01282434Z"}}).isoformat()
    '2026-11-25T17:30:23+00:00'
    """
    return datetime.fromisoformat(f"{plan['manifest']['time'][:19]}+00:00")


def beyond(approved: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a plan would do that an approved one does not say, one line each.

    What the approved one has and the other no longer needs is no fault: it may have been done.
    """
    known = approved.get("resourcePlans") or {}
    return tuple(line for urn, plan in _doing(wanted) for line in _more(urn, known.get(urn) or {}, plan))


def does_anything(plan: Mapping[str, Any]) -> bool:
    """Return whether a plan changes anything."""
    return any(True for _ in _doing(plan))


def _doing(plan: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for urn, each in sorted((plan.get("resourcePlans") or {}).items()):
        kind = _kind(urn)
        plain = not kind.startswith(("understudy:components:", "pulumi:"))
        if plain and kind not in _FOLLOWING and set(each.get("steps") or ()) - _NOTHING:
            yield urn, each


def _kind(urn: str) -> str:
    return urn.split("::", 3)[2].rpartition("$")[2]


def _more(urn: str, approved: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    name = f"{_kind(urn).rpartition(':')[2]} {urn.split('::', 3)[3]}"
    steps, known = ([step for step in plan.get("steps") or () if step not in _NOTHING] for plan in (wanted, approved))
    if steps != known:
        yield f"{name}: {', '.join(steps)}" + (f", in place of {', '.join(known)}" if known else "")
    elif keys := _differing(approved, wanted):
        yield f"{name}: {', '.join(steps)}, with another {', '.join(keys)}"


def _differing(approved: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the inputs that one plan changes in another way than the other."""
    before, after = (_inputs(plan) for plan in (approved, wanted))
    return tuple(key for key in sorted({*before, *after}) if before.get(key) != after.get(key))


def _inputs(plan: Mapping[str, Any]) -> dict[str, Any]:
    diff = (plan.get("goal") or {}).get("inputDiff") or {}
    changed = {**(diff.get("adds") or {}), **(diff.get("updates") or {})}
    return {
        **{key: (True, _masked(value)) for key, value in changed.items()},
        **dict.fromkeys(diff.get("deletes") or (), (False, None)),
    }


def _masked(value: Any) -> Any:
    """Return a value in which every secret is the same: each time it is encrypted it looks another way."""
    if isinstance(value, Mapping):
        if value.get(SIGNATURE) == SECRET:
            return SECRET
        return {key: _masked(inner) for key, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list) else value
