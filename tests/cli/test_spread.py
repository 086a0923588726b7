"""`understudy place` over the hosts of Capacity.yaml: what is fixed stays, what is new finds a place, told why."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from cli import preflight
from cli.__main__ import main
from cli.files import read_lock
from model.capacity import CapacityHost
from model.errors import UnderstudyError
from model.placed_hosts import Accelerator
from model.placement import PlacedHost, Placement
from model.probed import Guest, ProbedHost
from model.topology import Access
from provisioners import this_computer
from tests.cli.test_place import IMAGE, ROOMY

ROOT = Path(__file__).parents[2]
KVM = Accelerator(kind="kvm", reason="a guest started in 0.5 s under /dev/kvm, and took 4.0 s without")
CAPACITY = """\
hosts:
  here: {}
  desk: {host: desk.example, user: admin, sudo: true}
"""
Found = dict[str, ProbedHost]


def large(name: str, **more: object) -> ProbedHost:
    host = ProbedHost(
        host=CapacityHost(name=name),
        architecture="x86_64",
        cores=8,
        memory_mib=32_000,
        free_memory_mib=30_000,
        disk_mib=500_000,
        free_disk_mib=400_000,
        libvirt="9.0.0",
        hypervisor="7.2.22",
        accelerator=KVM,
    )
    return replace(host, **more)  # type: ignore[arg-type]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Found:
    """What a probe finds; a test may change it. Each is asked for by its name."""
    monkeypatch.setattr(this_computer, "networks", tuple)
    monkeypatch.setattr(this_computer, "room", lambda: ROOMY)
    monkeypatch.setattr("provisioners.hypervisor.accelerator.choose", lambda kernel, say: KVM)
    monkeypatch.setattr("images.build.ensure", lambda say: IMAGE)
    hosts = {name: large(name) for name in ("here", "desk", "rack")}

    def probe(directory: Path, asked: Collection[CapacityHost]) -> tuple[ProbedHost, ...]:
        return tuple(
            replace(hosts[host.name], host=host) if not host.is_cloud else ProbedHost(host=host, architecture="x86_64")
            for host in asked
        )

    monkeypatch.setattr("cli.spread.probe", probe)
    return hosts


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The sample project with all machines placed over two hosts; the backups are left out."""
    for name in ("Pulumi.yaml", "Pulumi.prod.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("services", "prices"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "Pulumi.stage.yaml").write_text(
        "config:\n  understudy:mirror: prod\n  understudy:capacity: hosts\n  understudy:seed: empty\n"
    )
    (tmp_path / "Capacity.yaml").write_text(CAPACITY)
    return tmp_path


def place(project: Path, *more: str) -> int:
    return main(["place", "-s", "stage", "-C", str(project), *more])


def lock(project: Path) -> Placement:
    placement = read_lock(project, "stage")
    assert placement is not None
    return placement


def where(project: Path) -> dict[str, str]:
    return {machine.name: machine.host for machine in lock(project).machines}


def test_a_primary_and_its_replica_are_on_two_hosts(
    project: Path, found: Found, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place(project) == 0
    assert {where(project)["db1"], where(project)["db2"]} == {"here", "desk"}
    desk = lock(project).host("desk")
    assert desk is not None
    assert desk.access == Access(host="desk.example", user="admin", sudo=True)
    assert (desk.accelerator, desk.architecture) == (KVM, "x86_64")
    said = capsys.readouterr()
    assert "when any one host dies, the others can take its load" in said.err
    assert "proven: no placement is better" in said.err
    assert re.search(r"db\d: on desk, reached at 198\.", said.out)


def test_nothing_missing_asks_no_host(project: Path, found: Found, capsys: pytest.CaptureFixture[str]) -> None:
    assert place(project) == 0
    before = (project / "Placement.stage.lock.yaml").read_text()
    found.clear()  # whoever is asked now is not there
    assert place(project) == 0
    assert "nothing is missing" in capsys.readouterr().out
    assert (project / "Placement.stage.lock.yaml").read_text() == before


def test_a_new_machine_moves_no_other(project: Path, found: Found) -> None:
    assert place(project) == 0
    before = where(project)
    text = (project / "Pulumi.prod.yaml").read_text()
    new = "    app3:\n      address: 10.20.0.23\n      vcpus: 1\n      memory: 512MiB\n    db1:\n"
    (project / "Pulumi.prod.yaml").write_text(text.replace("    db1:\n", new, 1))
    assert place(project) == 0
    assert where(project).items() >= before.items()
    assert where(project)["app3"] in ("here", "desk")


def test_its_own_machines_do_not_stand_in_the_way(project: Path, found: Found) -> None:
    assert place(project) == 0
    before = where(project)
    for name in ("here", "desk"):  # all machines run, and have taken all that is free
        guests = tuple(
            Guest(name=f"stage-{machine}", running=True, vcpus=2, memory_mib=1024, resident_mib=1024)
            for machine, host in before.items()
            if host == name
        )
        found[name] = large(name, free_memory_mib=6000, guests=guests)
    assert place(project, "--rebalance") == 0
    assert where(project) == before


def test_a_host_that_is_off_for_a_while_is_no_reason_to_build_its_machines_twice(
    project: Path, found: Found, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place(project) == 0
    before = (project / "Placement.stage.lock.yaml").read_text()
    found["desk"] = large("desk", why_not="it runs on its battery", todo="Plug it in.")
    assert place(project, "--rebalance") == 1
    said = capsys.readouterr().err
    assert "host desk: it runs on its battery; " in said
    assert "Plug it in." in said
    assert (project / "Placement.stage.lock.yaml").read_text() == before
    assert place(project, "--again") == 0
    assert set(where(project).values()) == {"here"}


def test_what_does_not_fit_is_told_for_each_host(
    project: Path, found: Found, capsys: pytest.CaptureFixture[str]
) -> None:
    found["here"] = large("here", free_memory_mib=5000)
    found["desk"] = large("desk", why_not="it has no libvirt", todo="Type: apt-get install libvirt")
    assert place(project) == 1
    said = capsys.readouterr().err
    assert "no place for" in said
    assert "MiB short" in said
    assert "to fix it: here: free" in said
    assert "desk: out: it has no libvirt" in said
    assert not (project / "Placement.stage.lock.yaml").exists()


def test_explain_writes_nothing_and_says_why(project: Path, found: Found, capsys: pytest.CaptureFixture[str]) -> None:
    assert place(project, "--explain") == 0
    out = capsys.readouterr().out
    assert not (project / "Placement.stage.lock.yaml").exists()
    for name in ("lb", "app1", "app2", "db1", "db2"):
        assert re.search(rf"^{name}: on (here|desk): ", out, re.MULTILINE)
    assert place(project) == 0
    capsys.readouterr()
    assert place(project, "--explain") == 0
    assert capsys.readouterr().out.count("it was there before") == 5


def test_this_computer_alone_is_explained_too(project: Path, found: Found, capsys: pytest.CaptureFixture[str]) -> None:
    text = (project / "Pulumi.stage.yaml").read_text()
    (project / "Pulumi.stage.yaml").write_text(text.replace("hosts", "here"))
    (project / "Capacity.yaml").unlink()
    found["here"] = large("here", cores=2, load=7.0)  # `place` sets no limit to processors here
    assert place(project, "--explain") == 0
    out = capsys.readouterr().out
    assert "db2: on here: there is one host only, so it is beside db1, its primary" in out
    assert "if here died, all would be gone" in out


def test_a_host_for_other_stacks_is_left_out(project: Path, found: Found, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "Capacity.yaml").write_text(CAPACITY.replace("sudo: true", "sudo: true, stacks: [dr]"))
    assert place(project) == 0
    assert set(where(project).values()) == {"here"}
    (project / "Capacity.yaml").write_text("hosts: {desk: {host: desk.example, stacks: [dr]}}\n")
    assert place(project, "--again") == 1
    assert "no host for stack stage" in capsys.readouterr().err


def test_a_host_that_is_listed_no_more_loses_its_machines(project: Path, found: Found) -> None:
    assert place(project) == 0
    (project / "Capacity.yaml").write_text("hosts: {here: {}, rack: {host: rack.example}}\n")
    before = where(project)
    assert place(project) == 0
    assert {name: host for name, host in where(project).items() if before[name] == "here"} == {
        name: "here" for name, host in before.items() if host == "here"
    }
    assert "desk" not in where(project).values()


def test_back_on_this_computer_alone(project: Path, found: Found) -> None:
    assert place(project) == 0
    text = (project / "Pulumi.stage.yaml").read_text()
    (project / "Pulumi.stage.yaml").write_text(text.replace("hosts", "here"))
    assert place(project) == 0
    assert set(where(project).values()) == {"here"}
    assert (project / "Placement.stage.lock.yaml").read_text().count("version: 1") == 1


def test_without_the_file_that_lists_hosts(project: Path, found: Found, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "Capacity.yaml").unlink()
    assert place(project) == 1
    assert "`hosts`, but no Capacity.yaml" in capsys.readouterr().err


def test_a_computer_that_the_others_cannot_find_is_told(
    project: Path, found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines on several computers are one network, for which each must know the others' addresses."""
    assert place(project) == 0
    with pytest.raises(
        UnderstudyError, match=r"Capacity\.yaml: hosts\.desk\.address: nothing; wanted .* at which here reach desk"
    ):
        preflight._prepare(project, "stage", "preview", None)
    own = next(address for address in this_computer.addresses() if address.is_loopback)
    capacity = project / "Capacity.yaml"
    capacity.write_text(capacity.read_text().replace("desk.example,", f"desk.example, address: {own},"))
    preflight._prepare(project, "stage", "preview", None)
    assert (lock(project).address, lock(project).hosts[0].address) == (own, own), "the way there says which is its own"
    monkeypatch.setattr(this_computer, "way_towards", lambda address: None)
    preflight._prepare(project, "stage", "preview", None)
    assert lock(project).address == own, "while the other one is off, it is what it was"
    capacity.write_text(capacity.read_text().replace("here: {}", "here: {address: 192.0.2.7}"))
    assert place(project) == 0
    assert lock(project).address == IPv4Address("192.0.2.7")


def test_on_one_computer_addresses_are_nobodys_business(project: Path, found: Found) -> None:
    (project / "Capacity.yaml").write_text("hosts: {desk: {host: 192.0.2.2}, here: {address: 192.0.2.1, stacks: [dr]}}")
    assert place(project) == 0
    assert (lock(project).address, lock(project).hosts[0].address) == (None, None)


def rented(budget: int) -> str:
    return f"hosts: {{here: {{}}, rented: {{kind: aws, region: eu-central-1, budget_per_month: {budget}}}}}\n"


def test_what_is_left_over_is_rented_within_the_budget(
    project: Path, found: Found, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "Capacity.yaml").write_text(rented(100))
    assert place(project) == 0
    assert set(where(project).values()) == {"here", "rented"}  # a replica is never beside its primary
    (away,) = [machine for machine in lock(project).machines if machine.host == "rented"]
    assert away.name in ("db1", "db2")
    assert away.instance_type.startswith("t3.")
    assert lock(project).host("rented") == PlacedHost(name="rented", kind="aws", region="eu-central-1")
    assert re.search(r"rented: about \d+\.\d\d a month of 100\.00", capsys.readouterr().err)
    way = this_computer.way_towards(IPv4Address("192.0.2.1"))
    assert lock(project).address == (way.own if way else None), "the others are spoken to from there"


def test_what_is_rented_is_looked_at_before_anything_is_made(project: Path, found: Found) -> None:
    (project / "Capacity.yaml").write_text(rented(100).replace("here: {}, ", ""))
    assert place(project) == 0
    with pytest.raises(UnderstudyError, match=r"cloud\.ssh_from: nothing"):
        preflight._prepare(project, "stage", "preview", None)
    stage = project / "Pulumi.stage.yaml"
    stage.write_text(
        stage.read_text().replace("config:", "config:\n  understudy:cloud: {ssh_from: [203.0.113.7/32]}", 1)
    )
    preflight._prepare(project, "stage", "preview", None)
    (project / "Capacity.yaml").write_text(rented(1).replace("here: {}, ", ""))
    with pytest.raises(UnderstudyError, match=r"at most 1\.00, the budget of rented"):
        preflight._prepare(project, "stage", "preview", None)


def test_beyond_the_budget_nothing_is_rented(project: Path, found: Found, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "Capacity.yaml").write_text(rented(1))
    assert place(project) == 1
    said = capsys.readouterr().err
    assert re.search(r"t3\.\w+ costs \d+\.\d\d a month, 1\.00 of its budget are left", said)
    assert "raise its budget_per_month by" in said
    assert not (project / "Placement.stage.lock.yaml").exists()


def test_where_all_is_rented_no_image_is_made_here(
    project: Path, found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("nothing is built here")

    monkeypatch.setattr("images.build.ensure", never)
    monkeypatch.setattr("provisioners.hypervisor.accelerator.choose", never)
    (project / "Capacity.yaml").write_text(
        "hosts: {one: {kind: aws, region: eu-central-1, budget_per_month: 300},"
        " two: {kind: aws, region: eu-west-1, budget_per_month: 300}}\n"
    )
    assert place(project) == 0
    assert set(where(project).values()) <= {"one", "two"}
    placed = lock(project)
    assert (placed.image, placed.accelerator.reason, placed.needs_image) == ("", "no machine is built here", False)
    assert place(project) == 0
    assert lock(project) == placed
