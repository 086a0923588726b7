"""A rehearsal under the real engine, on a machine that is an sshd: from where prod stands, there, back, there again."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.change import back_out, rehearse
from cli.change.rehearse import Play, looked_at, perform, to_rehearse
from model.change.digest import NOTHING, change_digest
from model.change.rehearsing import changes, refuse_other_start
from model.errors import UnderstudyError
from provisioners.shell import close_all
from tests.changes.values import state_of
from tests.doubles.pulumi import Project
from tests.doubles.sshd import Machine

A, B, C = "a" * 64, "b" * 64, "c" * 64


class Stage:
    """A machine with two services, in a stack of the real engine."""

    def __init__(self, directory: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project, self.machine, self.directory = Project(directory), machine, directory
        for name in ("PATH", "PULUMI_BACKEND_URL", "PULUMI_HOME", "PULUMI_CONFIG_PASSPHRASE", "VIRTUAL_ENV"):
            monkeypatch.setenv(name, self.project.environment[name])
        monkeypatch.setattr(rehearse, "portraits", lambda *_: ())
        (directory / "run").write_text('#!/bin/sh\nexec "$@"\n')
        (directory / "run").chmod(0o755)
        (directory / "Pulumi.s.yaml").write_text("config: {}\n")

    def want(self, *, check: str = "true", page: str = "", **digests: str) -> None:
        """Have Git say this: the services with their digests, of which the first letter is their file's content."""
        reach = {
            "connection": self.machine.connection.values(),
            "private_key": {"secret": self.machine.private_key},
            "generation": "1",
        }
        table: dict[str, Any] = {}
        for service, digest in digests.items():
            table[f"{self.machine.name}:{service}"] = {
                "kind": "Service",
                "inputs": {
                    **reach,
                    "service": service,
                    "digest": digest,
                    "files": {f"/etc/{service}.conf": {"content": f"{digest[0]}\n"}},
                    "checks": [{"name": "x", "command": [check]}],
                },
                "outputs": ["change", "backup"],
            }
        if page:
            again = [{"output": [f"{self.machine.name}:web", "backup"]}]
            asked = {"url": page, "patience_seconds": 1, "recheck_on": again}
            table["page"] = {"kind": "HttpCheck", "inputs": {**reach, **asked}, "outputs": ["ok"]}
        self.project.resources(table)

    def up(self) -> None:
        self.project.run("up", "-s", "s", "--yes", "--skip-preview")

    def play(self, **base: str) -> Play:
        there, steps = looked_at(self.directory, "s", base)
        play = Play(self.directory, "s", to_rehearse("s", steps), there, base)
        refuse_other_start("s", play.services, there, base)
        return play

    def file(self, service: str) -> str:
        path = self.machine.root / f"etc/{service}.conf"
        return path.read_text().strip() if path.exists() else ""

    def states(self, service: str) -> list[str]:
        return [state_of(path) for path in sorted((self.machine.root / f"root/configs/{service}").glob("[0-9]*Z-*"))]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with Machine() as machine:
        yield Stage(tmp_path, machine, monkeypatch)
        close_all()


def test_a_second_try_and_a_service_that_goes(stage: Stage) -> None:
    stage.want(web=A, cron=A)
    stage.up()
    stage.want(web=B, cron=A)
    stage.up()
    stage.want(web=C)
    play = stage.play(web=A, cron=A)
    assert stage.file("web") == "a", "what prod has not is taken back first"
    found = {each.service: each for each in changes(play.services, play.there, play.base)}
    assert {name: each.digest for name, each in found.items()} == {
        "web": change_digest(A, C),
        "cron": change_digest(A, NOTHING),
    }
    perform(play)
    assert all(step.ok for step in play.steps)
    assert (stage.file("web"), stage.file("cron")) == ("c", "")
    assert stage.states("web") == ["kept", "backed-out", "backed-out", "kept"]
    assert stage.states("cron") == ["kept", "backed-out", "kept"], "it went, came back, and went again"
    assert stage.project.run("preview", "-s", "s", "--refresh", "--expect-no-changes")


def test_the_stage_has_it_already_and_only_a_check_is_another(stage: Stage) -> None:
    stage.want(web=A)
    stage.up()
    stage.want(web=B, check="/bin/true")
    stage.up()
    play = stage.play(web=A)
    perform(play)
    assert [each.digest for each in changes(play.services, play.there, play.base)] == [change_digest(A, B)]
    assert stage.states("web") == ["kept", "backed-out", "backed-out", "kept"]


def test_a_page_that_does_not_come_is_red_names_it_and_all_is_taken_back(stage: Stage) -> None:
    served = stage.machine.root / "page"
    served.write_text("it works")
    stage.want(web=A)
    stage.up()
    stage.want(web=B, page="http://127.0.0.1:9/shop")
    play = stage.play(web=A)
    with pytest.raises(UnderstudyError, match=r"http://127.0.0.1:9/shop, asked from"):
        perform(play)
    assert [(step.name, step.ok) for step in play.steps][1:] == [
        ("apply and check", False),
        ("back out what was applied", True),
    ]
    assert (stage.file("web"), stage.states("web")) == ("a", ["kept", "backed-out"])
    assert stage.play(web=A).services, "it can be tried again"


def test_an_edit_meanwhile_is_red(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.want(web=A)
    stage.up()
    stage.want(web=B)
    play = stage.play(web=A)
    stage.want(web=C)
    with pytest.raises(UnderstudyError, match="Git was edited while it was rehearsed"):
        perform(play)
    assert stage.file("web") == "a"


def test_after_a_back_out_a_plain_preview_knows(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.want(web=A)
    stage.up()
    stage.want(web=B)
    stage.up()
    newest = max((stage.machine.root / "root/configs/web").glob("[0-9]*Z-*")).name.rpartition("-")[2]
    parser = argparse.ArgumentParser()
    back_out.add_arguments(parser)
    assert back_out.run(parser.parse_args(["-C", str(stage.directory), "-s", "s", newest])) == 0
    assert "does not say so" not in capsys.readouterr().out
    shown = stage.project.run("preview", "-s", "s", "--diff")
    assert "web" in shown, "it shows without being told to look"
    assert "~ digest" in shown
    stage.want(web=A)
    stage.project.run("preview", "-s", "s", "--expect-no-changes")
