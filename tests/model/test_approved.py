"""What an update would do beyond an approved plan: each way of doing more is named, and doing less is none."""

from __future__ import annotations

from typing import Any

import pytest

from model.change.approved import beyond, does_anything
from model.way_in import SECRET, SIGNATURE

ROOT = "urn:pulumi:prod::understudy::understudy:components:Environment$"
LB, WEB, REPORT = (
    f"{ROOT}libvirt:index/domain:Domain::lb",
    f"{ROOT}understudy:index:Service::lb:web",
    f"{ROOT}understudy:index:Report::report",
)


def plan(**resources: tuple[list[str], dict[str, Any]]) -> dict[str, Any]:
    """Return a plan; of each resource its steps, and the difference of its inputs."""
    urns = {"lb": LB, "web": WEB, "report": REPORT}
    return {
        "resourcePlans": {
            urns[name]: {"steps": steps, "goal": {"inputDiff": diff}} for name, (steps, diff) in resources.items()
        }
    }


def secret(ciphertext: str) -> dict[str, str]:
    return {SIGNATURE: SECRET, "ciphertext": ciphertext}


APPROVED = plan(
    web=(["update"], {"updates": {"digest": "1", "secrets": {"a": secret("x")}}, "deletes": ["tool"]}),
    lb=(["same"], {}),
    report=(["same"], {}),
)
WEB_AS_APPROVED = (["update"], {"updates": {"digest": "1", "secrets": {"a": secret("y")}}, "deletes": ["tool"]})


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (plan(web=WEB_AS_APPROVED), ()),
        (plan(web=WEB_AS_APPROVED, report=(["update"], {"updates": {"document": 1}})), ()),
        (plan(web=(["same"], {})), ()),
        (plan(), ()),
        (plan(lb=(["update"], {"updates": {"memory": 640}})), ("Domain lb: update",)),
        (
            plan(lb=(["create-replacement", "replace", "delete-replaced"], {"updates": {"memory": 640}})),
            ("Domain lb: create-replacement, replace, delete-replaced",),
        ),
        (plan(web=(["delete"], {})), ("Service lb:web: delete, in place of update",)),
        (
            plan(web=(["update"], {"updates": {"digest": "2", "secrets": {"a": secret("y")}}})),
            ("Service lb:web: update, with another digest, tool",),
        ),
        (
            plan(web=(["update"], {"updates": {"digest": "1", "secrets": {}}, "deletes": ["tool"]})),
            ("Service lb:web: update, with another secrets",),
        ),
    ],
)
def test_each_way_of_doing_more_is_named(wanted: dict[str, Any], said: tuple[str, ...]) -> None:
    assert beyond(APPROVED, wanted) == said


def test_what_only_follows_changes_nothing() -> None:
    assert not does_anything(plan(report=(["update"], {}), lb=(["same"], {})))
    assert does_anything(APPROVED)
