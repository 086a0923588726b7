"""What a rehearsal tries: the change that prod's gate asks about, on a stage that begins where prod stands."""

from __future__ import annotations

from typing import Any

import pytest

from model.change.digest import NOTHING, change_digest
from model.change.kept import KeptChange
from model.change.planned import planned
from model.change.rehearsing import (
    ahead,
    changes,
    refuse_another_text,
    refuse_other_start,
    service_digests,
    wanted,
    with_again,
)
from model.errors import UnderstudyError

A, B, C = "a" * 64, "b" * 64, "c" * 64
URN = "urn:pulumi:stage::understudy::understudy:components:Service$understudy:index:Service::"
CHECKS = [{"name": "x", "command": ["true"]}]


def step(name: str, op: str, before: str, after: str) -> dict[str, Any]:
    """Return a step of a preview for a service on a machine."""

    def state(digest: str) -> dict[str, Any] | None:
        inputs = {"service": name.partition(":")[2], "digest": digest, "checks": CHECKS}
        return {"type": "understudy:index:Service", "custom": True, "inputs": inputs} if digest else None

    return {"op": op, "urn": f"{URN}{name}", "oldState": state(before), "newState": state(after)}


def preview(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"steps": [*steps, {"op": "update", "urn": "urn:pulumi:stage::understudy::understudy:index:Report::report"}]}


def kept(*digests: str) -> tuple[KeptChange, ...]:
    """Return kept changes, the newest first."""
    return tuple(
        KeptChange(service="web", directory=f"/c/2026110{9 - at}T000000Z-{at}", state="kept", digest=digest)
        for at, digest in enumerate(digests)
    )


@pytest.mark.parametrize(
    ("digests", "base", "count"),
    [
        ((B, A), A, 1),
        ((C, B, A), A, 2),
        ((C, B, ""), NOTHING, 3),
        ((A, B), A, 0),
        (("", A), A, 0),
        ((), A, 0),
        ((B,), A, None),
        ((C, "", B), A, None),
    ],
)
def test_what_prod_has_not_is_taken_back_first(digests: tuple[str, ...], base: str, count: int | None) -> None:
    found = ahead(kept(*digests), base)
    assert found == (None if count is None else kept(*digests)[:count])


def test_the_change_is_the_one_that_prods_gate_asks_about() -> None:
    seen = preview(step("app1:web", "update", A, C), step("app2:web", "create", "", C), step("lb:cron", "same", A, A))
    there, steps = wanted(seen), tuple(each for each in planned(seen) if each.kind.endswith(":Service"))
    base = {"web": A, "cron": A}
    refuse_other_start("stage", steps, there, base)
    (found,) = changes(steps, there, base)
    assert (found.digest, found.machines, found.check) == (change_digest(A, C), ("app1", "app2"), "automatic")


@pytest.mark.parametrize("seen", [("update", B, C), ("same", C, C)])
def test_what_begins_elsewhere_proves_nothing_and_says_the_way(seen: tuple[str, str, str]) -> None:
    looked = preview(step("app1:web", *seen))
    steps = tuple(each for each in planned(looked) if each.kind.endswith(":Service"))
    with pytest.raises(UnderstudyError, match="app1:web") as caught:
        refuse_other_start("stage", steps, wanted(looked), {"web": A})
    assert "git checkout COMMIT -- services/web" in caught.value.todo
    refuse_other_start("stage", steps, wanted(looked), None)
    refuse_other_start("stage", steps, wanted(looked), {"web": C})


def test_what_prods_gate_never_asks_about_is_left_alone() -> None:
    looked = preview(step("app1:web", "same", C, C), step("app1:new", "same", B, B))
    there = wanted(looked)
    assert not there.changes("web", {"cron": A}), "on a prod that exists it holds a password, and is not ours there"
    assert there.changes("new", {"cron": A, "new": NOTHING})
    refuse_other_start("stage", (), there, {"cron": A})


def test_a_service_that_leaves_one_machine_is_checked_on_those_that_keep_it() -> None:
    seen = preview(step("app1:web", "delete", A, ""), step("app2:web", "update", A, B))
    there, steps = wanted(seen), tuple(each for each in planned(seen) if each.kind.endswith(":Service"))
    (found,) = changes(steps, there, {"web": A})
    assert (found.digest, found.machines, found.check) == (change_digest(A, B), ("app1", "app2"), "automatic")
    gone = preview(step("app1:web", "delete", A, ""))
    (found,) = changes(steps[:1], wanted(gone), {"web": A})
    assert (found.digest, found.check) == (change_digest(A, NOTHING), "none")


def test_what_git_says_in_the_end_is_what_it_said_at_first() -> None:
    steps = tuple(each for each in planned(preview(step("app1:web", "update", A, B))) if each.after.get("digest"))
    before = {"app1:web": A, "lb:cron": A}
    refuse_another_text(steps, before, {"app1:web": B, "lb:cron": A})
    for after in ({"app1:web": C, "lb:cron": A}, {"app1:web": B, "lb:cron": C}, {"app1:web": B}):
        with pytest.raises(UnderstudyError, match="Git was edited while it was rehearsed"):
            refuse_another_text(steps, before, after)


def test_what_an_update_took_out_of_the_state_is_in_it_again() -> None:
    parent = {"urn": "p", "type": "understudy:components:Service"}
    mine = {"urn": f"{URN}app1:web", "type": "understudy:index:Service", "parent": "p", "inputs": {"digest": A}}
    mine |= {"dependencies": ["there", "gone"]}
    before = {"version": 3, "deployment": {"resources": [{"urn": "there"}, parent, mine]}}
    after = {"version": 3, "deployment": {"resources": [{"urn": "there"}]}}
    again = with_again(after, before, ["app1:web"])
    assert service_digests(again) == {"app1:web": A}
    assert [each["urn"] for each in again["deployment"]["resources"]] == ["there", "p", mine["urn"]]
    assert again["deployment"]["resources"][-1]["dependencies"] == ["there"]
    assert with_again(again, before, ["app1:web"]) == again
