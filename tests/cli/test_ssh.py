"""`understudy ssh`: with the state's own key, to the machine with the state's own host key, and to no other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import ssh
from cli.__main__ import main
from cli.pulumi_state import PulumiState
from model.connection import Connection
from model.errors import UnderstudyError
from model.way_in import machine_names, way_in
from tests.doubles.pulumi import wait_until
from tests.doubles.sshd import Machine, keypair

ROOT = Path(__file__).parents[2]
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}


def state(connection: Connection, private_key: str, kind: str = "Boot") -> dict[str, Any]:
    boot = {
        "urn": f"urn:pulumi:stage::understudy::understudy:components:Machine$understudy:index:{kind}::db1",
        "type": f"understudy:index:{kind}",
        "outputs": {
            "connection": {**connection.values(), "port": float(connection.port)},
            "private_key": {**SECRET, "plaintext": json.dumps(private_key)},
        },
    }
    return {"version": 3, "deployment": {"resources": [{"urn": "urn::x", "type": "pulumi:pulumi:Stack"}, boot]}}


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine("db1") as machine:
        yield machine


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    """Let Pulumi export a stage with this machine."""
    exported = state(machine.connection, machine.private_key)
    monkeypatch.setattr(PulumiState, "__enter__", lambda self: self)
    monkeypatch.setattr(PulumiState, "__exit__", lambda self, *_: None)
    monkeypatch.setattr(PulumiState, "exported", exported)


def test_a_command_runs_on_the_machine_and_its_code_comes_back(
    exports: None, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["sh", "-c", 'printf "%s|" "$@"; exit 7', "sh", "a b", "$HOME", "'"]
    assert main(["ssh", "-C", str(project), "db1", "--", *words]) == 7
    assert capfd.readouterr().out == "a b|$HOME|'|"


def test_another_host_key_is_refused(
    exports: None, project: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    other = Connection(name="db1", address="127.0.0.1", port=machine.port, host_key=keypair()[1])
    monkeypatch.setattr(PulumiState, "exported", state(other, machine.private_key))
    assert main(["ssh", "-C", str(project), "db1", "true"]) == 255
    assert "Host key verification failed" in capfd.readouterr().err


def test_no_key_is_left_behind(exports: None, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    assert main(["ssh", "-C", str(project), "db1", "true"]) == 0
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_no_key_is_left_behind_where_the_terminal_is_closed(
    number: signal.Signals, exports: None, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())

    def close() -> None:
        wait_until(lambda: set(tmp_path.iterdir()) != before)
        os.kill(os.getpid(), number)

    closing = threading.Thread(target=close)
    closing.start()
    with pytest.raises(SystemExit) as left:
        main(["ssh", "-C", str(project), "db1", "sleep", "60"])
    closing.join()
    assert left.value.code == 128 + number
    assert set(tmp_path.iterdir()) == before


def test_a_machine_that_is_not_there() -> None:
    exported = state(Connection(name="db1", address="198.18.0.10"), "key")
    with pytest.raises(UnderstudyError, match=r'no machine db2 .*one of db1; did you mean "db1"'):
        way_in(exported, "stage", "db2")
    with pytest.raises(UnderstudyError, match="pulumi up -s stage"):
        way_in({"deployment": {}}, "stage", "db1")


def test_a_machine_that_was_there_before_us_is_reached_as_its_services_are() -> None:
    connection = Connection(name="lb", address="lb.example", user="admin", sudo=True, jump="gate")
    inputs = {"connection": connection.values(), "private_key": ""}
    service = {"urn": "urn::understudy:index:Service::lb:web", "type": "understudy:index:Service", "inputs": inputs}
    exported = state(Connection(name="db1", address="198.18.0.10"), "key")
    exported["deployment"]["resources"].append(service)
    assert way_in(exported, "prod", "lb") == (connection, "")
    assert machine_names(exported) == ("db1", "lb")


def test_a_rented_machine_is_reached_where_it_is_by_now() -> None:
    """Where an address is new the state has it among the inputs; the outputs stay what they were when it was made."""
    exported = state(Connection(name="db1", address="203.0.113.7"), "key", "FirstContact")
    now = Connection(name="db1", address="203.0.113.8")
    exported["deployment"]["resources"][-1]["inputs"] = {"connection": now.values()}
    assert way_in(exported, "stage", "db1") == (now, "key")


def test_the_command_line() -> None:
    connection = Connection(name="db1", address="198.18.0.10", user="admin", jump="gate", host_key="ssh-ed25519 AAAA")
    assert ssh.ssh_command(connection, Path("/k"), Path("/h"), ["ls", "a b"]) == [
        *("ssh", "-i", "/k", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", "ForwardAgent=no"),
        *("-o", "UserKnownHostsFile=/h", "-o", "GlobalKnownHostsFile=/dev/null", "-o", "UpdateHostKeys=no"),
        *("-o", "ProxyJump=gate", "-p", "22", "-l", "admin", "--", "198.18.0.10", "ls 'a b'"),
    ]
    assert ssh.ssh_command(connection, Path("/k"), None, [])[-1] == "198.18.0.10"
    own = ssh.ssh_command(connection, None, None, [])
    assert "-i" not in own
    assert "IdentitiesOnly=yes" not in own


def test_a_stack_that_pulumi_does_not_know(project: Path, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    command = [sys.executable, "-m", "cli", "ssh", "-s", "stage", "--cwd", str(project), "db1"]
    variables = {"PULUMI_BACKEND_URL": f"file://{tmp_path / 'state'}", "PULUMI_CONFIG_PASSPHRASE": "x"}

    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "no stack named" in done.stderr
