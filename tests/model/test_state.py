"""What a state says of the host."""

from __future__ import annotations

from typing import Any

import pytest

from model.errors import UnderstudyError
from model.state import CutOff, Recorded, recorded, without_cut_off

URN = "urn:pulumi:stage::understudy::understudy:components:Environment$"
RESOURCES: list[dict[str, Any]] = [
    {"urn": "urn:pulumi:stage::understudy::pulumi:pulumi:Stack::understudy-stage", "type": "pulumi:pulumi:Stack"},
    {
        "urn": f"{URN}libvirt:index/domain:Domain::db1",
        "type": "libvirt:index/domain:Domain",
        "id": "0000-11",
        "inputs": {"name": "stage-db1"},
        "outputs": {"name": "stage-db1", "memory": 1024},
    },
    {
        "urn": f"{URN}libvirt:index/domain:Domain::db2",
        "type": "libvirt:index/domain:Domain",
        "inputs": {"name": "stage-db2"},
    },
    {
        "urn": f"{URN}libvirt:index/network:Network::control",
        "type": "libvirt:index/network:Network",
        "outputs": {"name": "n"},
    },
    {"urn": f"{URN}libvirt:index/pool:Pool::pool", "type": "libvirt:index/pool:Pool", "outputs": {"name": "stage"}},
    {
        "urn": f"{URN}libvirt:index/volume:Volume::db1-system",
        "type": "libvirt:index/volume:Volume",
        "id": "/var/lib/understudy/stacks/stage/db1-system.qcow2",
        "outputs": {"name": "db1-system.qcow2"},
    },
    {"urn": f"{URN}libvirt:index/volume:Volume::none", "type": "libvirt:index/volume:Volume"},
]
PENDING = [
    {"type": "creating", "resource": {"urn": f"{URN}libvirt:index/domain:Domain::lb", "inputs": {"name": "stage-lb"}}}
]


def test_what_is_recorded() -> None:
    assert recorded({"version": 3, "deployment": {"resources": RESOURCES, "pending_operations": PENDING}}) == Recorded(
        domains=frozenset({"stage-db1", "stage-db2"}),
        networks=frozenset({"n"}),
        pools=frozenset({"stage"}),
        volumes=frozenset({"/var/lib/understudy/stacks/stage/db1-system.qcow2"}),
        resources=7,
        cut_off=(CutOff(operation="creating", urn=f"{URN}libvirt:index/domain:Domain::lb"),),
    )


@pytest.mark.parametrize("inner", [{}, {"resources": None}, {"resources": [], "pending_operations": None}])
def test_a_stack_without_resources(inner: dict[str, Any]) -> None:
    assert recorded({"version": 3, "deployment": inner}) == Recorded()


@pytest.mark.parametrize("state", [None, [], {}, {"deployment": None}])
def test_what_is_no_state(state: object) -> None:
    with pytest.raises(UnderstudyError, match="no deployment"):
        recorded(state)


def test_the_fence_is_known_once_it_is_recorded() -> None:
    fence = {"urn": f"{URN}understudy:index:Fence::fence", "type": "understudy:index:Fence"}
    assert recorded({"deployment": {"resources": [*RESOURCES, fence]}}).fenced
    assert not recorded({"deployment": {"resources": RESOURCES}}).fenced


def test_forgetting_what_was_cut_off_keeps_all_else() -> None:
    state = {"version": 3, "deployment": {"resources": RESOURCES, "pending_operations": PENDING, "metadata": {}}}
    assert without_cut_off(state) == {"version": 3, "deployment": {"resources": RESOURCES, "metadata": {}}}
    assert state["deployment"]["pending_operations"] == PENDING  # type: ignore[index]
