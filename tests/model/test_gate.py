"""What the gate decides, and what is found to have gone round it: tables, and laws that hold for any history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.change.digest import NOTHING, change_digest
from model.change.gate import Evidence, ServiceChange, alarms, changes, decide, let_through, open_rounds
from model.change.planned import BOOT
from model.change.rules import GateRules
from model.change.went_round import GATE, SERVICE, record_body, went_round
from model.errors import UnderstudyError
from model.evidence.chain import Log, Record
from model.evidence.rehearsal import (
    Rehearsal,
    RehearsedChange,
    RehearsedSeed,
    RehearsedStep,
    rehearsal_body,
    rehearsal_from,
)

NOW = datetime(2026, 11, 25, 13, 30, tzinfo=UTC)
A, B, C = "a" * 64, "b" * 64, "c" * 64
CHANGE = ServiceChange(service="web", before=A, after=B)
DIGEST = CHANGE.digest
BASELINE = ("baseline", {"services": {"web": A}})


def log(stack: str, *records: tuple[str, Mapping[str, Any]], at: datetime = NOW) -> Log:
    """Return a log as if it had been verified."""
    made = (
        Record(n=n, kind=kind, at=f"{at:%Y-%m-%dT%H:%M:%SZ}", who="anna", stack=stack, before="", body=body)
        for n, (kind, body) in enumerate(records, start=1)
    )
    return Log(stack=stack, records=tuple(made))


def rehearsal(digest: str = DIGEST, **more: Any) -> tuple[str, dict[str, Any]]:
    change: dict[str, Any] = {"digest": digest, "service": "web", "machines": ("lb",), "check": "automatic"}
    change |= {key: more.pop(key) for key in ("check", "word") if key in more}
    age = more.pop("age", timedelta(days=1))
    taken = more.pop("taken", f"{NOW - age:%Y-%m-%dT%H:%M:%SZ}")
    usual: dict[str, Any] = {
        "changes": (RehearsedChange(**change),),
        "green": True,
        "steps": (RehearsedStep(name="apply", seconds=1.5, ok=True),),
        "seeds": (RehearsedSeed(store="shop", snapshot="1F", taken_at=taken),),
        "faithful": 0.95,
    }
    return "rehearsal", rehearsal_body(Rehearsal(**{**usual, **more}))


def evidence(stage: Sequence[tuple[str, Any]], own: Sequence[tuple[str, Any]] = (BASELINE,), **more: Any) -> Evidence:
    usual = {"own": log("prod", *own), "rehearsals": log("stage", *stage), "rules": GateRules(), "now": NOW}
    return Evidence(**{**usual, **more})


WORD = ("word", {"change": DIGEST, "why": "looked at it"})
EMERGENCY = ("emergency", {"change": DIGEST, "why": "the site is down"})
USED = ("prod", {"changes": {DIGEST: {**CHANGE.values(), "emergency": 2}}})
PASSED = ("prod", {"changes": {DIGEST: {**CHANGE.values(), "rehearsal": 1}}})

CASES: list[tuple[str, list[Any], list[Any], str]] = [
    ("nothing", [], [], "has no rehearsal of it"),
    ("rehearsed", [rehearsal()], [], ""),
    ("the way back of what was rehearsed", [rehearsal(CHANGE.back)], [], ""),
    ("another change", [rehearsal(change_digest(A, C))], [], "has no rehearsal of it"),
    ("red", [rehearsal(green=False)], [], "record 1 of evidence/stage.jsonl does not count: it did not go well"),
    ("red after green", [rehearsal(), rehearsal(green=False)], [], "record 2"),
    ("green after red", [rehearsal(green=False), rehearsal()], [], ""),
    ("a worse stage after a good one", [rehearsal(), rehearsal(faithful=0.1)], [], ""),
    ("not faithful enough", [rehearsal(faithful=0.9499)], [], "faithful to 95.0%, wanted 95.0%"),
    ("no figure", [rehearsal(faithful=float("nan"))], [], "faithful to"),
    ("just old enough", [rehearsal(age=timedelta(days=7))], [], ""),
    ("too old", [rehearsal(age=timedelta(days=7, seconds=1))], [], "shop was 7.0 days old, at most 7 days"),
    ("from tomorrow", [rehearsal(age=timedelta(days=-1))], [], "of unknown age"),
    ("nobody knows how old", [rehearsal(taken="")], [], "of unknown age"),
    ("a stage without stores", [rehearsal(seeds=())], [], ""),
    ("nobody has checked", [rehearsal(check="none")], [], f"./run understudy change word {DIGEST} -s stage"),
    ("a check nobody knows", [rehearsal(check="sure")], [], "change word"),
    ("somebody's word afterwards", [rehearsal(check="none"), WORD], [], ""),
    ("a word before that the rehearsal names", [WORD, rehearsal(check="none", word=1)], [], ""),
    ("a word before that it does not name", [WORD, rehearsal(check="none")], [], "change word"),
    ("a word that is none", [rehearsal(), rehearsal(check="none", word=1)], [], ""),
    ("a word alone", [WORD], [], "has no rehearsal of it"),
    ("another body", [("rehearsal", {"changes": {DIGEST: {}}})], [], "another body"),
    ("an emergency", [], [EMERGENCY], ""),
    ("an emergency that was used", [], [EMERGENCY, USED], "has no rehearsal of it"),
    ("an emergency and another after it", [], [EMERGENCY, USED, EMERGENCY], ""),
    ("an emergency for another", [], [("emergency", {"change": C, "why": ""})], "has no rehearsal of it"),
]


@pytest.mark.parametrize(("stage", "own", "why"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_may_pass(stage: list[Any], own: list[Any], why: str) -> None:
    passages, refusals = decide([CHANGE], evidence(stage, [BASELINE, *own]))
    assert (len(passages), len(refusals)) == ((0, 1) if why else (1, 0))
    if why:
        assert why in refusals[0].why


@pytest.mark.parametrize(
    ("minutes", "passes"), [(-6, False), (-5, True), (0, True), (59, True), (60, True), (61, False)]
)
def test_an_emergency_is_good_for_an_hour(minutes: int, passes: bool) -> None:
    now = NOW + timedelta(minutes=minutes)
    assert bool(decide([CHANGE], evidence([], [BASELINE, EMERGENCY], now=now))[0]) == passes


def test_what_no_stage_has_passes_by_a_word_alone() -> None:
    unshared = frozenset({"web"})
    assert decide([CHANGE], evidence([WORD], unshared=unshared))[0]
    (refusal,) = decide([CHANGE], evidence([], unshared=unshared))[1]
    assert "it cannot be rehearsed" in refusal.why
    assert f"change word {DIGEST} -s stage" in refusal.why


def test_a_machine_that_no_stage_can_try_passes_by_a_word() -> None:
    grown = ServiceChange(service="machine db1", before=A, after=B)
    (refusal,) = decide([grown], evidence([]))[1]
    assert "has no rehearsal of it; where a stage cannot try it, your word" in refusal.why
    assert f"change word {DIGEST} -s stage" in refusal.why
    assert decide([grown], evidence([rehearsal()]))[0]
    assert decide([grown], evidence([WORD]))[0]
    assert decide([grown], evidence([WORD, rehearsal(green=False)]))[1], "it was tried, and is red"


@given(st.data())
def test_whatever_happened_the_log_remembers_what_was_let_through_last(data: st.DataObject) -> None:
    # A service's name is a part of what its digest covers: no two services have one digest.
    one = st.sampled_from(["web", "app", "db"]).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from([NOTHING, *(name[0] * 63 + last for last in "123")]))
    )
    wishes = st.lists(one, max_size=3).map(dict)
    now = {name: digest for name, digest in data.draw(wishes).items() if digest != NOTHING}
    records: list[tuple[str, Any]] = [("baseline", {"services": dict(now)})]
    for wanted in data.draw(st.lists(wishes, max_size=5)):
        passing = changes(now, {**now, **wanted})
        now = {**now, **wanted}
        records.append(("prod", {"changes": {each.digest: each.values() for each in passing}}))
        records.append(("baseline", {"services": {"web": C}}))  # a second one is none
    own = log("prod", *records)
    present = {name: digest for name, digest in now.items() if digest != NOTHING}
    assert changes(let_through(own) or {}, present) == ()
    assert went_round(state(present, present), own, settled=lambda: True) == ()


@given(st.permutations([rehearsal(), rehearsal(green=False), rehearsal(faithful=0.1), WORD, rehearsal(check="none")]))
def test_nothing_passes_after_a_red_one_without_a_green_one_after_it(stage: list[Any]) -> None:
    red = next(at for at, (kind, body) in enumerate(stage) if kind == "rehearsal" and not body["green"])
    good = [at for at, each in enumerate(stage) if each == rehearsal()]
    spoken = [
        at
        for at, each in enumerate(stage)
        if each == rehearsal(check="none") and any(later == WORD for later in stage[at:])
    ]
    passes = bool(decide([CHANGE], evidence(stage))[0])
    assert passes == any(at > red for at in (*good, *spoken))


def test_alarms_until_a_rehearsal_follows() -> None:
    own = [BASELINE, EMERGENCY, USED]
    assert "EMERGENCY: web changes" in alarms(evidence([], own))[0]
    earlier = log("stage", rehearsal(), at=NOW - timedelta(hours=1))
    assert alarms(evidence([], own, rehearsals=earlier))
    assert alarms(evidence([rehearsal(green=False)], own))
    assert alarms(evidence([rehearsal()], own)) == ()
    assert alarms(evidence([], [BASELINE, EMERGENCY], now=NOW + timedelta(hours=2))) == ()


def test_a_rehearsal_is_read_back() -> None:
    made = Rehearsal(
        changes=(RehearsedChange(digest=DIGEST, service="web", machines=("a", "b"), check="none", word=3),),
        green=False,
        steps=(RehearsedStep(name="apply", seconds=2.0, ok=False),),
        seeds=(RehearsedSeed(store="shop", snapshot="1F", taken_at="2026-11-25T00:00:00Z"),),
        faithful=0.97,
        differences=("lb: /etc/a",),
        mirror={"compared": 12},
    )
    assert rehearsal_from(rehearsal_body(made)) == made
    with pytest.raises(UnderstudyError, match="another body"):
        rehearsal_from({**rehearsal_body(made), "mirror": {}})


# -- What went round ---------------------------------------------------------------------------------------------------


def state(
    services: Mapping[str, str],
    gate: Mapping[str, str] | None,
    *more: tuple[str, str, str],
    boots: Sequence[str] = (),
) -> dict[str, Any]:
    """Return a state with each service on one machine, and these: machine, service, digest; and starts of machines."""
    every = [("lb", name, digest) for name, digest in services.items()] + list(more)
    resources: list[dict[str, Any]] = [
        {
            "urn": f"urn:pulumi:prod::understudy::{SERVICE}::{machine}:{name}",
            "type": SERVICE,
            "inputs": {"service": name, "digest": digest},
        }
        for machine, name, digest in every
    ]
    resources += [{"urn": f"urn:pulumi:prod::understudy::{BOOT}::{name}", "type": BOOT} for name in boots]
    if gate is not None:
        resources.append({"urn": f"urn::{GATE}::gate", "type": GATE, "outputs": {"let_through": dict(gate)}})
    return {"deployment": {"resources": resources}}


ROUND: list[tuple[str, dict[str, Any], list[str]]] = [
    ("all is well", state({"web": A}, {"web": A}), []),
    ("a target", state({"web": B}, {"web": A}), ["web changes"]),
    ("a target on one of two", state({"web": A}, {"web": A}, ("l2", "web", B)), ["web changes"]),
    ("a new service by a target", state({"web": A, "x": C}, {"web": A}), ["x is new"]),
    ("an edited gate", state({"web": A}, {"web": C}), ["web changes"]),
    ("an edited gate and a target", state({"web": B}, {"web": B}), ["web changes"]),
    ("a target that took it away", state({}, {"web": A}), ["web is taken away"]),
    ("destroyed", state({}, None), ["web is taken away"]),
    ("the gate alone is gone", state({"web": A}, None), []),
]


@pytest.mark.parametrize(("kept", "words"), [case[1:] for case in ROUND], ids=[case[0] for case in ROUND])
def test_what_went_round(kept: dict[str, Any], words: list[str]) -> None:
    own = log("prod", BASELINE)
    found = went_round(kept, own, settled=lambda: True)
    assert [" ".join(each.change.words.split(" ")[: len(words[0].split())]) for each in found] == words
    body = record_body(found, own)
    if not words:
        assert body is None
        return
    assert body is not None
    after = log("prod", BASELINE, ("went-round", body))
    assert record_body(found, after) is None, "it is recorded once"
    assert [change.service for change, _ in open_rounds(after)] == [each.change.service for each in found]
    (alarm,) = alarms(evidence([], own=[BASELINE, ("went-round", body)]))
    assert alarm.startswith("WENT ROUND THE GATE: ")
    # It ends by a rehearsal, by the gate, or when it is there no more.
    digest = found[0].change.digest
    assert alarms(evidence([rehearsal(digest)], own=[BASELINE, ("went-round", body)])) == ()
    passed = ("prod", {"changes": {digest: found[0].change.values()}})
    assert not open_rounds(log("prod", BASELINE, ("went-round", body), passed))
    over = record_body((), after)
    assert over is not None
    assert not open_rounds(log("prod", BASELINE, ("went-round", body), ("went-round", over)))


def test_a_machine_that_is_gone_went_round() -> None:
    own = log("prod", ("baseline", {"services": {"machine lb": A}}))
    assert went_round(state({}, {"machine lb": A}, boots=("lb",)), own, settled=lambda: True) == ()
    (found,) = went_round(state({}, {"machine lb": A}), own, settled=lambda: True)
    assert found.change.words.startswith("machine lb is taken away")


def test_what_is_not_there_yet_did_not_go_round() -> None:
    assert went_round(state({}, {"web": A}), log("prod", BASELINE), settled=lambda: False) == ()
    assert went_round(state({"web": B}, {"web": B}), log("prod"), settled=lambda: True) == ()
    rolled = state({"web": B}, {"web": B}, ("l2", "web", A))  # the second machine failed, and is as it was
    assert went_round(rolled, log("prod", BASELINE, PASSED), settled=lambda: False) == ()
