"""A machine of a user's own image: cloud-init tells it who it is, and nothing of what that read is of use later."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from images import own
from model import names
from model.connection import connection_of
from provisioners.hypervisor.host import ROOT
from provisioners.hypervisor.identity import throwaway_key
from provisioners.hypervisor.virsh import Virsh
from provisioners.shell import WrongHostKey, connect
from tests.vm import own_image
from tests.vm.lab import Lab, lab, left_overs, machine

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def brought() -> own.OwnImagePaths:
    return own.bring(str(own_image.ensure()), Path("/"), 8192, print)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, brought: own.OwnImagePaths) -> Iterator[Lab]:
    machines = [machine("a", 11, vcpus=2, memory_mib=1024, system_disk_mib=4096, data_disk_mib=256)]
    with lab(tmp_path_factory.mktemp("own"), 5, machines, own=brought) as made:
        made.up()
        yield made
    assert left_overs(made) == []
    assert [path for path in (ROOT / "seeds").iterdir() if path.is_dir()] == []


def run(made: Lab, script: str) -> str:
    with made.shell("a") as shell:
        return shell.run(("bash", "-c", script)).text


def seeds_of(made: Lab) -> list[str]:
    return [
        line for line in Virsh().run("domblklist", made.domain("a")).splitlines() if "seed" in line or "vdy" in line
    ]


def test_it_comes_up_as_who_it_is(one: Lab) -> None:
    output = one.outputs()["a"]
    assert output["started"] == "cold"
    assert "image of your own" in output["reason"]
    assert run(one, "hostname") == "a"
    addresses = json.loads(run(one, "ip -json -4 address show"))
    found = {card["ifname"]: [each["local"] for each in card["addr_info"]] for card in addresses}
    control = one.control_network.replace(".0/24", ".10")
    assert (found["eth0"], found["eth1"]) == ([control], ["10.77.0.11"])
    assert run(one, "ip route show default") == ""
    assert "10.77.0.11 a.test.example a" in run(one, "cat /etc/hosts")
    size = int(run(one, "df --output=size --block-size=1M / | tail -n 1"))
    assert size > 3500, "the file system did not grow to the disk"
    assert run(one, "lsblk --noheadings --output NAME --nodeps").split() == ["vda", "vdb"]


def test_what_cloud_init_read_is_good_for_nothing(one: Lab) -> None:
    connection = connection_of(one.outputs()["a"]["connection"])
    scanned = subprocess.run(["ssh-keyscan", connection.address], capture_output=True, text=True, check=True).stdout
    keys = {line.partition(" ")[2] for line in scanned.splitlines() if not line.startswith("#")}
    assert keys == {connection.host_key}
    assert run(one, "cat /etc/ssh/ssh_host_*_key.pub").split()[:2] == connection.host_key.split()
    assert seeds_of(one) == []
    assert "cidata" not in run(one, "blkid || true")
    real = run(one, "sed -n 3p /etc/ssh/ssh_host_ed25519_key")
    assert run(one, f"grep -rlF -- {real!r} /var/lib/cloud /run/cloud-init /var/log || true") == ""
    assert run(one, "grep -rl 'OPENSSH PRIVATE' /var/lib/cloud /run/cloud-init /var/log || true") == ""


def test_another_key_is_refused(one: Lab) -> None:
    output = one.outputs()["a"]
    wrong = {**output["connection"], "host_key": throwaway_key()[1]}
    with pytest.raises(WrongHostKey), connect(connection_of(wrong), output["private_key"], print, 20):
        pass


def test_a_second_update_changes_nothing(one: Lab) -> None:
    assert one.changes_nothing()
    one.pulumi("refresh", "--yes", "--skip-preview", "--stack", one.stack)
    assert one.changes_nothing()


def test_a_new_neighbour_is_told_over_ssh_and_the_disk_stays(one: Lab) -> None:
    run(one, "touch /root/kept; sync")
    one.domain_name = "other.example"
    one.up()
    assert "10.77.0.11 a.other.example a" in run(one, "cat /etc/hosts; ls /root/kept")
    assert one.changes_nothing()


def test_more_memory_is_another_start_of_the_same_machine(one: Lab) -> None:
    one.machines = [{**one.machines[0], "memory_mib": 1280}]
    one.up()
    assert run(one, "ls /root/kept; hostname; systemctl is-active cloud-init || true").split() == [
        "/root/kept",
        "a",
        "inactive",
    ]
    assert seeds_of(one) == []
    assert one.changes_nothing()


def test_another_address_is_another_system_disk(one: Lab) -> None:
    one.machines = [{**one.machines[0], "address": "10.77.0.21"}]
    one.up()
    assert "10.77.0.21/24" in run(one, "ip -o -4 address show dev eth1; ls /root")
    assert "kept" not in run(one, "ls /root")
    assert names.domain(one.stack, "a") in Virsh().names("list")
