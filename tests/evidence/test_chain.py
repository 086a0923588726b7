"""The log of evidence without a real key: every kind of damage is found, and named where it begins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import UnderstudyError
from model.evidence.armor import armored
from model.evidence.chain import Anchor, Log, Record, line, line_digest, next_record, read_log, signed_text

NOW = datetime(2026, 11, 25, 13, 30, tzinfo=UTC)


def signature(who: str, text: str, namespace: str = "understudy-evidence") -> str:
    """Return what stands for a signature: it has OpenSSH's form, and only the same signer and text give it."""
    made = hashlib.sha256(f"{who} {namespace} {text}".encode()).digest()
    parts = (b"key of " + who.encode(), namespace.encode(), b"", b"sha512", made)
    blob = b"SSHSIG\0\0\0\1" + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return armored(blob)


def verify(record: Record) -> str:
    if record.who not in ("anna", "ben"):
        return f"{record.who} is not among the allowed signers"
    return "" if record.signature == signature(record.who, signed_text(record)) else "its signature is of another text"


def signed(record: Record) -> Record:
    return replace(record, signature=signature(record.who, signed_text(record)))


def log_of(*bodies: object, stack: str = "stage") -> Log:
    log = Log(stack=stack)
    for number, body in enumerate(bodies):
        who = ("anna", "ben")[number % 2]
        now = NOW + timedelta(minutes=number)
        record = next_record(log, kind="word", who=who, body={"said": body}, now=now)
        log = replace(log, records=(*log.records, signed(record)))
    return log


def data_of(log: Log) -> bytes:
    return "".join(f"{line(record)}\n" for record in log.records).encode()


def read(data: bytes, **more: object) -> Log:
    return read_log(data, "stage", verify, **more)  # type: ignore[arg-type]


GOOD = log_of("one", {"two": [1, 2.5, None, True]}, 'dr\u00ed\U0001f600\n"\\', "four")
DATA = data_of(GOOD)


def test_a_good_log_is_read_back() -> None:
    assert read(DATA) == GOOD
    assert read(b"") == Log(stack="stage")
    assert read_log(DATA, "prod", verify).broken is not None


@given(place=st.integers(0, len(DATA) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_is_found(place: int, byte: int) -> None:
    damaged = DATA[:place] + bytes([byte]) + DATA[place + 1 :]
    found = read(damaged).broken
    if damaged == DATA:
        assert found is None
        return
    assert found is not None
    assert found.n == DATA[:place].count(b"\n") + 1


@given(place=st.integers(0, len(DATA) - 1), data=st.data())
def test_a_byte_more_or_less_is_found(place: int, data: st.DataObject) -> None:
    more = data.draw(st.binary(max_size=2))
    damaged = DATA[:place] + more + DATA[place + len(more) % 2 :]
    if damaged != DATA:
        assert read(damaged).broken is not None


@given(st.integers(1, len(DATA) - 1))
def test_a_log_that_was_cut_is_found_wherever_it_was_cut(length: int) -> None:
    """At a line's end only who has seen more can tell."""
    cut, head = DATA[:length], GOOD.head
    found = read(cut, anchors=[head]).broken
    assert found is not None
    assert found.n == cut.count(b"\n") + 1
    assert found.cut_off == (not cut.endswith(b"\n"))
    assert (read(cut).broken is None) == cut.endswith(b"\n")


@given(order=st.lists(st.integers(0, 3), max_size=6))
def test_lines_in_another_order_twice_or_missing_are_found(order: list[int]) -> None:
    lines = DATA.splitlines(keepends=True)
    found = read(b"".join(lines[index] for index in order), anchors=[GOOD.head]).broken
    assert (found is None) == (order == [0, 1, 2, 3])
    if found is not None:
        right = next((at for at, index in enumerate(order) if at != index), len(order))
        assert found.n == right + 1


def changed(number: int, **values: object) -> bytes:
    """Return the good log with one record changed, signed anew if it is not the signature that changes."""
    records = list(GOOD.records)
    record = replace(records[number - 1], **values)  # type: ignore[arg-type]
    records[number - 1] = record if "signature" in values else signed(record)
    return data_of(Log(stack="stage", records=tuple(records)))


TEXT = signed_text(GOOD.records[3])
CASES: list[tuple[str, Callable[[], bytes], int, str]] = [
    (
        "changed by whoever may not sign",
        lambda: changed(2, body={}, signature=GOOD.records[1].signature),
        2,
        "other te",
    ),
    ("changed, and signed anew", lambda: changed(2, body={}), 3, "does not follow record 2"),
    ("an unknown signer", lambda: changed(4, who="eve"), 4, "eve is not among"),
    ("a signer whose name is none", lambda: changed(4, who="a\0"), 4, "no name of a signer"),
    ("signed by another than it says", lambda: changed(4, signature=signature("anna", TEXT)), 4, "another text"),
    ("for another purpose", lambda: changed(4, signature=signature("ben", TEXT, "git")), 4, "something else: 'git'"),
    ("no signature", lambda: changed(4, signature=""), 4, "signature is none"),
    ("another kind", lambda: changed(4, kind="wish"), 4, "its kind is 'wish'"),
    ("of another stack", lambda: changed(4, stack="prod"), 4, "of the log of 'prod'"),
    ("made before the one before", lambda: changed(4, at="2026-11-25T13:00:00Z"), 4, "before the one before it"),
    ("at no time", lambda: changed(4, at="2026-11-31T13:00:00Z"), 4, "no time"),
    ("a number that is none", lambda: changed(4, n=True), 4, "another type"),
    ("not a number", lambda: DATA[:-1] + b" \n", 4, "not written as records are"),
    ("a line that is none", lambda: DATA + b"hello\n", 5, "cannot be read"),
    ("an empty line", lambda: DATA + b"\n", 5, "cannot be read"),
    ("deep", lambda: DATA + b"[" * 100_000 + b"\n", 5, "cannot be read"),
    ("another mapping", lambda: DATA + b"{}\n", 5, "it is no record"),
    ("two forks", lambda: DATA + data_of(log_of("x")), 5, "says that it is record 1"),
    ("ends of lines as Windows has them", lambda: DATA.replace(b"\n", b"\r\n"), 1, "not written as records are"),
]


@pytest.mark.parametrize(("damage", "n", "why"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_wrong_is_named_where_it_begins(damage: Callable[[], bytes], n: int, why: str) -> None:
    log = read(damage())
    assert log.broken is not None
    assert (log.broken.n, why in log.broken.why) == (n, True), log.broken
    assert log.records == GOOD.records[: n - 1] or n > 2


def test_a_log_that_was_written_anew_is_found_by_who_has_seen_the_other() -> None:
    forged = data_of(log_of("one", "2"))
    assert read(forged).broken is None
    found = read(forged, anchors=[Anchor(n=2, digest=line_digest(line(GOOD.records[1])))]).broken
    assert found is not None
    assert found.n == 2


def test_what_was_verified_once_is_not_verified_again_but_must_be_the_same() -> None:
    asked: list[int] = []

    def counting(record: Record) -> str:
        asked.append(record.n)
        return verify(record)

    seen = Anchor(n=3, digest=line_digest(line(GOOD.records[2])))
    assert read_log(DATA, "stage", counting, trusted=seen) == GOOD
    assert asked == [4]
    asked.clear()
    read_log(changed(2, body={}), "stage", counting, trusted=seen)
    assert asked == [1, 2]


def test_a_clock_that_is_behind() -> None:
    last = GOOD.records[-1]
    soon = next_record(GOOD, kind="word", who="anna", body={}, now=NOW)
    assert soon.at == last.at
    with pytest.raises(UnderstudyError, match="clock"):
        next_record(GOOD, kind="word", who="anna", body={}, now=NOW - timedelta(minutes=5))


def test_a_line_is_plain_json() -> None:
    values = json.loads(line(GOOD.records[2]))
    assert values["body"] == {"said": 'dr\u00ed\U0001f600\n"\\'}
    assert values["before"] == hashlib.sha256(line(GOOD.records[1]).encode()).hexdigest()
