"""A stage of a user's own image, named by its address: cloud-init says who each machine is, and nothing stays of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml

from bench.site import Site
from model import names
from model.connection import Connection
from provisioners.hypervisor.identity import throwaway_key
from provisioners.hypervisor.virsh import Virsh
from provisioners.shell import WrongHostKey, connect
from tests.images.server import Served, serving
from tests.vm import own_image
from tests.vm.adopting import running
from tests.vm.lab import left_overs

pytestmark = pytest.mark.vm

MACHINE = {"address": "10.20.0.11", "vcpus": 2, "memory": "1GiB", "system_disk": "4GiB", "data_disk": "256MiB"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A project whose stage is up; where its image came from does not answer any more."""
    site = Site(tmp_path_factory.mktemp("site"))
    configure(site)
    try:
        with serving(Served(content=own_image.ensure().read_bytes())) as served:
            site.configure(site.stage, image=served.address)
            site.pulumi("up", site.stage)
        assert served.asked == [""]
        yield site
    finally:
        site.end(site.stage)
    assert left_overs(site.stage) == []


def configure(site: Site, **machine: str) -> None:
    """Let prod be one machine, and nothing on it."""
    site.configure(site.prod, machines={"a": {**MACHINE, **machine}}, services={}, stores={}, pages={})


def told(site: Site) -> dict[str, Any]:
    """Return what the outputs tell of the machine."""
    found: dict[str, Any] = site.outputs(site.stage)["machines"]["a"]
    return found


def run(site: Site, script: str) -> str:
    return site.ssh(site.stage, "a", "bash", "-c", script).strip()


def seeds_of(site: Site) -> list[str]:
    listed = Virsh().run("domblklist", names.domain(site.stage, "a")).splitlines()
    return [line for line in listed if "seed" in line or "vdy" in line]


def test_it_comes_up_as_who_it_is(site: Site) -> None:
    output = told(site)
    assert output["started"] == "cold"
    assert "image of your own" in output["why"]
    assert run(site, "hostname") == "a"
    addresses = json.loads(run(site, "ip -json -4 address show"))
    found = {card["ifname"]: [each["local"] for each in card["addr_info"]] for card in addresses}
    assert (found["eth0"], found["eth1"]) == ([output["control_address"]], ["10.20.0.11"])
    assert run(site, "ip route show default") == ""
    assert "10.20.0.11 a.shop.example a" in run(site, "cat /etc/hosts")
    size = int(run(site, "df --output=size --block-size=1M / | tail -n 1"))
    assert size > 3500, "the file system did not grow to the disk"
    assert run(site, "lsblk --noheadings --output NAME --nodeps").split() == ["vda", "vdb"]


def test_its_content_is_pinned(site: Site) -> None:
    lock = yaml.safe_load((site.directory / f"Placement.{site.stage}.lock.yaml").read_text(encoding="utf-8"))
    digest = subprocess.run(["sha256sum", own_image.ensure()], capture_output=True, text=True, check=True).stdout
    assert lock["image"] == digest.split()[0]
    assert lock["own_image"]["source"] == site.configuration(site.stage)["image"]


def test_what_cloud_init_read_is_good_for_nothing(site: Site) -> None:
    connection = connection_to(site)[0]
    scanned = subprocess.run(["ssh-keyscan", connection.address], capture_output=True, text=True, check=True).stdout
    keys = {line.partition(" ")[2] for line in scanned.splitlines() if not line.startswith("#")}
    assert keys == {connection.host_key}
    assert run(site, "cat /etc/ssh/ssh_host_*_key.pub").split()[:2] == connection.host_key.split()
    assert seeds_of(site) == []
    assert "cidata" not in run(site, "blkid || true")
    real = run(site, "sed -n 3p /etc/ssh/ssh_host_ed25519_key")
    assert run(site, f"grep -rlF -- {real!r} /var/lib/cloud /run/cloud-init /var/log || true") == ""
    assert run(site, "grep -rl 'OPENSSH PRIVATE' /var/lib/cloud /run/cloud-init /var/log || true") == ""


def connection_to(site: Site) -> tuple[Connection, str]:
    ways = running(site, site.stage)
    return ways.connections[0], ways.private_key


def test_another_key_is_refused(site: Site) -> None:
    connection, key = connection_to(site)
    with pytest.raises(WrongHostKey), connect(replace(connection, host_key=throwaway_key()[1]), key, print, 20):
        pass


def test_a_second_update_changes_nothing(site: Site) -> None:
    site.pulumi("preview", site.stage, "--expect-no-changes", "--refresh")


def test_a_new_neighbour_is_told_over_ssh_and_the_disk_stays(site: Site) -> None:
    run(site, "touch /root/kept; sync")
    site.configure(site.prod, domain="other.example")
    site.pulumi("up", site.stage)
    assert "10.20.0.11 a.other.example a" in run(site, "cat /etc/hosts; ls /root/kept")
    site.pulumi("preview", site.stage, "--expect-no-changes")


def test_more_memory_is_another_start_of_the_same_machine(site: Site) -> None:
    configure(site, memory="1280MiB")
    site.pulumi("up", site.stage)
    said = run(site, "ls /root/kept; hostname; systemctl is-active cloud-init || true")
    assert said.split() == ["/root/kept", "a", "inactive"]
    assert seeds_of(site) == []
    site.pulumi("preview", site.stage, "--expect-no-changes")


def test_another_address_is_another_system_disk(site: Site) -> None:
    configure(site, memory="1280MiB", address="10.20.0.21")
    site.pulumi("up", site.stage)
    assert "10.20.0.21/24" in run(site, "ip -o -4 address show dev eth1; ls /root")
    assert "kept" not in run(site, "ls /root")
    assert names.domain(site.stage, "a") in Virsh().names("list")
