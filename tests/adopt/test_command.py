"""The command itself, over real SSH connections."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cli.adopt
from cli.__main__ import main
from components.files import service_names, stack_files
from model.configuration import read_environment
from model.topology import Topology
from provisioners.facts.ask import read_host
from provisioners.shell import close_all
from tests.adopt.comparing import comparable
from tests.adopt.machines import AnsweringMachine
from tests.adopt.simulated import Simulated
from tests.adopt.test_round_trip import FILES, PROJECT, UNITS
from tests.doubles.sshd import keypair
from tests.facts.read_only import is_read_only, noted

PRIVATE, PUBLIC = keypair()
NAMES = ("lb", "app1", "db1", "db2")


def sample() -> Topology:
    """Return the sample company's prod without app2, to start fewer machines."""
    topology = read_environment(stack_files(PROJECT), "prod", services=service_names(PROJECT)).topology
    machines = tuple(machine for machine in topology.machines if machine.name in NAMES)
    return replace(topology, machines=machines, pages=())


@pytest.fixture(scope="module")
def machines() -> Iterator[dict[str, AnsweringMachine]]:
    topology = sample()
    running = {}
    try:
        for number, machine in enumerate(topology.machines):
            simulated = Simulated(topology=topology, machine=machine, units=UNITS, files=FILES, control=10 + number)
            running[machine.name] = AnsweringMachine(simulated, PUBLIC)
            running[machine.name].start()
        yield running
    finally:
        for each in running.values():
            each.remove()
        close_all()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project without a prod."""
    shutil.copytree(PROJECT / "services", tmp_path / "project" / "services")
    shutil.copy(PROJECT / "Pulumi.yaml", tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def known_hosts(
    machines: dict[str, AnsweringMachine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The user's own known_hosts, with all machines in it."""
    close_all()
    folder = tmp_path / "home" / ".ssh"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "id_ed25519").write_text(PRIVATE)
    (folder / "id_ed25519").chmod(0o600)
    lines = [f"[127.0.0.1]:{machine.port} {machine.host_key}\n" for machine in machines.values()]
    (folder / "known_hosts").write_text("".join(lines))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(cli.adopt, "_PATIENCE_SECONDS", 1.0)
    yield folder / "known_hosts"
    close_all()


Adopt = Callable[..., int]


@pytest.fixture
def adopt(project: Path, known_hosts: Path, machines: dict[str, AnsweringMachine]) -> Adopt:
    """Run `understudy adopt` on machines by their names, with further arguments."""

    def run(*names: str, more: tuple[str, ...] = ()) -> int:
        hosts = [f"127.0.0.1:{machines[name].port}" if name in machines else name for name in names]
        return main(["adopt", "-C", str(project), *hosts, *more])

    return run


def test_machines_become_the_file(
    adopt: Adopt, project: Path, machines: dict[str, AnsweringMachine], capsys: pytest.CaptureFixture[str]
) -> None:
    assert adopt(*reversed(NAMES), more=("--user", "admin", "--sudo")) == 0
    text = (project / "Pulumi.prod.yaml").read_text()
    assert text.startswith("# Written by `understudy adopt 127.0.0.1:")
    out = capsys.readouterr().out
    assert "Not in it: pages: no machine tells which pages must come." in out
    assert "1 open, each marked QUESTION in Pulumi.prod.yaml" in out
    assert "stores.shop.backup.path: pgBackRest keeps the backups in db1:/srv/pgbackrest." in out
    (project / "Pulumi.prod.yaml").write_text(text.replace('"?"', "samples/pgbackrest"))
    found = read_environment(stack_files(project), "prod", services=service_names(project)).topology
    assert comparable(found) == comparable(sample())
    access = found.machine("db1").existing
    assert access is not None
    assert (access.host, access.port, access.user, access.sudo) == ("127.0.0.1", machines["db1"].port, "admin", True)


def test_nothing_but_reading_reaches_a_machine(
    adopt: Adopt, machines: dict[str, AnsweringMachine], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = noted(monkeypatch)
    for more in (("--user", "admin", "--sudo"), ("--user", "admin"), ()):
        assert adopt(*NAMES, more=(*more, "--force")) == 0
    for machine in machines.values():
        commands = [argv for port, argv in told if port == machine.port]
        assert len(commands) > 30
        assert [argv for argv in commands if not is_read_only(argv)] == []
        assert {words[-1] for words in machine.commands()} == {"understudy-talk"}, "they go over one session"


def test_all_machines_are_read_at_once(adopt: Adopt, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(len(NAMES), timeout=60)

    def read_together(*arguments: Any) -> Any:
        together.wait()
        return read_host(*arguments)

    monkeypatch.setattr(cli.adopt, "read_host", read_together)
    assert adopt(*NAMES) == 0


def test_an_unknown_host_key_is_refused_with_what_to_type(
    adopt: Adopt,
    project: Path,
    known_hosts: Path,
    machines: dict[str, AnsweringMachine],
    capsys: pytest.CaptureFixture[str],
) -> None:
    port = machines["db1"].port
    lines = known_hosts.read_text().splitlines(keepends=True)
    known_hosts.write_text("".join(line for line in lines if f":{port} " not in line))
    before = len(machines["db1"].commands())
    assert adopt(*NAMES) == 1
    said = capsys.readouterr()
    assert "is not the one in your known_hosts" in said.err
    assert f"ssh -p {port} root@127.0.0.1" in said.err
    assert "fingerprint" in said.err
    assert "lb" in said.out
    assert "postgresql 15" in said.out
    assert not (project / "Pulumi.prod.yaml").exists()
    assert len(machines["db1"].commands()) == before


def test_a_changed_host_key_is_refused(
    adopt: Adopt, known_hosts: Path, machines: dict[str, AnsweringMachine], capsys: pytest.CaptureFixture[str]
) -> None:
    known_hosts.write_text(f"[127.0.0.1]:{machines['lb'].port} {keypair()[1]}\n")
    assert adopt("lb") == 1
    assert "is not the one in your known_hosts" in capsys.readouterr().err


def test_an_unreachable_machine_is_named_and_the_others_are_shown(
    adopt: Adopt, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert adopt("lb", "127.0.0.1:1", "app1") == 1
    said = capsys.readouterr()
    assert "no SSH at 127.0.0.1 port 1" in said.err
    assert "Pulumi.prod.yaml was not written: 1 of 3 could not be read." in said.err
    assert "127.0.0.1: lb; debian 12" in said.out
    assert "127.0.0.1: app1; debian 12" in said.out
    assert list(project.glob("*prod*")) == []


def test_a_key_that_is_not_let_in_is_told(adopt: Adopt, known_hosts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (known_hosts.parent / "id_ed25519").write_text(keypair()[0])
    assert adopt("lb") == 1
    assert "refuses root" in capsys.readouterr().err


def test_a_file_that_is_there_is_not_written_over(
    adopt: Adopt, project: Path, machines: dict[str, AnsweringMachine], capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / "Pulumi.prod.yaml"
    path.write_text("config: {}\n")
    before = len(machines["lb"].commands())
    assert adopt("lb") == 1
    assert "--force" in capsys.readouterr().err
    assert path.read_text() == "config: {}\n"
    assert len(machines["lb"].commands()) == before
    assert adopt("lb", more=("--output", "Pulumi.old.yaml")) == 0
    assert adopt("lb", more=("--force",)) == 0
    assert "haproxy: [lb]" in path.read_text()
    assert sorted(each.name for each in project.iterdir()) == [
        "Pulumi.old.yaml",
        "Pulumi.prod.yaml",
        "Pulumi.yaml",
        "services",
    ]


@pytest.mark.parametrize(
    ("host", "more", "said"),
    [
        ("db1;reboot", (), "no machine's address"),
        ("-oProxyCommand=x", (), "no machine's address"),
        ("db1:99999", (), "no machine's address"),
        ("a@b@c", (), "no machine's address"),
        ("db1", ("--user", "-l root"), "no machine's address"),
        ("db1", ("--jump", "a b"), "--jump"),
        ("db1", ("--output", "prod.yaml"), "Pulumi.STACK.yaml"),
        ("db1", ("--output", "Pulumi..yaml"), "Pulumi.STACK.yaml"),
        ("db1", ("--output", "../Pulumi.prod.yaml"), "Pulumi.STACK.yaml"),
    ],
)
def test_a_wrong_call_is_told(
    project: Path, host: str, more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["adopt", "-C", str(project), *more, "--", host]) == 1
    assert said in capsys.readouterr().err


def test_a_machine_is_reached_through_another(
    adopt: Adopt, project: Path, machines: dict[str, AnsweringMachine]
) -> None:
    assert adopt("db1", more=("--jump", f"admin@127.0.0.1:{machines['lb'].port}")) == 0
    assert f'jump: "admin@127.0.0.1:{machines["lb"].port}"' in (project / "Pulumi.prod.yaml").read_text()


def test_without_sudo_what_is_missing_is_asked(
    adopt: Adopt, project: Path, machines: dict[str, AnsweringMachine], capsys: pytest.CaptureFixture[str]
) -> None:
    machines["db2"].have("no-sudo")
    try:
        assert adopt("db2", more=("--user", "admin", "--sudo")) == 0
    finally:
        (machines["db2"].root / "etc" / "answers" / "no-sudo").unlink()
    text = (project / "Pulumi.prod.yaml").read_text()
    assert "# Could not be read: root's view: sudo: a password is required" in text
    assert "stores.postgresql.database: Which database do the services use?" in capsys.readouterr().out


def test_a_command_that_hangs_is_left(
    adopt: Adopt,
    project: Path,
    machines: dict[str, AnsweringMachine],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli.adopt, "SECONDS", 1.0)
    machines["app1"].have("slow")
    try:
        assert adopt("app1") == 0
    finally:
        (machines["app1"].root / "etc" / "answers" / "slow").unlink()
    text = (project / "Pulumi.prod.yaml").read_text()
    assert "# Could not be read: block devices: no answer within 1 s" in text
    assert "vcpus: 1" in text
