"""`understudy mirror` over real SSH connections: a prod given by address, and a stage out of Pulumi's state."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cli import mirror
from cli.__main__ import main
from cli.files import load_environment
from cli.pulumi_state import PulumiState
from components.site import read_services
from provisioners.shell import close_all
from tests.cli.test_ssh import state
from tests.doubles.sshd import Machine
from tests.facts.read_only import is_read_only, noted

ROOT = Path(__file__).parents[2]
_RECORD = """#!/bin/bash
printf '%s\\0' "$SSH_ORIGINAL_COMMAND" >>"/tmp/commands.$EUID"
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""
# The doubles share this host's network, where other tests run servers.
_SS = """#!/bin/bash
case $1 in
-tlnp) echo 'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=7,fd=3))' && cat /etc/listens ;;
esac
"""
_STAGE = "config:\n  understudy:mirror: prod\n"
SECRET = "zqxjkv"


@cache
def _installed() -> str:
    """This host's packages, as they were once: others may install some meanwhile."""
    return Path("/var/lib/dpkg/status").read_text()


class Recording(Machine):
    """Notes every command that reaches it; its own files are few, so that the tests are quick."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "ForceCommand /usr/sbin/record")

    def _seed(self, seed: Path) -> None:
        super()._seed(seed)
        (seed / "usr" / "sbin").mkdir()
        (seed / "usr" / "sbin" / "record").write_text(_RECORD)
        (seed / "usr" / "sbin" / "record").chmod(0o755)
        (seed / "usr" / "local" / "sbin").mkdir(parents=True)
        os.setxattr(seed / "usr" / "local", "trusted.overlay.opaque", b"y")  # this host's own is large
        (seed / "usr" / "local" / "sbin" / "ss").write_text(_SS)
        (seed / "usr" / "local" / "sbin" / "ss").chmod(0o755)
        (seed / "etc" / "listens").write_text("")
        (seed / "var" / "lib" / "dpkg").mkdir(parents=True)
        (seed / "var" / "lib" / "dpkg" / "status").write_text(_installed())
        (seed / "etc" / "app").mkdir()
        (seed / "etc" / "app" / "app.env").write_text(f"PASSWORD={SECRET}\n")

    def commands(self) -> list[list[str]]:
        files = (self.root / "tmp").glob("commands.*")
        return [shlex.split(line) for path in files for line in path.read_text().split("\0")[:-1]]


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Recording, Recording]]:
    with Recording("a") as prod, Recording("a") as stage:
        yield prod, stage
    close_all()


@pytest.fixture
def project(pair: tuple[Recording, Recording], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose prod is one machine that somebody else built, and whose stage Pulumi has built."""
    close_all()
    prod, stage = pair
    prod.known_to_user(tmp_path / "home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    exported = json.loads(json.dumps(state(stage.connection, stage.private_key)).replace("::db1", "::a"))
    monkeypatch.setattr(PulumiState, "__enter__", lambda self: self)
    monkeypatch.setattr(PulumiState, "__exit__", lambda self, *_: None)
    monkeypatch.setattr(PulumiState, "exported", exported)
    directory = tmp_path / "project"
    (directory / "services").mkdir(parents=True)
    (directory / "Pulumi.yaml").write_text("name: understudy\nruntime: python\n")
    (directory / "Pulumi.stage.yaml").write_text(_STAGE)
    describe(directory, prod.port)
    yield directory
    close_all()


def describe(directory: Path, port: int, **more: Any) -> None:
    access = ", ".join(f"{key}: {value}" for key, value in {"host": "127.0.0.1", "port": port, **more}.items())
    (directory / "Pulumi.prod.yaml").write_text(
        "config:\n  understudy:network: 10.77.0.0/24\n  understudy:domain: test.example\n  understudy:machines:\n"
        f"    a: {{address: 10.77.0.11, vcpus: 1, memory: 512MiB, existing: {{{access}}}}}\n"
    )


def record(directory: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["mirror", "-C", str(directory), "-s", "stage", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def unexcused(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["area"], each["key"]) for each in found["unexcused"]]


def test_two_that_are_alike(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The doubles have this computer's /etc, where other tests may be at work: what vanishes meanwhile cannot be read.
    tries = (record(project, capsys) for _ in range(5))
    found = next(each for each in tries if each["complete"])
    # Each double has its own port and keys, in files that no real machine has.
    assert unexcused(found) == [
        ("files", f"/etc/ssh/{name}") for name in ("double_authorized_keys", "double_host_key", "sshd_config.double")
    ]
    assert found["complete"]
    areas = found["machines"]["a"]["areas"]
    assert areas["packages"]["keys"] > 100
    assert areas["files"]["keys"] > 100
    assert areas["kernel settings"]["keys"] > 100
    assert 0.8 < found["faithful"] < 1


def test_each_made_difference_is_named_and_no_secret_is_shown(
    project: Path, pair: tuple[Recording, Recording], capsys: pytest.CaptureFixture[str]
) -> None:
    before = record(project, capsys)
    assert before["complete"], before
    etc = pair[1].root / "etc"
    (etc / "app" / "app.env").write_text(f"PASSWORD={SECRET}2\n")
    (etc / "issue.net").chmod(0o600)
    (etc / "hosts.allow").unlink()
    (etc / "mtab").unlink()
    (etc / "mtab").write_text("")
    (etc / "odd\x1b[31m name").write_text("x")
    (etc / "listens").write_text('LISTEN 0 9 0.0.0.0:8080 0.0.0.0:* users:(("nc",pid=9,fd=3))\n')
    status = pair[1].root / "var" / "lib" / "dpkg" / "status"
    status.write_text(status.read_text().replace("Version: 5.2.15", "Version: 5.2.16", 1))
    try:
        after = record(project, capsys)
        new = {tuple(each.items()) for each in after["unexcused"]} - {
            tuple(each.items()) for each in before["unexcused"]
        }
        found = {dict(each)["key"]: dict(each) for each in new}
        assert set(found) == {
            "/etc/app/app.env",
            "/etc/issue.net",
            "/etc/hosts.allow",
            "/etc/odd\\x1b[31m name",
            "bash",
            "/etc/listens",
            "tcp *:8080",
        }
        assert found["/etc/app/app.env"]["stage"].endswith("other content")
        assert found["/etc/issue.net"]["stage"] == "0600 root:root"
        assert found["/etc/hosts.allow"]["stage"] == "(not there)"
        assert found["/etc/odd\\x1b[31m name"]["prod"] == "(not there)"
        assert (found["tcp *:8080"]["prod"], found["tcp *:8080"]["stage"]) == ("(not there)", "nc")
        assert found["bash"]["prod"].startswith("5.2.15")
        assert found["bash"]["stage"].startswith("5.2.16")
        assert after["faithful"] < before["faithful"]
        assert "/etc/mtab" in {each["key"] for each in after["excused"]}
        assert main(["mirror", "-C", str(project), "--excused"]) == 0
        said = capsys.readouterr().out
        assert "files: /etc/mtab: prod a link to" in said
        assert "excused: the system itself writes it" in said
        assert SECRET not in said + json.dumps(after)
        items = "  - {area: packages, key: bash, reason: tried here first}\n  - {key: 'odd-*', reason: none}\n"
        (project / "mirror.yaml").write_text(f"excuses:\n{items}")
        excused = record(project, capsys)
        assert ("packages", "bash") not in unexcused(excused)
        assert [each["key"] for each in excused["idle_excuses"]] == ["odd-*"]
        assert excused["faithful"] > after["faithful"]
    finally:
        pair[1].stop()
        pair[1].start()


def test_nothing_but_reading_reaches_either(
    project: Path,
    pair: tuple[Recording, Recording],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = noted(monkeypatch)
    before = [len(machine.commands()) for machine in pair]
    record(project, capsys)
    for machine, sessions in zip(pair, before, strict=True):
        commands = [argv for port, argv in told if port == machine.port]
        assert len(commands) > 10
        assert [argv for argv in commands if not is_read_only(argv)] == []
        own = machine.commands()[sessions:]
        assert {words[-1] for words in own} == {"understudy-talk"}, "all of them go over one session"


def test_a_prod_that_does_not_answer_is_red(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mirror, "_PATIENCE_SECONDS", 0.5)
    describe(project, 1)
    assert main(["mirror", "-C", str(project)]) == 1
    said = capsys.readouterr().out
    assert "RED: prod could not be asked" in said
    assert "no SSH at 127.0.0.1 port 1" in said
    assert "faithful: 0.0000" in said
    found = record(project, capsys)
    assert (found["faithful"], found["complete"]) == (0.0, False)
    assert "no SSH" in found["machines"]["a"]["failed"]


def test_a_stage_that_was_not_built_is_red(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(PulumiState, "exported", {"deployment": {}})
    assert main(["mirror", "-C", str(project)]) == 1
    assert "stage could not be asked: stack stage: no machine a that it has built" in capsys.readouterr().out


def test_what_may_not_be_read_is_red(
    project: Path, pair: tuple[Recording, Recording], capsys: pytest.CaptureFixture[str]
) -> None:
    describe(project, pair[0].port, user="admin", sudo="false")
    found = record(project, capsys)
    assert not found["complete"]
    areas = found["machines"]["a"]["areas"]
    assert (areas["files"]["faithful"], areas["ports"]["faithful"]) == (0.0, 0.0)
    assert "could not be read, such as /etc/" in areas["files"]["unread"]
    assert "prod: admin is not root" in areas["ports"]["unread"]


def test_a_machine_that_gives_no_root_is_red(
    project: Path, pair: tuple[Recording, Recording], capsys: pytest.CaptureFixture[str]
) -> None:
    sudo = pair[0].root / "usr" / "bin" / "sudo"
    kept = sudo.read_text()
    sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    try:
        describe(project, pair[0].port, user="admin", sudo="true")
        found = record(project, capsys)
    finally:
        sudo.write_text(kept)
    assert not found["complete"]
    assert "prod: sudo: a password is required" in found["machines"]["a"]["areas"]["ports"]["unread"]


def test_prod_itself_mirrors_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mirror", "-C", str(project), "-s", "prod"]) == 1
    assert "it mirrors no other" in capsys.readouterr().err


def test_what_the_sample_company_is_excused() -> None:
    prod, stage = load_environment(ROOT, "prod"), load_environment(ROOT, "stage")
    excuses = mirror._known_excuses(ROOT, prod, stage, read_services(ROOT))

    def reason(machine: str, area: str, key: str, only: str) -> str:
        today = date(2026, 11, 25)
        return next((each.reason for each in excuses if each.covers(machine, area, key, only, today)), "")

    assert "password" in reason("app1", "files", "/etc/app/app.env", "content")
    assert reason("app1", "files", "/etc/app/app.env", "both") == ""
    assert reason("lb", "files", "/etc/haproxy/haproxy.cfg", "content") == ""
    assert "heartbeat is not mirrored" in reason("db1", "units", "heartbeat.service", "prod")
    assert reason("db2", "units", "heartbeat.service", "prod") == ""
    assert reason("db2", "database settings", "postgresql 5432 archive_mode", "both")
    assert reason("db2", "database settings", "postgresql 5432 max_connections", "both") == ""


def test_a_busy_machine_is_asked_once_more_and_one_that_stays_silent_is_red(
    project: Path, pair: tuple[Recording, Recording], capsys: pytest.CaptureFixture[str]
) -> None:
    fake = pair[1].root / "usr" / "local" / "sbin" / "systemctl"
    fails = 'echo "Failed to list units: Connection timed out" >&2; exit 1'
    fake.write_text(f'#!/bin/sh\nif [ "$1" = list-units ] && ! [ -e /tmp/asked ]; then : >/tmp/asked; {fails}; fi\n')
    fake.chmod(0o755)
    try:
        assert record(project, capsys)["complete"]
        assert (pair[1].root / "tmp" / "asked").exists()
        fake.write_text(f"#!/bin/sh\n{fails}\n")
        found = record(project, capsys)
    finally:
        fake.unlink()
    assert not found["complete"]
    assert "stage: units: Failed to list units" in found["machines"]["a"]["areas"]["units"]["unread"]
