"""A stage is on three computers, and what happens to one of them in the middle of an `up` does not spoil it.

Then one vanishes for good: its machine is built here and filled anew, the others stay. It comes back, its machine
running, and is swept.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from bench.site import Site, is_gone, on_host
from model import names
from model.way_in import way_in
from provisioners.shell import Shell, close_all, connect
from tests.doubles.computer import Computer
from tests.vm.computers import computers, place, site_beside
from tests.vm.test_daemon import wait_for as wait_until
from tests.vm.test_killed import begin, gone, killed, processes_of, wait_for

pytestmark = pytest.mark.vm

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
SMALL = {"vcpus": 1, "memory": "512MiB"}
MACHINES = {
    "app1": {**SMALL, "address": "10.20.0.22"},
    "db1": {**SMALL, "address": "10.20.0.31", "data_disk": "1GiB"},
    "web1": {**SMALL, "address": "10.20.0.21", "data_disk": "1GiB"},
}
ON = {"app1": "rack2", "db1": "rack1", "web1": "here"}
KINDS = ("machines", "networks", "pools", "disks", "tables")
CALL = 'for each in "$@"; do timeout 9 bash -c "</dev/tcp/$each/22"; done 2>&1; true'
REFUSED = "/dev/tcp/{}/22: Connection refused"
"""What a machine answers at prod's address, also to itself: its SSH server listens at the other one."""


@pytest.fixture(scope="module")
def racks() -> Iterator[dict[str, Computer]]:
    with computers("rack1", "rack2") as racks:
        yield {rack.name: rack for rack in racks}
    close_all()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, racks: dict[str, Computer]) -> Iterator[Site]:
    with (
        site_beside(tuple(racks.values()), tmp_path_factory.mktemp("three")) as site,
        pytest.MonkeyPatch.context() as own,
    ):
        own.setenv("HOME", site.environment["HOME"])  # whose keys open both
        for name in STORES:
            (site.directory / "backups" / name).mkdir(parents=True)
            (site.directory / "backups" / name / "plan").write_text(f"a plan of {name}\n")
        site.configure(site.prod, machines=MACHINES, services={}, stores=STORES, pages={})
        place(site, {name: racks[on] for name, on in ON.items() if on in racks})
        yield site


def there(rack: Computer) -> dict[str, list[str]]:
    """Return what a computer has of any stack."""
    tables = rack.inside("nft", "list", "tables").splitlines()
    return {
        "machines": rack.inside("virsh", "list", "--all", "--name").split(),
        "networks": sorted(rack.inside("virsh", "net-list", "--all", "--name").split()),
        "pools": rack.inside("virsh", "pool-list", "--all", "--name").split(),
        "disks": [Path(disk).name.partition("-")[0] for disk in rack.kept("/var/lib/understudy/stacks")],
        "tables": [line for line in tables if " us" in line],
    }


@contextmanager
def shells(site: Site, *machines: str) -> Iterator[tuple[Shell, ...]]:
    """Give a shell on each; ssh itself would take root's keys, and not those of HOME, to go through the computers."""
    printed = site.run("pulumi", "stack", "export", "--show-secrets", "-s", site.stage)
    exported = json.JSONDecoder().raw_decode(printed[printed.index("{\n") :])[0]
    with ExitStack() as open_:
        ways = (way_in(exported, site.stage, name) for name in machines)
        yield tuple(open_.enter_context(connect(*way, print, 60)) for way in ways)


def when(up: subprocess.Popen[str], rack: Computer, part: str) -> None:
    """Wait until a computer has something of that kind, while `up` works."""
    wait_until(lambda: bool(there(rack)[part]), 300)
    assert up.poll() is None, "it was done before it could be disturbed"


def test_a_computer_that_is_cut_off_in_the_middle_is_named(site: Site, racks: dict[str, Computer]) -> None:
    up, said, reader = begin(site)
    when(up, racks["rack2"], "networks")
    racks["rack2"].unplug()
    assert up.wait(600) == 1
    reader.join(30)
    told = "".join(said)
    print(told[-6000:])
    assert re.search(r"host rack2.*Where it is gone for good: `?\./run understudy host lost rack2 -s STACK", told), told
    racks["rack2"].plug_in()


def test_a_kill_a_restarted_daemon_and_cut_connections_do_not_spoil_it(site: Site, racks: dict[str, Computer]) -> None:
    """Whatever came of that, one more `up` finishes it, and nothing is left twice on any of the three."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"random seed {seed}")
    session = killed(site, random.Random(seed), "Updating", 8)
    assert gone(session), f"they outlived their engine: {processes_of(session)}"
    up, said, reader = begin(site)
    wait_for(up, said, "Updating", 0)
    when(up, racks["rack2"], "machines")
    assert re.search(rf"stack {site.stage} is being changed by process \d+", site.pulumi("up", site.stage, code=1))
    racks["rack2"].restart_libvirt()
    racks["rack2"].unplug()
    time.sleep(5)
    racks["rack2"].plug_in()
    for rack in racks.values():
        cut_connections(rack)
    up.wait(600)
    reader.join(30)
    print(f"it ended with {up.returncode}:\n{''.join(said)[-6000:]}")
    if up.returncode:
        assert re.search("[Rr]un it again|Start it, or", "".join(said)), "".join(said)
    site.pulumi("up", site.stage)
    site.pulumi("preview", site.stage, "--expect-no-changes")
    everything_is_there_once(site, racks)
    each_reaches_each(site)


def each_reaches_each(site: Site) -> None:
    addresses = [str(each["address"]) for each in MACHINES.values()]
    with shells(site, *MACHINES) as machines:
        assert [machine.run(("hostname",)).text for machine in machines] == [*MACHINES]
        for machine in machines:
            answers = machine.run(("bash", "-c", CALL, "call", *addresses), timeout_seconds=60).text
            assert [each for each in addresses if REFUSED.format(each) not in answers] == [], answers


def cut_connections(rack: Computer) -> None:
    """Reset every SSH connection to a computer."""
    where = ("dst", rack.address, "dport", "=", ":22")
    subprocess.run(("ss", "-K", "-H", "-t", "-n", "state", "established", *where), check=True, capture_output=True)


def everything_is_there_once(site: Site, racks: dict[str, Computer]) -> None:
    table = names.bridge(site.stage, "mirror")[:-1]
    tables = [f"table {kind} {table}" for kind in ("bridge", "inet", "netdev")]
    for name, on in ON.items():
        disks = [name] * (1 + ("data_disk" in MACHINES[name]))
        if on == "here":
            found = {kind: sorted(each) for kind, each in on_host(site.stage).items() if kind in KINDS}
            found |= {"disks": [Path(disk).name.partition("-")[0] for disk in found["disks"]]}
            found |= {"tables": [f"table {line}" for line in found["tables"]]}
        else:
            found = there(racks[on])
        assert found == {
            "machines": [names.domain(site.stage, name)],
            "networks": [names.network(site.stage, card) for card in ("control", "mirror")],
            "pools": [site.stage],
            "disks": disks,
            "tables": tables,
        }, f"on {on}"


def looked(site: Site) -> tuple[list[str], str, str]:
    """Return what a start or a restore of the machines that stay would change; and db1's host key, and its store."""
    at = ("stat", "--format=%i,%z", "/srv/files/notes/plan")
    with shells(site, "web1", "app1", "db1") as (web1, app1, db1):
        boots = [each.get("/proc/sys/kernel/random/boot_id").decode() for each in (web1, app1)]
        return [*boots, web1.run(at).text], db1.connection.host_key, db1.get("/srv/files/papers/plan").decode()


def test_one_of_three_vanishes_and_comes_back(site: Site, racks: dict[str, Computer]) -> None:
    gone, db1 = racks["rack1"], names.domain(site.stage, "db1")
    stays, old, plan = looked(site)
    assert plan == "a plan of papers\n"

    answers = site.run("understudy", "host", "lost", "rack1", "-s", site.stage, "--yes", code=1)
    assert "host rack1: it answers, and so does its libvirt" in answers

    gone.unplug()
    given_up = site.run("understudy", "host", "lost", "rack1", "-s", site.stage, "--yes")
    assert "lost with it: db1" in given_up
    assert "store papers: its data was on db1; filled anew from " in given_up
    lock = yaml.safe_load((site.directory / f"Placement.{site.stage}.lock.yaml").read_text())
    on = lock["machines"]["db1"]["host"]
    assert on != "rack1"

    built = site.pulumi("up", site.stage)
    assert "rack1 is lost still" in built
    new = looked(site)
    assert (new[0], new[2]) == (stays, plan), "it was filled from the same backup, and the others stayed"
    assert new[1] != old, "whatever has the old one is refused"
    assert db1 in (on_host(site.stage) if on == "here" else there(racks[on]))["machines"]
    each_reaches_each(site)

    gone.plug_in()
    assert there(gone)["machines"] == [db1], "it never noticed"
    swept = site.pulumi("up", site.stage, "--expect-no-changes")
    assert f"removed machine {db1} on rack1: it was lost, and is back" in swept
    assert "rack1 has nothing of" in swept
    assert left_on(gone) == []
    assert looked(site) == new
    assert "lost:" not in (site.directory / f"Placement.{site.stage}.lock.yaml").read_text()

    site.pulumi("destroy", site.stage)
    assert is_gone(site.stage)
    assert left_on(racks["rack2"]) == []


def left_on(rack: Computer) -> list[str]:
    """Return what another computer has still of any stack: machines, disks, and filters."""
    found = there(rack)
    return [*found["machines"], *found["disks"], *found["tables"]]
