"""What prod's log says of changes that were taken back there: from what the gate let through to what is there. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from model.change.digest import NOTHING
from model.change.gate import ServiceChange, let_through
from model.change.kept import KeptChange
from model.change.planned import SERVICE
from model.change.went_round import GATE, gate_of
from model.evidence.chain import Log


def urns_of(deployment: Mapping[str, Any], services: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Return the resources of some services in a state, by machine and service as their names have it."""
    resources = (deployment.get("deployment") or {}).get("resources") or ()
    names = {each["urn"].rpartition("::")[2]: each for each in resources if each.get("type") == SERVICE}
    return {name: each for name, each in names.items() if name.partition(":")[2] in services}


def taken_back(
    deployment: Mapping[str, Any], own: Log, there: Sequence[tuple[str, KeptChange]], services: Collection[str]
) -> tuple[ServiceChange, ...]:
    """Return from what to what services went back. One that only some of its machines gave up stays let through.

    Args:
        deployment: the stack's state.
        own: its log.
        there: the changes that its machines have copies of, each with its machine, the newest first.
        services: those of which something was taken back.
    """
    logged = let_through(own)
    if logged is None:
        return ()
    baseline = next((record.body.get("services") or {} for record in own.records if record.kind == "baseline"), {})
    found = []
    for service in sorted(services):
        stand = {
            _stands(
                name.partition(":")[0], service, there, baseline.get(service, NOTHING) if _adopted(each) else NOTHING
            )
            for name, each in urns_of(deployment, (service,)).items()
        }
        (to,) = stand if len(stand) == 1 else ("",)
        before = logged.get(service, NOTHING)
        if to and to != before:
            found.append(ServiceChange(service=service, before=before, after=to))
    return tuple(found)


def _adopted(resource: Mapping[str, Any]) -> bool:
    return bool((resource.get("inputs") or {}).get("adopt"))


def _stands(machine: str, service: str, there: Sequence[tuple[str, KeptChange]], first: str) -> str:
    """Return the digest of the newest change that is kept on a machine, the first one where none is; else empty."""
    mine = (each for at, each in there if (at, each.service, each.state) == (machine, service, "kept"))
    return next((each.digest for each in mine), first)


def record_body(changes: Sequence[ServiceChange], machines: Mapping[str, Sequence[str]], why: str) -> dict[str, Any]:
    """Return the body of the record.

    Args:
        changes: what went back as a whole.
        machines: the ids of the changes that were taken back, by machine and service.
        why: in words.
    """
    return {
        "changes": {change.digest: change.values() for change in changes},
        "machines": {name: list(identifiers) for name, identifiers in machines.items()},
        "why": why,
    }


def rolled_back(deployment: Mapping[str, Any], own: Log, services: Collection[str]) -> tuple[ServiceChange, ...]:
    """Return from what to what services went back whose rollout was taken back on all machines that had it.

    Args:
        deployment: the stack's state after that.
        own: its log; where it has no baseline, the gate's own state says what was let through.
        services: those whose rollout it was.
    """
    gate = gate_of(deployment)
    before, found = let_through(own) or (gate.let_through if gate else {}), []
    for service in sorted(services):
        there = {
            str((each.get("inputs") or {}).get("digest") or "") for each in urns_of(deployment, (service,)).values()
        }
        (to,) = there if len(there) == 1 else ("" if there else NOTHING,)
        if gate and to and to != before.get(service, NOTHING):
            found.append(ServiceChange(service=service, before=before.get(service, NOTHING), after=to))
    return tuple(found)


def with_gate(deployment: Mapping[str, Any], changes: Sequence[ServiceChange]) -> dict[str, Any]:
    """Return a state whose gate knows of these changes, as a refresh would have it."""

    def known(services: Mapping[str, str]) -> dict[str, str]:
        now = {**services, **{change.service: change.after for change in changes}}
        return {name: digest for name, digest in now.items() if digest != NOTHING}

    def told(gate: Mapping[str, Any]) -> Mapping[str, Any]:
        inputs, outputs = gate.get("inputs") or {}, gate.get("outputs") or {}
        services = {"services": known(inputs.get("services") or {})}
        through = {"let_through": known(outputs.get("let_through") or {})}
        return {**gate, "inputs": {**inputs, **services}, "outputs": {**outputs, **through}}

    found = (deployment.get("deployment") or {}).get("resources") or ()
    resources = [told(each) if changes and each.get("type") == GATE else each for each in found]
    return {**deployment, "deployment": {**deployment["deployment"], "resources": resources}}
