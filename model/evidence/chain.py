"""The log of evidence: one signed record a line, each holding the digest of the line before it.

What was changed, removed, put elsewhere or added in between is found. That records are missing at the end cannot be
seen in the log alone: whoever remembers a later record (Git, the gate) gives it as an `Anchor`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from model.errors import UnderstudyError
from model.evidence.armor import namespace_of

NAMESPACE = "understudy-evidence"
"""What a signature is for: one made for anything else (Git, a file) is none here."""
NOTHING_BEFORE = "0" * 64
KINDS = ("baseline", "rehearsal", "word", "emergency", "prod", "went-round", "rollout", "back-out")

CLOCK_SECONDS = 300
"""By so much two signers' clocks may differ."""
WHO = re.compile(r"[!-~]{1,200}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEYS = frozenset({"n", "kind", "at", "who", "stack", "before", "body", "signature"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record.

    Args:
        n: its number, from 1.
        kind: one of `KINDS`.
        at: when it was made, in UTC, such as ``2026-11-25T13:30:00Z``; never before the one before it.
        who: the name under which the signer stands in the list of allowed signers.
        stack: whose log it is in.
        before: the digest of the line before it; `NOTHING_BEFORE` for the first.
        body: what it says, as JSON has it.
        signature: OpenSSH's, over `signed_text`.
    """

    n: int
    kind: str
    at: str
    who: str
    stack: str
    before: str
    body: Mapping[str, Any]
    signature: str = ""

    @property
    def moment(self) -> datetime:
        """Return when it was made."""
        return moment(self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A record that somebody has seen: the log has one of this number and this digest, or is not the one it was."""

    n: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The first record that is not right.

    Args:
        n: which it is, from 1.
        why: what is wrong with it.
        cut_off: whether it is a last line that was never written whole.
    """

    n: int
    why: str
    cut_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A stack's log, as far as it holds.

    Args:
        stack: whose it is.
        records: those before the first that is not right.
        broken: that one; None where all are right.
    """

    stack: str
    records: tuple[Record, ...] = ()
    broken: Broken | None = None

    @property
    def head(self) -> Anchor:
        """Return what the next record follows."""
        if not self.records:
            return Anchor(n=0, digest=NOTHING_BEFORE)
        return Anchor(n=self.records[-1].n, digest=line_digest(line(self.records[-1])))


Verifier = Callable[[Record], str]
"""Returns what is wrong with a record's signature; nothing where it is its signer's, who is allowed to sign."""


def file_name(stack: str) -> str:
    """Return where a stack's log is, within the project.

    >>> file_name("stage")
    'evidence/stage.jsonl'
    """
    return f"evidence/{stack}.jsonl"


def moment(text: str) -> datetime:
    """Return the moment that a text such as ``2026-11-25T13:30:00Z`` means.

    Raises:
        ValueError: it is no such text.
    """
    found = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    if in_utc(found) != text:
        raise ValueError(text)
    return found


def in_utc(when: datetime) -> str:
    """Return a moment as records have it.

    >>> in_utc(datetime(2026, 11, 25, 13, 30, tzinfo=UTC))
    '2026-11-25T13:30:00Z'
    """
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def signed_text(record: Record) -> str:
    """Return what a record's signature is over: all its keys but that, in the one way that there is to write them.

    Raises:
        ValueError: its body is not what JSON can hold.
    """
    return _canonical({key: value for key, value in _values(record).items() if key != "signature"})


def line(record: Record) -> str:
    """Return a record as its line, without the line's end."""
    return _canonical(_values(record))


def line_digest(text: str) -> str:
    """Return the digest of a line, without its end."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def next_record(log: Log, *, kind: str, who: str, body: Mapping[str, Any], now: datetime) -> Record:
    """Return the record that would follow, not signed yet.

    Raises:
        UnderstudyError: the clock is behind the last record's.
    """
    at = in_utc(now)
    if log.records and at < log.records[-1].at:
        if (log.records[-1].moment - now).total_seconds() > CLOCK_SECONDS:
            raise UnderstudyError(
                where=file_name(log.stack),
                found=f"record {log.records[-1].n} was made at {log.records[-1].at}, and it is {at} by this clock",
                wanted="a clock that is not behind",
                todo="Set this computer's clock; if it is right, whoever signed that record had a wrong one.",
            )
        at = log.records[-1].at
    head = log.head
    return Record(n=head.n + 1, kind=kind, at=at, who=who, stack=log.stack, before=head.digest, body=body)


def read_log(
    data: bytes, stack: str, verify: Verifier, *, anchors: Iterable[Anchor] = (), trusted: Anchor | None = None
) -> Log:
    """Return what a log holds, and the first record that is not right.

    Args:
        data: the file's bytes; none where there is no file yet.
        stack: whose log it is.
        verify: tells whether a signature is good.
        anchors: records that must be in it.
        trusted: the last record whose signatures, and those before it, whoever asks has verified already.
    """
    log, rest = _chained(data, stack)
    digests = [NOTHING_BEFORE, *(line_digest(line(record)) for record in log.records)]
    known = trusted.n if trusted and digests[trusted.n : trusted.n + 1] == [trusted.digest] else 0
    for record in log.records[known:]:
        if why := verify(record):
            return _broken_at(log, record.n, why)
    missing = False
    for anchor in sorted(anchors, key=lambda anchor: anchor.n):
        if anchor.n < len(digests) and digests[anchor.n] != anchor.digest:
            return _broken_at(log, anchor.n, "it is not the one that was there before: the log was written anew")
        missing |= anchor.n >= len(digests)
    if log.broken is None and rest:
        return replace(
            log, broken=Broken(n=len(digests), why="it was never written whole: it is cut off", cut_off=True)
        )
    if log.broken is None and missing:
        return replace(log, broken=Broken(n=len(digests), why="it was there before, and is missing"))
    return log


def _chained(data: bytes, stack: str) -> tuple[Log, bytes]:
    """Return the log as far as one record follows the other, and what stands after the last line's end."""
    *whole, rest = data.split(b"\n")
    log = Log(stack=stack)
    for text in whole:
        found = _read(text, log)
        if isinstance(found, str):
            return replace(log, broken=Broken(n=len(log.records) + 1, why=found)), b""
        log = replace(log, records=(*log.records, found))
    return log, rest


def _broken_at(log: Log, n: int, why: str) -> Log:
    return Log(stack=log.stack, records=log.records[: n - 1], broken=Broken(n=n, why=why))


def _read(text: bytes, log: Log) -> Record | str:
    """Return the record of a line, or what is wrong with it where it stands."""
    try:
        values = json.loads(text.decode("ascii"))
        if not isinstance(values, dict) or set(values) != _KEYS:
            return f"it is no record: a record has {', '.join(sorted(_KEYS))}"
        if _canonical(values).encode("ascii") != text:
            return "it is not written as records are: something in it was changed"
    except (ValueError, RecursionError):
        return "it cannot be read: something in it was changed"
    record = Record(**values)
    return _wrong(record, log) or record


def _wrong(record: Record, log: Log) -> str:
    """Return what is wrong with a record where it stands; its signature is looked at later."""
    typed = (record.kind, record.at, record.who, record.stack, record.before, record.signature)
    if not all(isinstance(value, str) for value in typed) or type(record.n) is not int:
        return "it is no record: a value has another type"
    if not isinstance(record.body, dict) or record.kind not in KINDS or not _DIGEST.fullmatch(record.before):
        return f"it is no record: its kind is {record.kind!r:.40}, or its body or the digest before it is none"
    head = log.head
    if not WHO.fullmatch(record.who):
        return f"it is signed by {record.who!r:.60}, which is no name of a signer"
    if record.n != head.n + 1:
        return f"it says that it is record {record.n}: one was removed, added, or put elsewhere"
    if record.before != head.digest:
        return f"it does not follow record {head.n} as that stands there: one of them was changed"
    if record.stack != log.stack:
        return f"it is of the log of {record.stack!r:.60}"
    try:
        if log.records and record.moment < log.records[-1].moment:
            return "it was made before the one before it"
        record.moment  # noqa: B018  # raises
    except ValueError:
        return f"it was made at {record.at!r:.60}, which is no time"
    namespace = namespace_of(record.signature)
    if namespace is None:
        return "its signature is none: something in it was changed"
    return "" if namespace == NAMESPACE else f"its signature was made for something else: {namespace!r:.60}"


def _values(record: Record) -> dict[str, Any]:
    return {key: getattr(record, key) for key in _KEYS}


def _canonical(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
