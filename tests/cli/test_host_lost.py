"""`understudy host lost` and `back`, with Pulumi's real engine: what it forgets, what it keeps, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from cli.__main__ import main
from cli.files import read_lock, write_lock
from cli.host import lost
from cli.pulumi_state import PulumiState
from model.capacity import CapacityHost
from model.errors import UnderstudyError
from model.host_uri import host_uri
from model.placement import Accelerator, PlacedHost, PlacedMachine, Placement
from model.probed import ProbedHost
from model.topology import Access
from provisioners import this_computer
from provisioners.outcome import Unreachable
from provisioners.shell import close_all
from tests.cli.test_place import IMAGE, ROOMY
from tests.cli.test_spread import large
from tests.doubles.sshd import Machine, free_port
from tests.model.test_lost import PIN, Program

ROOT = Path(__file__).parents[2]
TCG = Accelerator(kind="tcg", reason="tests")
NETWORK = IPv4Network("198.18.7.0/24")
RACK = PlacedHost(name="rack", access=Access(host="127.0.0.1", port=free_port()), accelerator=TCG)
PLACES = {"db1": "rack", "lb": "rack", "app1": "here", "app2": "here", "db2": "here"}
CAPACITY = f"hosts:\n  here: {{}}\n  rack: {{host: 127.0.0.1, port: {RACK.connection.port}}}\n"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> dict[str, ProbedHost]:
    """What a probe finds: this computer; a test may change it, and everything else is out."""
    monkeypatch.setattr(this_computer, "networks", tuple)
    monkeypatch.setattr(this_computer, "room", lambda: ROOMY)
    monkeypatch.setattr("images.build.ensure", lambda say: IMAGE)
    monkeypatch.setattr(lost, "_PATIENCE_SECONDS", 0.2)
    found = {"here": large("here")}

    def probe(directory: Path, asked: Collection[CapacityHost]) -> tuple[ProbedHost, ...]:
        return tuple(replace(found[host.name], host=host) for host in asked)

    monkeypatch.setattr("cli.spread.probe", probe)
    return found


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's stage, with its database and its load balancer on another computer that does not answer."""
    whole = tmp_path_factory.mktemp("begun")
    directory = whole / "project"
    directory.mkdir()
    (whole / "state").mkdir()
    (directory / "Pulumi.yaml").write_text("name: understudy\nruntime: python\n")  # plugins are found on PATH
    shutil.copy(ROOT / "Pulumi.prod.yaml", directory)
    for name in ("services", "prices"):
        shutil.copytree(ROOT / name, directory / name)
    (directory / "Capacity.yaml").write_text(CAPACITY)
    pulumi(directory, "stack", "init", "stage", "--no-select")
    (directory / "Pulumi.stage.yaml").write_text("config:\n  understudy:mirror: prod\n  understudy:capacity: hosts\n")
    build(directory)
    return whole


@pytest.fixture
def project(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: dict[str, ProbedHost]
) -> Iterator[Path]:
    """A copy of it."""
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    for key, value in variables(tmp_path).items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)
    yield tmp_path / "project"
    close_all()


def variables(whole: Path) -> dict[str, str]:
    return {
        "PULUMI_BACKEND_URL": f"file://{whole}/state",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_HOME": f"{whole}/home",
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        "HOME": f"{whole}/home",
        "PATH": f"{ROOT / 'provisioners/provider'}:{os.environ['PATH']}",
    }


def pulumi(directory: Path, *arguments: str, given: str | None = None) -> str:
    command = ["pulumi", "--cwd", str(directory), "--non-interactive", *arguments]
    own = {**os.environ, **variables(directory.parent)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, input=given, env=own)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def build(directory: Path, places: Mapping[str, str] = PLACES) -> None:
    """Let the state and the lock file have a stage on these computers."""
    made = Program(rack=host_uri(RACK))
    grounds = {host: made.ground(host) for host in sorted({*places.values()})}
    controller = made.add("understudy:index:SshKeypair", "controller", inputs={"comment": "understudy stage"})
    before: list[str] = []
    for name, host in places.items():
        domain, boot = made.machine(name, host, grounds[host], controller)
        before.append(made.service("sysctl", name, host, domain, [boot, *before]))
    whole = json.loads(pulumi(directory, "stack", "export", "--stack", "stage"))
    whole["deployment"]["resources"] = made.resources
    pulumi(directory, "stack", "import", "--stack", "stage", given=json.dumps(whole))
    machines = tuple(
        PlacedMachine(name=name, host=host, control_address=NETWORK[10 + at])
        for at, (name, host) in enumerate(sorted(places.items()))
    )
    found = Placement(
        control_network=NETWORK, accelerator=TCG, image="0123456789ab", machines=machines, seeds=(PIN,), hosts=(RACK,)
    )
    write_lock(directory, "stage", found)


def host(project: Path, *arguments: str) -> int:
    return main(["host", *arguments, "-s", "stage", "-C", str(project)])


def names(project: Path) -> list[str]:
    """Return the resources that the state has, without components."""
    kept = json.loads((project.parent / "state/.pulumi/stacks/understudy/stage.json").read_text())
    state = kept["checkpoint"]["latest"]
    return [
        each["urn"].rpartition("$")[2].rpartition(":")[2] for each in state.get("resources") or () if each.get("id")
    ]


def lock(project: Path) -> Placement:
    placement = read_lock(project, "stage")
    assert placement is not None
    return placement


def where(project: Path) -> dict[str, str]:
    return {machine.name: machine.host for machine in lock(project).machines}


def everything(project: Path) -> tuple[str, list[str]]:
    return (project / "Placement.stage.lock.yaml").read_text(), names(project)


def test_a_host_that_vanished_is_forgotten_and_its_machines_alone_are_placed_anew(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lock(project)
    assert host(project, "lost", "rack", "--yes") == 0
    said = capsys.readouterr().out
    assert "rack does not answer: no SSH at 127.0.0.1" in said
    assert "lost with it: db1, lb\n" in said
    assert (
        "  store shop: its data was on db1; filled anew from 20261123-020000F of 2026-11-23 02:00 UTC; db2, which "
        in said
    )
    assert "kept as they are: app1, app2, db2\n" in said
    assert "db1: on this computer" in said
    assert where(project) == dict.fromkeys(PLACES, "here")
    assert [each for each in lock(project).machines if each.name in ("app1", "app2", "db2")] == [
        each for each in before.machines if each.host == "here"
    ]
    assert (lock(project).hosts, lock(project).lost, lock(project).seeds) == ((), (RACK,), (PIN,))
    kept = names(project)
    assert not [name for name in kept if name.startswith(("db1", "lb")) or name.endswith("-rack")]
    assert {"app1", "app2", "db2", "libvirt", "fence", "controller", "app1-host"} <= set(kept)
    assert host(project, "lost", "rack", "--yes") == 0, "a second time there is nothing to do"
    assert names(project) == kept


def test_a_stack_whose_only_host_vanished_can_be_destroyed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.hosts.swept", lambda *_, **__: [])  # this computer may have a stage of that name
    build(project, dict.fromkeys(PLACES, "rack"))
    destroy = ("destroy", "--stack", "stage", "--yes", "--skip-preview")
    assert host(project, "lost", "rack", "--yes") == 0
    assert names(project) == ["controller"]
    capsys.readouterr()
    assert main(["preflight", "--stack", "stage", "--cwd", str(project), "destroy"]) == 0
    said = capsys.readouterr().err
    assert "rack is lost still (no SSH at 127.0.0.1" in said
    assert "what stage had there (machines stage-…, /var/lib/understudy/stacks/stage) stays" in said
    pulumi(project, *destroy)
    assert names(project) == []
    assert lock(project).lost == (RACK,), "it is swept before it is used again"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rick", "host rick: no host of stack stage; wanted one of rack"),
        ("here", "host here: this computer; wanted one of rack"),
    ],
)
def test_what_is_not_the_stacks_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    before = everything(project)
    assert host(project, "lost", name, "--yes") == 1
    assert words in capsys.readouterr().err
    assert host(project, "lost", "rack") == 1, "there is nobody to ask"
    assert "nothing was changed: nobody to ask; wanted --yes" in capsys.readouterr().err
    assert everything(project) == before


def test_a_host_that_answers_is_not_given_up(project: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with Machine("rack") as machine:
        machine.known_to_user(tmp_path / "home")
        machine.program("virsh", "exit 1")
        answering = replace(RACK, access=Access(host="127.0.0.1", port=machine.port))
        write_lock(project, "stage", replace(lock(project), hosts=(answering,)))
        before = everything(project)
        assert host(project, "lost", "rack") == 1
        assert "rack does not answer: `virsh" in capsys.readouterr().out, "SSH alone is not enough"
        machine.program("virsh", "echo 9.0.0")
        assert host(project, "lost", "rack", "--yes") == 1
        said = capsys.readouterr().err
        assert "host rack: it answers, and so does its libvirt" in said
        assert "To move its machines while it is there: " in said
        assert everything(project) == before


def test_killed_before_the_state_is_written_it_is_finished_by_the_next(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = names(project)
    with monkeypatch.context() as killed:
        killed.setattr(PulumiState, "replace", lambda *_: (_ for _ in ()).throw(SystemExit(137)))
        with pytest.raises(SystemExit):
            host(project, "lost", "rack", "--yes")
    assert names(project) == before
    assert set(where(project)) == {"app1", "app2", "db2"}
    capsys.readouterr()
    assert host(project, "lost", "rack", "--yes") == 0
    assert "lost with it: db1, lb\n" in capsys.readouterr().out
    assert where(project) == dict.fromkeys(PLACES, "here")
    assert "rack" not in json.dumps(names(project))


def test_where_there_is_no_room_it_is_given_up_all_the_same(
    project: Path, here: dict[str, ProbedHost], capsys: pytest.CaptureFixture[str]
) -> None:
    here["here"] = large("here", free_memory_mib=3000)
    assert host(project, "lost", "rack", "--yes") == 1
    said = capsys.readouterr().err
    assert "rack is given up, and its machines have no place yet" in said
    assert "no place for" in said
    assert "rack: out: it is lost;" in said
    assert set(where(project)) == {"app1", "app2", "db2"}
    assert not [name for name in names(project) if name.endswith("-rack")]
    here["here"] = large("here")
    assert main(["place", "-s", "stage", "-C", str(project)]) == 0
    assert where(project) == dict.fromkeys(PLACES, "here")
    assert lock(project).lost == (RACK,)


def as_prod(project: Path) -> str:
    """Return what makes the stage a stack that mirrors nothing."""
    return (project / "Pulumi.prod.yaml").read_text() + "  understudy:gate: {evidence: rehearsals}\n"


def test_the_last_copy_of_what_is_no_copy_is_not_thrown_away(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "Pulumi.stage.yaml").write_text(as_prod(project))
    before = everything(project)
    assert host(project, "lost", "rack", "--yes") == 1
    said = capsys.readouterr().err
    assert "store shop: its data was on db1; " in said
    assert "Take a backup of that replica first. Then, to go on all the same: --force." in said
    assert everything(project) == before


class Returned:
    """Stands in for the lost host: what lies there, and whether it answers."""

    def __init__(self, *there: str) -> None:
        self.there, self.answers, self.asked = list(there), True, list[Any]()

    def door(self, *_: Any) -> Returned:
        return self

    def call(self, name: str, stack: str, owner: str, known: Any, act: bool, *, say: Any) -> list[str]:
        if not self.answers:
            raise Unreachable(where="host rack", found="no SSH at 127.0.0.1")
        self.asked.append((name, stack, known, act))
        found = list(self.there)
        if act:
            self.there = []
        return found


NOTHING = {"domains": [], "networks": [], "pools": [], "volumes": [], "fenced": False}


@pytest.fixture
def returned(project: Path, monkeypatch: pytest.MonkeyPatch) -> Returned:
    placement = lock(project)
    machines = tuple(replace(machine, host="here") for machine in placement.machines)
    write_lock(project, "stage", replace(placement, machines=machines, hosts=(), lost=(RACK,)))
    kept = project.parent / "state/.pulumi/stacks/understudy/stage.json"
    state = json.loads(kept.read_text())
    state["checkpoint"]["latest"]["resources"] = []
    kept.write_text(json.dumps(state))
    double = Returned("machine stage-db1")
    monkeypatch.setattr("cli.host._returned.There", double.door)
    monkeypatch.setattr("cli.host.back.There", double.door)
    return double


def test_a_host_that_is_back_is_swept_before_it_is_chosen(
    project: Path, returned: Returned, here: dict[str, ProbedHost], capsys: pytest.CaptureFixture[str]
) -> None:
    here |= {"rack": large("rack"), "here": large("here", free_memory_mib=6000)}
    returned.answers = False
    assert main(["place", "--again", "-s", "stage", "-C", str(project)]) == 1
    said = capsys.readouterr().err
    assert "rack is lost still (no SSH at 127.0.0.1): what stage had there" in said
    assert "no place for" in said, "it would have the room"
    returned.answers = True
    assert main(["place", "--rebalance", "-s", "stage", "-C", str(project)]) == 0
    said = capsys.readouterr().err
    assert "removed machine stage-db1 on rack: it was lost, and is back" in said
    assert "rack has nothing of stage any more, and may be used again" in said
    assert returned.asked == [("sweep", "stage", NOTHING, True)]
    assert lock(project).lost == ()
    assert "rack" in where(project).values()


def test_each_update_looks_for_it_and_no_preview(
    project: Path, returned: Returned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.hosts.swept", lambda *_, **__: [])
    assert main(["preflight", "--stack", "stage", "--cwd", str(project), "preview"]) == 0
    assert returned.asked == []
    assert main(["preflight", "--stack", "stage", "--cwd", str(project), "destroy"]) == 0
    assert returned.asked == [("sweep", "stage", NOTHING, True)]
    assert lock(project).lost == ()


def test_of_a_stack_that_is_no_copy_it_is_only_named_and_taken_away_on_request(
    project: Path, returned: Returned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.hosts.swept", lambda *_, **__: [])
    (project / "Pulumi.stage.yaml").write_text(as_prod(project))
    assert main(["preflight", "--stack", "stage", "--cwd", str(project), "destroy"]) == 0
    assert (
        "rack answers again, and has still machine stage-db1: ./run understudy host back rack -s stage"
        in capsys.readouterr().err
    )
    assert lock(project).lost == (RACK,)
    assert host(project, "back", "rack") == 1
    assert returned.there == ["machine stage-db1"]
    assert host(project, "back", "rack", "--yes") == 0
    assert "removed machine stage-db1\nrack is lost no more, and may be used again" in capsys.readouterr().out
    assert (returned.there, lock(project).lost) == ([], ())
    assert host(project, "back", "rack", "--yes") == 1
    assert "a host that is lost: there is none" in capsys.readouterr().err


def test_a_host_that_is_listed_no_more_is_not_looked_for(
    project: Path, returned: Returned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.hosts.swept", lambda *_, **__: [])
    (project / "Capacity.yaml").write_text("hosts:\n  here: {}\n")
    assert main(["preflight", "--stack", "stage", "--cwd", str(project), "destroy"]) == 0
    assert "rack is lost, and no longer in Capacity.yaml: what stage had there" in capsys.readouterr().err
    assert (returned.asked, lock(project).lost) == ([], ())


def test_what_goes_wrong_there_stops_no_update(
    project: Path, returned: Returned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.hosts.swept", lambda *_, **__: [])
    monkeypatch.setattr(returned, "call", lambda *_, **__: (_ for _ in ()).throw(UnderstudyError(where="a", found="b")))
    assert main(["preflight", "--stack", "stage", "--cwd", str(project), "destroy"]) == 0
    assert "rack is lost still (b)" in capsys.readouterr().err
    assert lock(project).lost == (RACK,)
