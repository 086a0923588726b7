"""The gate: on it everything else of prod depends, and in an update it refuses what no stage has shown to work."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from model import rules
from model.change.digest import NOTHING
from model.change.gate import Evidence, Passage, ServiceChange, alarms, changes, decide, let_through, refusal_text
from model.change.rules import LEAST_FAITHFUL, MOST_SEED_AGE_SECONDS, GateRules
from model.errors import UnderstudyError
from model.evidence.chain import Anchor, Log, Record
from provisioners import evidence_log
from provisioners.outcome import Say
from provisioners.provider.inputs import PATH, WORDS, Rule, failures, number, optional
from provisioners.provider.kinds import Failure, Real, Values
from provisioners.signing import Signer, find_signer

_DIGEST = re.compile(r"[0-9a-f]{64}")


def _is_services(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in value.values()
    )


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and LEAST_FAITHFUL <= value <= 1


_STACK = Rule(good=lambda value: isinstance(value, str) and bool(rules.STACK.fullmatch(value)), allowed="a stack")
_RULES: Mapping[str, Rule] = {
    "stack": _STACK,
    "rehearsed_on": _STACK,
    "services": Rule(good=_is_services, allowed="the digest of each service, by its name"),
    "unshared": optional(WORDS),
    "least_faithful": Rule(good=_is_share, allowed=f"a number from {LEAST_FAITHFUL} to 1"),
    "most_seed_age_seconds": number(1, MOST_SEED_AGE_SECONDS),
    "project_directory": PATH,
}


class Gate:
    """Kind ``understudy:index:Gate``.

    Inputs: ``stack``; ``services``, the digest of each as Git has it; ``unshared``, those that cannot be rehearsed;
    ``rehearsed_on``, the stack in whose log the rehearsals are; ``least_faithful``; ``most_seed_age_seconds``;
    ``project_directory``, in which ``evidence/`` is.

    Outputs: ``let_through``, the digest of each service that may be there; ``unshared``, as it was then; ``seen``, the
    last record of each log that was seen, so that a log that was cut later is found; ``note``, what is not as it
    should be.

    Args:
        clock: returns the present moment.
    """

    token = "understudy:index:Gate"
    secret_outputs: frozenset[str] = frozenset()
    replace_on = frozenset({"stack"})
    ignored = frozenset({"project_directory"})

    def __init__(self, clock: Callable[[], datetime] = evidence_log.now) -> None:
        self._clock = clock

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        found = failures(inputs, _RULES)
        if not found and inputs["stack"] == inputs["rehearsed_on"]:
            return (Failure(property="rehearsed_on", reason="a stack's own changes are rehearsed on another"),)
        return found

    def shouts(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any], *, planned: bool) -> tuple[str, ...]:
        """Return what must not be overlooked, and, where an update is planned, what the gate will say to it."""
        try:
            evidence = self._evidence(inputs, outputs)
            found = [] if planned and outputs else list(alarms(evidence))  # those of an update were shown already
            if let_through(evidence.own) is None:
                found += _unrecorded(inputs, outputs)
            if planned:
                passages, refusals = decide(_wanted(inputs, outputs, evidence.own), evidence)
                why = refusal_text(refusals, evidence) if refusals else _no_signer(inputs) if passages else ""
                found += [f"REFUSED in an update: {why}"] if why else []
        except UnderstudyError as error:
            return (str(error),)
        return tuple(found)

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Take what is there for the baseline; where the log has one already, it decides as in any update.

        Raises:
            UnderstudyError: it refuses.
        """
        return f"gate of {inputs['stack']}", self.update("", inputs, inputs, {}, say)

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return what the state has, and of services what the log says: something may have been taken back."""
        own = evidence_log.read(Path(inputs["project_directory"]), inputs["stack"]) if inputs else Log(stack="")
        known = let_through(own) if own.broken is None else None
        if known is None:
            return Real(inputs=inputs, outputs=outputs)
        there = {name: digest for name, digest in known.items() if digest != NOTHING}
        return Real(inputs={**inputs, "services": there}, outputs={**outputs, "let_through": there})

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Let through what may pass, and record that; else refuse, with nothing touched.

        Raises:
            UnderstudyError: it refuses, or cannot record what it would let through.
        """
        evidence = self._evidence(inputs, outputs)
        evidence_log.whole(evidence.own)
        directory = Path(inputs["project_directory"])
        if let_through(evidence.own) is None:
            baseline = dict(outputs.get("let_through") or inputs["services"])
            try:
                signer = find_signer(directory, asks=False)
                record_baseline(directory, inputs["stack"], baseline, signer, self._clock)
            except UnderstudyError as error:
                if changes(baseline, inputs["services"]):
                    raise
                return _outputs(inputs, outputs, evidence, f"it could not be signed: {error}")
            evidence = self._evidence(inputs, outputs)
        wanted = _wanted(inputs, outputs, evidence.own)
        passages, refusals = decide(wanted, evidence)
        if refusals:
            raise UnderstudyError(where=f"gate of {inputs['stack']}", found=refusal_text(refusals, evidence))
        if passages:
            self._record(directory, inputs, outputs, wanted)
            evidence = self._evidence(inputs, outputs)
        return _outputs(inputs, outputs, evidence, "")

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Do nothing: the evidence stays."""

    def _evidence(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Evidence:
        directory, seen = Path(inputs["project_directory"]), outputs.get("seen") or {}
        own, rehearsals = (
            evidence_log.read(directory, stack, anchors=_anchors(seen, stack))
            for stack in (inputs["stack"], inputs["rehearsed_on"])
        )
        return Evidence(
            own=own,
            rehearsals=rehearsals,
            rules=_rules(inputs),
            now=self._clock(),
            unshared=_unshared(inputs, outputs),
        )

    def _record(self, directory: Path, inputs: Values, outputs: Values, wanted: tuple[ServiceChange, ...]) -> None:
        """Record what is let through, deciding again with nobody else writing: an emergency is good only once."""
        known = self._evidence(inputs, outputs)

        def decided(own: Log) -> tuple[str, dict[str, Any]]:
            evidence = replace(known, own=own)
            passages, refusals = decide(wanted, evidence)
            if refusals:
                raise UnderstudyError(where=f"gate of {own.stack}", found=refusal_text(refusals, evidence))
            return "prod", prod_body(passages)

        signer = find_signer(directory, asks=False)
        evidence_log.append(directory, inputs["stack"], signer, decided, clock=self._clock)


def prod_body(passages: tuple[Passage, ...]) -> dict[str, Any]:
    """Return the body of the record that says what was let through, and because of which records."""
    return {"changes": {passage.change.digest: passage.values() for passage in passages}}


def record_baseline(
    directory: Path,
    stack: str,
    services: Mapping[str, str],
    signer: Signer,
    clock: Callable[[], datetime] = evidence_log.now,
) -> Record | None:
    """Record what a stack began with, once; None where that was done already.

    Raises:
        UnderstudyError: it cannot be recorded.
    """

    def decided(own: Log) -> tuple[str, dict[str, Any]] | None:
        return ("baseline", {"services": dict(services)}) if let_through(own) is None else None

    return evidence_log.append(directory, stack, signer, decided, clock=clock)


def _wanted(inputs: Mapping[str, Any], outputs: Mapping[str, Any], own: Log) -> tuple[ServiceChange, ...]:
    """Return what would change from what was let through last: as the log says; without one, as the state does."""
    before = let_through(own)
    if before is None:
        before = outputs.get("let_through") or inputs["services"]
    return changes(before, inputs["services"])


def _unrecorded(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> list[str]:
    """Return what to do about a baseline that is not in the log; nothing where the first update will record it."""
    stack, why = inputs["stack"], _no_signer(inputs) or outputs.get("note", "")
    if not outputs and not why:
        return []
    todo = f"With a key, ./run understudy evidence baseline -s {stack} records it."
    return ["\n".join(filter(None, (f"the baseline of {stack} (what it begins with) is not recorded", why, todo)))]


def _no_signer(inputs: Mapping[str, Any]) -> str:
    """Return why nobody can sign; nothing where somebody can."""
    try:
        find_signer(Path(inputs["project_directory"]), asks=False)
    except UnderstudyError as error:
        return f"what passes must be signed and recorded, and cannot be: {error}"
    return ""


def _unshared(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> frozenset[str]:
    """Return the services for which a word has to do: no service becomes one by the very change that is looked at."""
    known, before = outputs.get("let_through") or {}, frozenset(outputs.get("unshared") or ())
    return before | {name for name in inputs.get("unshared") or () if name not in known}


def _rules(inputs: Mapping[str, Any]) -> GateRules:
    return GateRules(
        least_faithful=inputs["least_faithful"],
        most_seed_age_seconds=inputs["most_seed_age_seconds"],
        evidence=inputs["rehearsed_on"],
    )


def _anchors(seen: Mapping[str, Any], stack: str) -> tuple[Anchor, ...]:
    known = seen.get(stack) or {}
    return (Anchor(n=int(known["n"]), digest=str(known["digest"])),) if known else ()


def _outputs(inputs: Values, outputs: Values, evidence: Evidence, note: str) -> Values:
    logs = [log for log in (evidence.own, evidence.rehearsals) if log.broken is None]
    seen = {log.stack: {"n": log.head.n, "digest": log.head.digest} for log in logs}
    return {
        "let_through": dict(inputs["services"]),
        "seen": {**(outputs.get("seen") or {}), **seen},
        "unshared": list(inputs.get("unshared") or ()),
        "note": note,
    }
