"""How long a way back takes: what the newest green rehearsal of that very change measured, or nobody knows."""

from __future__ import annotations

import pytest

from model.evidence.chain import Log, Record
from model.evidence.rehearsal import (
    BACK_OUT,
    Rehearsal,
    RehearsedChange,
    RehearsedStep,
    back_out_seconds,
    rehearsal_body,
)


def record(n: int, digest: str, seconds: float, *, green: bool = True, kind: str = "rehearsal") -> Record:
    rehearsal = Rehearsal(
        changes=(RehearsedChange(digest=digest, service="app", machines=("app1",)),),
        green=green,
        steps=(
            RehearsedStep(name="apply and check", seconds=9.0, ok=True),
            RehearsedStep(name=BACK_OUT, seconds=seconds, ok=green),
        ),
        seeds=(),
        faithful=1.0,
    )
    body = rehearsal_body(rehearsal)
    return Record(n=n, kind=kind, at="2026-11-25T13:30:00Z", who="anna", stack="stage", before="", body=body)


@pytest.mark.parametrize(
    ("records", "seconds"),
    [
        ((), None),
        ((record(1, "a", 4.0),), 4.0),
        ((record(1, "a", 4.0), record(2, "a", 6.0), record(3, "b", 1.0)), 6.0),
        ((record(1, "a", 4.0), record(2, "a", 1.0, green=False)), 4.0),
        ((record(1, "b", 4.0), record(2, "a", 1.0, kind="word")), None),
    ],
)
def test_it_is_the_newest_green_one_of_that_change(records: tuple[Record, ...], seconds: float | None) -> None:
    assert back_out_seconds(Log(stack="stage", records=records), "a") == seconds
