"""The door to libvirt: what it makes of the daemon's words."""

from __future__ import annotations

import pytest

from provisioners.hypervisor.virsh import Absent, Virsh, VirshFailed, wait_for_state
from tests.hypervisor.conftest import FakeVirsh

AWAY = "error: failed to connect to the hypervisor\nerror: Failed to connect socket to '/run/libvirt/libvirt-sock'"


def test_a_daemon_that_restarts_is_waited_for(virsh: FakeVirsh) -> None:
    virsh.answer({"domstate a": [AWAY, "error: Disconnected from qemu:///system due to end of file", "running"]})
    said: list[str] = []
    assert Virsh(say=said.append).state("a") == "running"
    assert said == ["libvirt's daemon is away; waiting for it"] * 2


def test_a_start_that_the_kernel_was_interrupted_in_is_tried_again(virsh: FakeVirsh) -> None:
    refused = "error: Failed to start domain 'a'\nerror: failed to load cgroup BPF prog: "
    virsh.answer({"start a": [f"{refused}Resource temporarily unavailable", "done"]})
    assert Virsh().run("start", "a") == "done\n"
    virsh.answer({"start a": [f"{refused}Operation not permitted", "done"]})
    with pytest.raises(VirshFailed, match="not permitted"):
        Virsh().run("start", "a")


def test_a_daemon_that_stays_away_is_an_error_that_says_what_to_do(
    virsh: FakeVirsh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioners.hypervisor.virsh._PATIENCE_SECONDS", 0)
    virsh.answer({"list": AWAY})
    with pytest.raises(VirshFailed, match=r"qemu:///system: .*failed to connect.*Start libvirtd"):
        Virsh().run("list")


def test_what_is_not_there_is_told_from_what_is_refused(virsh: FakeVirsh) -> None:
    virsh.answer(
        {
            "domstate a": "error: failed to get domain 'a'",
            "domstate b": "error: internal error: no",
            "net-info n": "error: failed to get network 'n'\nerror: Network not found",
        }
    )
    assert Virsh().state("a") == ""
    assert not Virsh().exists("net-info", "n")
    with pytest.raises(VirshFailed, match="internal error: no") as refused:
        Virsh().state("b")
    assert not isinstance(refused.value, Absent)


def test_names_are_one_a_line(virsh: FakeVirsh) -> None:
    virsh.answer({"list --all --name": "a\nb b\n\n"})
    assert Virsh().names("list", "--all") == ("a", "b b")


def test_names_of_several_lists_come_from_one_process(virsh: FakeVirsh) -> None:
    virsh.answer({"list --all --name": "a\nb b\n", "net-list --name": "", "pool-list --name": "a"})
    found = Virsh().all_names(("list", "--all"), ("net-list",), ("pool-list",))
    assert found == [("a", "b b"), (), ("a",)]
    assert len(virsh.asked()) == 1


def test_of_several_commands_each_failure_counts(virsh: FakeVirsh) -> None:
    """Virsh goes on after one that fails, and ends as the last one does: an empty list would be no list."""
    virsh.answer({"list --all --name": ["error: internal error: no", AWAY, "a"], "net-list --name": "n"})
    lists = (("list", "--all"), ("net-list",))
    with pytest.raises(VirshFailed, match="internal error: no"):
        Virsh().all_names(*lists)
    assert Virsh().all_names(*lists) == [("a",), ("n",)], "a daemon that is away is waited for"


def test_it_waits_for_a_state_and_says_whether_it_came(virsh: FakeVirsh) -> None:
    virsh.answer({"domstate a": ["running", "shut off"]})
    assert wait_for_state(Virsh(), "a", ("shut off", ""), 5)
    virsh.answer({"domstate a": "running"})
    assert not wait_for_state(Virsh(), "a", ("shut off", ""), 0.1)


def test_no_virsh_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(VirshFailed, match="virsh is missing"):
        Virsh().run("list")
