"""What the gate decides: which changes of services prod may have, and what must not be overlooked. Pure.

A change is from the digest of a service that the gate let through last to the one that is wanted. It may pass after a
green rehearsal on a good enough stage, or once by an emergency record. Its way back passes as well: the same rehearsal
has shown it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model.change.digest import MACHINE, NOTHING, change_digest
from model.change.rules import DAY_SECONDS, EMERGENCY_SECONDS, GateRules
from model.errors import UnderstudyError
from model.evidence.chain import CLOCK_SECONDS, Log, Record, file_name
from model.evidence.rehearsal import AUTOMATIC, Rehearsal, rehearsal_from

Digests = Mapping[str, str]
"""The digest of each service, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChange:
    """One service, from what it was to what it is to be; `NOTHING` where it was not there, or is taken away."""

    service: str
    before: str
    after: str

    @property
    def digest(self) -> str:
        """Return the change's own digest."""
        return change_digest(self.before, self.after)

    @property
    def back(self) -> str:
        """Return the digest of the way back."""
        return change_digest(self.after, self.before)

    def values(self) -> dict[str, Any]:
        """Return it as records have it."""
        return {"service": self.service, "from": self.before, "to": self.after}

    @property
    def words(self) -> str:
        """Return it in words."""
        if self.before == NOTHING:
            return f"{self.service} is new ({self.after[:12]})"
        if self.after == NOTHING:
            return f"{self.service} is taken away ({self.before[:12]})"
        return f"{self.service} changes ({self.before[:12]} -> {self.after[:12]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A change that may pass, because of one record: of the rehearsals, or an emergency in prod's own log."""

    change: ServiceChange
    record: Record

    def values(self) -> dict[str, Any]:
        """Return it as the record of prod has it."""
        return {**self.change.values(), self.record.kind: self.record.n}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A change that may not pass."""

    change: ServiceChange
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that the gate looks at.

    Args:
        own: the log of the gate's own stack.
        rehearsals: the log of the stack on which changes are rehearsed.
        unshared: services that cannot be rehearsed: for these a named person's word has to do.
    """

    own: Log
    rehearsals: Log
    rules: GateRules
    now: datetime
    unshared: frozenset[str] = frozenset()


def let_through(own: Log) -> dict[str, str] | None:
    """Return what the log says was let through last, None where it has no baseline yet. Only the first one counts.

    What was taken back as a whole counts as if the older one had been let through last.
    """
    known: dict[str, str] | None = None
    for record in own.records:
        if record.kind == "baseline" and known is None:
            known = {str(name): str(digest) for name, digest in (record.body.get("services") or {}).items()}
        for change in _changes_of(record) if record.kind in ("prod", "back-out", "rollout") else ():
            known = {**(known or {}), change.service: change.after}
    return known


def has_become_mirror(stack: str, why: str) -> UnderstudyError:
    """Return the error for a stack with a gate whose file says `mirror` now: that would open the gate for good."""
    return UnderstudyError(
        where=f"Pulumi.{stack}.yaml: understudy:mirror",
        found=f"a stack that has a gate: {why}",
        wanted="a stack that mirrors nothing, as it was",
        todo="Nothing was touched. A mirror is a stack of its own, with another name.",
    )


def adopts(own: Log, service: str) -> bool:
    """Return whether a service was on machines that were there before us, and only has to be taken for what it is.

    It was, where it is in the baseline, or where there is none yet. A service that came later was let through.
    """
    baseline = next((record.body.get("services") or {} for record in own.records if record.kind == "baseline"), None)
    return baseline is None or service in baseline


def unused_emergency(own: Log, now: datetime) -> Record | None:
    """Return the record for which the gate stands open for an emergency, None where it does not."""
    used = {number for number, _ in _used_emergencies(own)}
    records = (each for each in reversed(own.records) if each.kind == "emergency" and each.n not in used)
    return next((each for each in records if _fresh(each, now)), None)


def ever_let_through(own: Log) -> dict[str, frozenset[str]]:
    """Return every digest of each service that was ever let through: a rollout that stopped leaves older ones."""
    found: dict[str, frozenset[str]] = {}
    for length in range(len(own.records) + 1):
        for name, digest in (let_through(Log(stack=own.stack, records=own.records[:length])) or {}).items():
            found[name] = found.get(name, frozenset()) | {digest}
    return found


def changes(before: Digests, after: Digests) -> tuple[ServiceChange, ...]:
    """Return what changes, by the services' names.

    >>> [change.words for change in changes({"a": "1" * 64}, {"a": "2" * 64})]
    ['a changes (111111111111 -> 222222222222)']
    """
    pairs = ((name, before.get(name, NOTHING), after.get(name, NOTHING)) for name in sorted({*before, *after}))
    return tuple(ServiceChange(service=name, before=old, after=new) for name, old, new in pairs if old != new)


def decide(wanted: Sequence[ServiceChange], evidence: Evidence) -> tuple[tuple[Passage, ...], tuple[Refusal, ...]]:
    """Return which changes may pass, and which may not."""
    passages, refusals = [], []
    for change in wanted:
        record, why = _passing(change, evidence)
        if record is None:
            refusals.append(Refusal(change=change, why=why))
        else:
            passages.append(Passage(change=change, record=record))
    return tuple(passages), tuple(refusals)


def refusal_text(refusals: Sequence[Refusal], evidence: Evidence) -> str:
    """Return what the gate says where it refuses: what, why, and the commands to type."""
    stack, stage = evidence.own.stack, evidence.rehearsals.stack
    lines = ["this may not pass, and nothing is touched:"]
    for refusal in refusals:
        lines += [f"  {refusal.change.words}: {refusal.why}", f"    its digest: {refusal.change.digest}"]
    if any(refusal.change.service not in evidence.unshared for refusal in refusals):
        lines.append(f"Rehearse it: ./run understudy change rehearse -s {stage}")
    lines += [
        f'If it cannot wait: ./run understudy change emergency {refusal.change.digest} -s {stack} --why "..."'
        for refusal in refusals
    ]
    return "\n".join(lines)


def alarms(evidence: Evidence) -> tuple[str, ...]:
    """Return what must not be overlooked until a rehearsal follows: emergencies, and what went round the gate."""
    found = [
        f"{file_name(log.stack)} is broken at record {log.broken.n}: {log.broken.why}" for log in _broken(evidence)
    ]
    used = dict(_used_emergencies(evidence.own))
    todo = f"rehearse it now: ./run understudy change rehearse -s {evidence.rehearsals.stack}"
    for record in evidence.own.records:
        where = f"record {record.n} of {file_name(record.stack)}, by {record.who}: {record.body.get('why', '')}"
        if record.kind == "emergency" and not _rehearsed_since(str(record.body.get("change")), record, evidence):
            if record.n in used:
                found.append(f"EMERGENCY: {used[record.n].words} without a rehearsal ({where}); {todo}")
            elif _fresh(record, evidence.now):
                found.append(f"EMERGENCY: the gate is open once for {record.body.get('change')} ({where})")
    for change, record in open_rounds(evidence.own):
        if not _rehearsed_since(change.digest, record, evidence):
            where = f"record {record.n} of {file_name(record.stack)}: {record.body.get('why', '')}"
            found.append(f"WENT ROUND THE GATE: {change.words} ({where}); {todo}, or put it back")
    return tuple(found)


def open_rounds(own: Log) -> tuple[tuple[ServiceChange, Record], ...]:
    """Return what went round the gate, each with its record, until it is there no more, or passes the gate."""
    found: dict[str, tuple[ServiceChange, Record]] = {}
    for record in own.records:
        changed = _changes_of(record)
        if record.kind == "went-round":
            found |= {change.digest: (change, record) for change in changed}
            gone = frozenset(record.body.get("over") or ())
            found = {digest: each for digest, each in found.items() if digest not in gone}
        elif record.kind == "prod":
            passed = {change.service for change in changed}
            found = {digest: each for digest, each in found.items() if each[0].service not in passed}
    return tuple(found.values())


def _broken(evidence: Evidence) -> Iterator[Any]:
    return (log for log in (evidence.own, evidence.rehearsals) if log.broken is not None)


def _passing(change: ServiceChange, evidence: Evidence) -> tuple[Record | None, str]:
    """Return the record for which a change may pass, or None and why there is none."""
    if broken := next(_broken(evidence), None):
        return None, f"{file_name(broken.stack)} is broken at record {broken.broken.n}: {broken.broken.why}"
    record, why = (_told if change.service in evidence.unshared else _rehearsed)(change.digest, evidence)
    if record is None:
        record, _ = _rehearsed(change.back, evidence)
    tried = any(change.digest in (each.body.get("changes") or {}) for each in evidence.rehearsals.records)
    if record is None and change.service.startswith(f"{MACHINE} ") and not tried:
        record, _ = _told(change.digest, evidence)  # a smaller stage, or a disk with data, cannot be rehearsed
        why += f"; where a stage cannot try it, your word: {_word_command(change.digest, evidence.rehearsals)}"
    used = {number for number, _ in _used_emergencies(evidence.own)}
    emergencies = (
        each
        for each in evidence.own.records
        if each.kind == "emergency" and each.body.get("change") == change.digest and each.n not in used
    )
    return record or next((each for each in emergencies if _fresh(each, evidence.now)), None), why


def _told(digest: str, evidence: Evidence) -> tuple[Record | None, str]:
    """Return somebody's word for a change that cannot be rehearsed, or None and what to do."""
    log = evidence.rehearsals
    told = (each for each in reversed(log.records) if each.kind == "word" and each.body.get("change") == digest)
    why = f"it cannot be rehearsed, and nobody has said that it is good: {_word_command(digest, log)}"
    return next(told, None), why


def _word_command(digest: str, log: Log) -> str:
    return f'./run understudy change word {digest} -s {log.stack} --why "..."'


def _fresh(emergency: Record, now: datetime) -> bool:
    return -CLOCK_SECONDS <= (now - emergency.moment).total_seconds() <= EMERGENCY_SECONDS


def _rehearsed(digest: str, evidence: Evidence, since: datetime | None = None) -> tuple[Record | None, str]:
    """Return the newest rehearsal that counts for a change, or None and why. One that is red undoes all before."""
    where, why = file_name(evidence.rehearsals.stack), ""
    for record in reversed(evidence.rehearsals.records):
        if record.kind != "rehearsal" or digest not in (record.body.get("changes") or {}):
            continue
        if since is not None and record.moment < since:
            break
        found = _not_counting(record, digest, evidence)
        if not found:
            return record, ""
        why = why or f"record {record.n} of {where} does not count: {found}"
        if record.body.get("green") is not True:
            break
    return None, why or f"{where} has no rehearsal of it"


def _not_counting(record: Record, digest: str, evidence: Evidence) -> str:
    """Return why a rehearsal is not enough; nothing where it is."""
    try:
        rehearsal = rehearsal_from(record.body)
    except UnderstudyError as error:
        return str(error)
    rules = evidence.rules
    if not rehearsal.green:
        return "it did not go well"
    if not rehearsal.faithful >= rules.least_faithful:
        return f"the stage was faithful to {rehearsal.faithful:.1%}, wanted {rules.least_faithful:.1%}"
    for seed in rehearsal.seeds:
        age = seed.age_seconds(record.moment)
        if age is None or age < 0 or age > rules.most_seed_age_seconds:
            old = "of unknown age" if age is None or age < 0 else f"{age / DAY_SECONDS:.1f} days old"
            most = rules.most_seed_age_seconds / DAY_SECONDS
            return f"the data of {seed.store} was {old}, at most {most:.3g} days are wanted"
    return _unchecked(record, digest, rehearsal, evidence.rehearsals)


def _unchecked(record: Record, digest: str, rehearsal: Rehearsal, log: Log) -> str:
    """Return why nobody has checked a change; nothing where a check of the service, or somebody's word, has."""
    change = rehearsal.change(digest)
    if change is not None and change.check == AUTOMATIC:
        return ""
    told = [each.n for each in log.records if each.kind == "word" and each.body.get("change") == digest]
    if change is not None and (change.word in told or any(n > record.n for n in told)):
        return ""
    return (
        "it has no automatic check, and nobody has said that it is good: "
        f"look at the stage, then {_word_command(digest, log)}"
    )


def _rehearsed_since(digest: str, record: Record, evidence: Evidence) -> bool:
    return _rehearsed(digest, evidence, since=record.moment)[0] is not None


def _used_emergencies(own: Log) -> Iterator[tuple[int, ServiceChange]]:
    for record in own.records:
        if record.kind != "prod":
            continue
        for change in _changes_of(record):
            number = record.body["changes"][change.digest].get("emergency")
            if number is not None:
                yield number, change


def _changes_of(record: Record) -> tuple[ServiceChange, ...]:
    """Return the changes that a record of prod, of a back-out, or of what went round, tells of."""
    told = record.body.get("changes")
    found = (
        ServiceChange(service=str(each["service"]), before=str(each["from"]), after=str(each["to"]))
        for each in (told.values() if isinstance(told, Mapping) else ())
        if isinstance(each, Mapping) and {"service", "from", "to"} <= set(each)
    )
    return tuple(change for change in found if isinstance(told, Mapping) and change.digest in told)
