"""What the log says of a back-out: a service went back where all of its machines did, and to what."""

from __future__ import annotations

from typing import Any

import pytest

from model.change.digest import NOTHING
from model.change.gate import ServiceChange, ever_let_through, let_through
from model.change.kept import KeptChange
from model.change.taken_back import record_body, rolled_back, taken_back, with_gate
from model.evidence.chain import Log, Record

A, B, C = "a" * 64, "b" * 64, "c" * 64
PASSED = ServiceChange(service="web", before=A, after=B)


def log(*records: tuple[str, dict[str, Any]]) -> Log:
    made = (
        Record(n=n, kind=kind, at="2026-11-25T13:30:00Z", who="anna", stack="prod", before="", body=body)
        for n, (kind, body) in enumerate(records, start=1)
    )
    return Log(stack="prod", records=tuple(made))


OWN = log(("baseline", {"services": {"web": A}}), ("prod", {"changes": {PASSED.digest: PASSED.values()}}))


def state(*machines: str, **more: Any) -> dict[str, Any]:
    names = [f"{machine}:web" for machine in machines] + ["lb:cron"]
    kind = "understudy:index:Service"
    return {"deployment": {"resources": [{"urn": f"a::b::{kind}::{name}", "type": kind, **more} for name in names]}}


def kept(machine: str, *digests: str) -> list[tuple[str, KeptChange]]:
    return [
        (machine, KeptChange(service="web", directory=f"/c/{at}", state="kept", digest=digest))
        for at, digest in enumerate(digests)
    ]


@pytest.mark.parametrize(
    ("one", "two", "to"),
    [
        (kept("m1", A), kept("m2", A), A),
        (kept("m1", A), kept("m2", B, A), ""),
        (kept("m1", B), kept("m2", B), ""),
        ([], [], NOTHING),
        (kept("m1", ""), kept("m2", ""), ""),
    ],
    ids=["all", "one of two", "none", "to before us", "nobody knows"],
)
def test_a_service_goes_back_as_a_whole(one: list[Any], two: list[Any], to: str) -> None:
    back = [("m1", KeptChange(service="web", directory="/c/9", state="backed-out", digest=B))]
    found = taken_back(state("m1", "m2"), OWN, [*back, *one, *two], {"web"})
    assert found == ((ServiceChange(service="web", before=B, after=to),) if to else ())
    if found:
        after = log(*((each.kind, dict(each.body)) for each in OWN.records), ("back-out", record_body(found, {}, "x")))
        assert let_through(after) == {"web": to}
        assert {A, B} <= ever_let_through(after)["web"]


def test_what_was_there_before_us_is_what_the_baseline_has() -> None:
    found = taken_back(state("m1", inputs={"adopt": True}), OWN, [], {"web"})
    assert found == (ServiceChange(service="web", before=B, after=A),)


def test_without_a_baseline_there_is_nothing_to_say() -> None:
    assert taken_back(state("m1"), log(), [], {"web"}) == ()


def gated(*digests: str) -> dict[str, Any]:
    """Return a state whose gate has let B through, with a machine for each digest of the service there."""
    there = [state(f"m{at}", inputs={"digest": digest}) for at, digest in enumerate(digests)]
    services = [each["deployment"]["resources"][0] for each in there]
    kind = "understudy:index:Gate"
    gate = {"urn": f"a::b::{kind}::gate", "type": kind, "inputs": {"services": {"web": B, "cron": C}}}
    gate["outputs"] = {"let_through": {"web": B, "cron": C}, "note": ""}
    return {"deployment": {"resources": [gate, *services]}}


@pytest.mark.parametrize(
    ("digests", "own", "to"),
    [
        ((A, A), OWN, A),
        ((A, A), log(), A),
        ((A, C), OWN, ""),
        ((B, B), OWN, ""),
        ((), OWN, NOTHING),
    ],
    ids=["all", "a log without a baseline", "they had several", "none", "it was new"],
)
def test_a_rollout_that_was_taken_back_is_known_to_the_gate(digests: tuple[str, ...], own: Log, to: str) -> None:
    before = gated(*digests)
    found = rolled_back(before, own, {"web"})
    assert found == ((ServiceChange(service="web", before=B, after=to),) if to else ())
    after = with_gate(before, found)
    gate, *others = after["deployment"]["resources"]
    known = {"web": to or B, "cron": C} if to != NOTHING else {"cron": C}
    assert (gate["inputs"]["services"], gate["outputs"]) == (known, {"let_through": known, "note": ""})
    assert others == before["deployment"]["resources"][1:]
    if found and own is OWN:
        told = log(*((each.kind, dict(each.body)) for each in own.records), ("rollout", record_body(found, {}, "x")))
        assert let_through(told) == {"web": to}


def test_a_stack_without_a_gate_has_nothing_to_know() -> None:
    assert rolled_back(state("m1", inputs={"digest": A}), OWN, {"web"}) == ()
