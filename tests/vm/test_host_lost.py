"""A stage is on two computers, and one vanishes: its machine is built here and filled anew, the other one stays.

Then the computer comes back, its machine running, and is swept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.site import Site, is_gone
from model import names
from provisioners.hypervisor.virsh import Virsh
from tests.doubles.computer import Computer
from tests.vm import two_computers
from tests.vm.two_computers import placed_there, site_beside

pytestmark = pytest.mark.vm
rack = two_computers.rack

STORES = {
    name: {
        "engine": "files",
        "database": name,
        "owner": "www-data",
        "primary": primary,
        "backup": {"kind": "files", "path": f"backups/{name}"},
    }
    for name, primary in (("notes", "web1"), ("papers", "db1"))
}
CALL = ("timeout", "5", "bash", "-c", "exec 3<>/dev/tcp/10.20.0.31/22")


@pytest.fixture
def site(tmp_path: Path, rack: Computer) -> Iterator[Site]:
    with site_beside(rack, tmp_path) as site:
        for name in STORES:
            (site.directory / "backups" / name).mkdir(parents=True)
            (site.directory / "backups" / name / "plan").write_text(f"a plan of {name}\n")
        small = {"vcpus": 1, "memory": "512MiB", "data_disk": "1GiB"}
        machines = {"web1": {**small, "address": "10.20.0.21"}, "db1": {**small, "address": "10.20.0.31"}}
        site.configure(site.prod, machines=machines, services={}, stores=STORES, pages={})
        placed_there(site, rack, ("db1",))
        yield site


def here() -> set[str]:
    return set(Virsh().names("list"))


def untouched(site: Site) -> str:
    """Return what a start or a restore of the machine that stays would change."""
    looked = ("cat /proc/sys/kernel/random/boot_id", "stat --format=%i,%z /srv/files/notes/plan")
    return " ".join(site.ssh(site.stage, "web1", *words.split()).splitlines()[-1] for words in looked)


def running(rack: Computer) -> list[str]:
    return rack.inside("virsh", "list", "--name").split()


def told(site: Site) -> dict[str, str]:
    """Return what the checks of the store said; who may log in to its host is not who types `ssh` here."""
    return dict(site.outputs(site.stage)["checks"]["papers"])


def reaches(site: Site) -> bool:
    """Return whether the other machine answers the one that stays, at prod's address: nothing listens there on 22."""
    return "Connection refused" in site.ssh(site.stage, "web1", *CALL, code=1)


def papers(site: Site) -> str:
    return site.ssh(site.stage, "db1", "cat", "/srv/files/papers/plan").splitlines()[-1]


def host_key(site: Site) -> str:
    path = next(site.directory.glob(f".state/understudy/state/.pulumi/stacks/*/{site.stage}.json"))
    resources = json.loads(path.read_text())["checkpoint"]["latest"]["resources"]
    return str(next(each["outputs"]["public_key"] for each in resources if each["urn"].endswith("::db1-host")))


def test_a_host_that_vanishes_and_comes_back(site: Site, rack: Computer) -> None:
    site.pulumi("up", site.stage)
    assert running(rack) == [names.domain(site.stage, "db1")]
    db1, web1 = (names.domain(site.stage, name) for name in ("db1", "web1"))
    assert web1 in here()
    assert db1 not in here()
    assert told(site)["every file is as in the backup (SHA-256)"].startswith("ok")
    assert reaches(site)
    old, stays = host_key(site), untouched(site)

    answers = site.run("understudy", "host", "lost", "rack1", "-s", site.stage, "--yes", code=1)
    assert "host rack1: it answers, and so does its libvirt" in answers

    rack.unplug()
    hindered = site.pulumi("up", site.stage, code=1)
    assert "Where it is gone for good: `./run understudy host lost rack1 -s STACK`" in hindered
    given_up = site.run("understudy", "host", "lost", "rack1", "-s", site.stage, "--yes")
    assert "lost with it: db1" in given_up
    assert "store papers: its data was on db1; filled anew from " in given_up
    assert "db1: on this computer" in given_up

    built = site.pulumi("up", site.stage)
    assert "rack1 is lost still" in built
    assert papers(site) == "a plan of papers", "it was filled from the same backup"
    assert {db1, web1} <= here()
    assert reaches(site)
    assert untouched(site) == stays
    assert host_key(site) != old, "whatever has the old one is refused"

    rack.plug_in()
    assert running(rack) == [names.domain(site.stage, "db1")], "it never noticed"
    swept = site.pulumi("up", site.stage, "--expect-no-changes")
    assert f"removed machine {names.domain(site.stage, 'db1')} on rack1: it was lost, and is back" in swept
    assert "rack1 has nothing of" in swept
    assert left_on(rack) == ([], [], [])
    assert papers(site) == "a plan of papers"
    assert untouched(site) == stays
    assert "lost:" not in (site.directory / f"Placement.{site.stage}.lock.yaml").read_text()

    site.pulumi("destroy", site.stage)
    assert is_gone(site.stage)


def left_on(rack: Computer) -> tuple[list[str], list[str], list[str]]:
    """Return what the other computer has still of any stack: machines, disks, and filters."""
    tables = [line for line in rack.inside("nft", "list", "tables").splitlines() if " us" in line]
    return rack.inside("virsh", "list", "--all", "--name").split(), rack.kept("/var/lib/understudy/stacks"), tables
