"""What went round the gate, as a stack's state shows it: `--target`, `destroy`, an edited state. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from model.change.digest import NOTHING, machine_name
from model.change.gate import ServiceChange, ever_let_through, let_through, open_rounds
from model.change.planned import BOOT, FIRST_CONTACT
from model.evidence.chain import Log
from model.rules import ENGINES

GATE, SERVICE = "understudy:index:Gate", "understudy:index:Service"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptGate:
    """What the state has of the gate: the digest of each service that it let through."""

    let_through: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WentRound:
    """One thing that the gate has not let through.

    Args:
        change: from what the gate let through last to what is there.
        where: the resources that are so.
        how: what was seen, in words.
    """

    change: ServiceChange
    where: tuple[str, ...]
    how: str


def gate_of(deployment: Mapping[str, Any]) -> KeptGate | None:
    """Return the gate as the state has it, None where it has none.

    Args:
        deployment: what ``pulumi stack export`` printed, parsed.
    """
    found = next((each for each in _resources(deployment) if each.get("type") == GATE), None)
    if found is None:
        return None
    known = (found.get("outputs") or {}).get("let_through") or {}
    return KeptGate(let_through={str(name): str(digest) for name, digest in known.items()})


def went_round(deployment: Mapping[str, Any], own: Log, *, settled: Callable[[], bool]) -> tuple[WentRound, ...]:
    """Return what is in the state and was never let through, and what was let through and is gone.

    A digest that was let through at any time is no finding: a rollout that stopped leaves machines at the older one.
    Without a baseline in the log there is nothing to compare with.

    Args:
        deployment: what ``pulumi stack export`` printed, parsed.
        own: the stack's log.
        settled: tells whether the last update did all that it was to do: else a service may not be there yet.
    """
    logged, gate = let_through(own), gate_of(deployment)
    if logged is None:
        return ()
    ever, there = ever_let_through(own), {service for service, _, _ in _services(deployment)} | _machines(deployment)
    found = list(_unknown_digests(deployment, logged, ever))
    if gate is not None:
        edited = ((name, to) for name, to in gate.let_through.items() if to not in ever.get(name, frozenset()))
        found += [_at_gate(name, logged, to, "the gate's own state was edited") for name, to in edited]
    gone = [name for name, to in logged.items() if to != NOTHING and name not in ENGINES and name not in there]
    if gone and (gate is None or settled()):
        how = "it is gone (`destroy`, `--target`, or an edited state)"
        found += [_at_gate(name, logged, NOTHING, how) for name in sorted(gone)]
    return tuple({each.change.digest: each for each in found}.values())


def _at_gate(service: str, logged: Mapping[str, str], to: str, how: str) -> WentRound:
    change = ServiceChange(service=service, before=logged.get(service, NOTHING), after=to)
    return WentRound(change=change, where=(), how=how)


def record_body(found: tuple[WentRound, ...], own: Log) -> dict[str, Any] | None:
    """Return the body of the record of what went round and what is over; None where the log tells of it already."""
    known = {change.digest for change, _ in open_rounds(own)}
    new = [each for each in found if each.change.digest not in known]
    over = sorted(known - {each.change.digest for each in found})
    if not new and not over:
        return None
    changes = {each.change.digest: {**each.change.values(), "where": list(each.where)} for each in new}
    why = "; ".join(dict.fromkeys(each.how for each in new)) or "it is there no more"
    return {"changes": changes, "over": over, "why": why}


def _unknown_digests(
    deployment: Mapping[str, Any], logged: Mapping[str, str], ever: Mapping[str, frozenset[str]]
) -> Iterator[WentRound]:
    found: dict[tuple[str, str], list[str]] = {}
    for service, digest, name in _services(deployment):
        if digest not in {*ever.get(service, ()), NOTHING}:  # a change that was taken back leaves nothing
            found.setdefault((service, digest), []).append(name)
    for (service, digest), names in sorted(found.items()):
        change = ServiceChange(service=service, before=logged.get(service, NOTHING), after=digest)
        how = f"{', '.join(names)} has what the gate never let through (`--target`, or an edited state)"
        yield WentRound(change=change, where=tuple(names), how=how)


def _services(deployment: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield service, digest and the resource's name of each service on a machine."""
    for resource in _resources(deployment):
        inputs = resource.get("inputs") or {}
        if resource.get("type") == SERVICE and inputs.get("service") and inputs.get("digest"):
            yield str(inputs["service"]), str(inputs["digest"]), str(resource.get("urn", "")).rpartition("::")[2]


def _machines(deployment: Mapping[str, Any]) -> set[str]:
    booted = (each for each in _resources(deployment) if each.get("type") in (BOOT, FIRST_CONTACT))
    return {machine_name(str(each["urn"]).rpartition("::")[2]) for each in booted}


def _resources(deployment: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = (deployment.get("deployment") or {}).get("resources") or []
    return found
