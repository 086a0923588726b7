"""What is typed instead of what Understudy does to machines, disks and networks: exact texts, by what is planned."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from model.change.planned import UNKNOWN, Needed, Planned, planned
from provisioners.changes.by_hand import in_words, parts_of, restarts
from tests.reading import cases

CASES = cases("by_hand.yaml")


def plan(values: Mapping[str, Any]) -> Planned:
    """Return what a case has planned."""
    needs = {key: tuple(Needed(**each) for each in needed) for key, needed in values.get("needs", {}).items()}
    return Planned(**{**values, "needs": needs, "differing": tuple(values.get("differing", ()))})


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_what_is_planned_is_typed_so(case: Mapping[str, Any]) -> None:
    found = [
        {
            "name": part.name,
            **({"machine": part.machine} if part.machine else {}),
            "do": [step.command for step in part.steps],
            "undo": [step.command for step in part.undo],
        }
        for part in parts_of(plan(case["planned"]))
    ]
    assert found == case["parts"]
    for text in (text for part in case["parts"] for text in (*part["do"], *part["undo"]) if text.endswith("\n")):
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_a_machine_is_away_only_where_it_is_stopped() -> None:
    kinds = {
        "libvirt:index/domain:Domain": "memory",
        "aws:ec2/instance:Instance": "instanceType",
        "azure:compute/linuxVirtualMachine:LinuxVirtualMachine": "size",
    }
    for kind, key in kinds.items():
        for operation, away in (("create", False), ("update", True), ("replace", True), ("delete", False)):
            assert restarts(Planned(operation=operation, kind=kind, name="lb", differing=(key,))) == away
    assert not restarts(Planned(operation="update", kind="aws:ec2/instance:Instance", name="lb", differing=("tags",)))
    assert not restarts(Planned(operation="update", kind="libvirt:index/volume:Volume", name="lb"))


def test_what_nobody_types_is_said_in_words() -> None:
    fence = Planned(operation="create", kind="understudy:index:Fence", name="fence")
    assert (parts_of(fence), in_words(fence)) == ((), "Fence fence is made")


def test_a_preview_says_of_what_a_resource_is_made_and_where() -> None:
    urn, provider, network = (
        "urn:p::q::c$gcp:x:{}::{}",
        "urn:p::q::c$pulumi:providers:gcp::g",
        "urn:p::q::c$gcp:n:N::net",
    )
    new = {
        "custom": True,
        "type": "gcp:x:S",
        "inputs": {"network": UNKNOWN},
        "propertyDependencies": {"network": [network], "range": []},
        "provider": f"{provider}::id",
    }
    there = {
        "deployment": {"resources": [{"urn": provider, "inputs": {"project": "p1"}}, {"urn": network, "id": "n-1"}]}
    }
    shown = {"steps": [{"op": "create", "urn": urn.format("S", "sub"), "newState": new}]}
    (step,) = planned(shown, there)
    assert step.needs == {"network": (Needed(kind="gcp:n:N", name="net", identifier="n-1"),)}
    assert (step.provider, step.identifier) == ({"project": "p1"}, "")
    (gone,) = planned({"steps": [{"op": "delete", "urn": urn.format("S", "sub"), "oldState": {**new, "id": "i-1"}}]})
    assert (gone.identifier, gone.provider) == ("i-1", {})
