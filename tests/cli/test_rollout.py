"""A change that fails on one of three machines, under the real engine: all is taken back, or it goes on without it."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cli.change._note import note_path, take_note
from cli.pulumi import refuse_both
from cli.pulumi_state import PulumiState
from model.change.digest import change_digest
from model.change.gate import let_through
from model.errors import UnderstudyError
from provisioners import evidence_log
from provisioners.report.kind import Report
from provisioners.shell import close_all
from provisioners.signing import Signer, find_signer
from tests.doubles.evidence import allow, make_key, put
from tests.doubles.pulumi import ROOT, Project, wait_until
from tests.doubles.sshd import Machine
from tests.report.values import document

FILE = "/etc/web.conf"
EDITS = itertools.count(2)


def digest_of(text: str) -> str:
    """Return the digest of a service that has this text."""
    return hashlib.sha256(text.encode()).hexdigest()


class Site:
    """Three machines with a service, each after the one before, in a stack of the real engine."""

    def __init__(self, directory: Path, machines: tuple[Machine, ...], monkeypatch: pytest.MonkeyPatch) -> None:
        self.project, self.machines = Project(directory), machines
        self.old, self.new, self.gated = "", "", False
        self.project.environment |= {
            "XDG_STATE_HOME": str(directory / "xdg"),
            "HOME": str(directory / "home-of-user"),
            "PYTHONPATH": str(ROOT),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        for name in ("PATH", "PULUMI_BACKEND_URL", "PULUMI_HOME", "PULUMI_CONFIG_PASSPHRASE", "XDG_STATE_HOME", "HOME"):
            monkeypatch.setenv(name, self.project.environment[name])
        (directory / "Pulumi.s.yaml").write_text("config: {}\n")

    def want(self, text: str, *, bad: str = "", extra: bool = False) -> None:
        """Have Git say this; on the machine ``bad`` it is no good."""
        table: dict[str, Any] = {"gate": self.gate(text)} if self.gated else {}
        for before, machine in zip(("", *self.names), self.machines, strict=False):
            reach = {"connection": machine.connection.values(), "private_key": {"secret": machine.private_key}}
            for service in ("web", *(("new",) if extra else ())):
                path, broken = FILE if service == "web" else f"{FILE}.new", (service == "new") == extra
                table[f"{machine.name}:{service}"] = {
                    "kind": "Service",
                    "inputs": {
                        **reach,
                        "generation": "1",
                        "service": service,
                        "files": {path: {"content": f"{text}\n"}},
                        "validate": {path: ["grep", "-qv", text, "{}"]} if machine.name == bad and broken else {},
                        **({"digest": digest_of(text)} if self.gated else {}),
                    },
                    "outputs": ["change", "backup"],
                    "after": [*(["gate"] if self.gated else []), *([f"{before}:{service}"] if before else [])],
                }
        self.project.resources(table)

    def gate(self, text: str) -> dict[str, Any]:
        """Return the gate of a program that says this."""
        inputs = {
            "stack": "s",
            "rehearsed_on": "stage",
            "services": {"web": digest_of(text)},
            "least_faithful": 0.95,
            "most_seed_age_seconds": 86400,
            "project_directory": str(self.project.directory),
        }
        return {"kind": "Gate", "inputs": inputs, "outputs": ["let_through", "seen", "unshared", "note"]}

    def signer(self) -> Signer:
        """Return the user, with a key that may sign."""
        key = Path(self.project.environment["HOME"]) / ".ssh/id_ed25519"
        if not key.exists():
            allow(self.project.directory, "anna", make_key(key))
        return find_signer(self.project.directory, asks=False)

    def let_through(self) -> tuple[Any, Any]:
        """Return what the gate has let through, as the log says and as the state does."""
        (gate,) = (each for each in self.project.state() if each["type"] == "understudy:index:Gate")
        assert gate["inputs"]["services"] == gate["outputs"]["let_through"]
        return let_through(evidence_log.read(self.project.directory, "s")), gate["outputs"]["let_through"]

    def edit(self, *, bad: str = "", extra: bool = False) -> None:
        """Have Git say something new."""
        self.old, self.new = self.new or "one", f"edit {next(EDITS)}"
        self.want(self.new, bad=bad, extra=extra)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(machine.name for machine in self.machines)

    def report(self) -> Path:
        """Have a report of an update that did well."""
        page = self.project.directory / "reports/s/report.html"
        Report().create({"path": str(page), "document": document(stack="s")}, print)
        return page

    def note(self) -> None:
        """Do what the preflight does."""
        with PulumiState(self.project.directory, "s") as state:
            take_note("s", state.exported)

    def command(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (sys.executable, "-m", "cli", *words),
            cwd=self.project.directory,
            env=self.project.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def start(self, *options: str) -> subprocess.Popen[str]:
        pulumi = ("pulumi", "up", "-s", "s", "--yes", "--skip-preview", "--non-interactive", "--color=never")
        return self.command("pulumi", "--stack", "s", "--verb", "up", "--busy", "--", *pulumi, *options)

    def up(self, *options: str, code: int = 0) -> str:
        self.note()
        process = self.start(*options)
        printed, _ = process.communicate(timeout=120)
        assert process.returncode == code, printed
        return printed

    def resume(self) -> str:
        process = self.command("change", "resume", "-s", "s")
        printed, _ = process.communicate(timeout=120)
        assert process.returncode == 0, printed
        return printed

    def contents(self, path: str = FILE) -> list[str]:
        files = [machine.root / path.lstrip("/") for machine in self.machines]
        return [file.read_text().strip() if file.exists() else "" for file in files]

    def digests(self) -> list[str]:
        """Return what the state has the files be, by the resources' names."""
        return [
            each["inputs"]["files"][FILE]["content"].strip()
            for each in sorted(self.project.state(), key=lambda each: str(each["urn"]))
            if each["urn"].endswith(":web")
        ]

    def records(self) -> list[tuple[str, Any]]:
        return [(each.kind, each.body) for each in evidence_log.read(self.project.directory, "s").records]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as monkeypatch, Machine("a") as a, Machine("b") as b, Machine("c") as c:
        made = Site(tmp_path_factory.mktemp("stack"), (a, b, c), monkeypatch)
        made.edit()
        made.up()
        assert not note_path("s").exists()
        yield made
    close_all()


@pytest.fixture
def site(stack: Site) -> Iterator[Site]:
    """The stack, with the same on all machines."""
    if stack.contents() != [stack.new] * 3 or stack.digests() != stack.contents():
        stack.edit()
        stack.up("--refresh")
    yield stack
    stack.new, stack.gated = stack.contents()[0], False


def test_by_default_all_that_were_changed_are_taken_back_the_last_one_first(site: Site) -> None:
    page = site.report()
    site.edit(bad="c")
    printed = site.up(code=1)
    assert "The last update failed" in page.read_text()
    assert "web: the step `validate /etc/web.conf` failed" in page.read_text()
    assert site.contents() == site.digests() == [site.old] * 3, printed
    assert printed.index("b: web: taking") < printed.index("a: web: taking")
    for told in ("web failed on c", "a:web: has the old again", "b:web: has the old again", "c:web: has the old\n"):
        assert told in printed
    assert "--continue" in printed
    assert "~ 3 to update" in site.project.run("preview")
    assert not note_path("s").exists()
    site.want(site.new)
    site.up()
    assert site.contents() == site.digests() == [site.new] * 3
    assert "All that was checked works" in page.read_text()


def test_what_was_not_begun_is_said(site: Site) -> None:
    site.edit(bad="b")
    printed = site.up("--back-out-all", code=1)
    assert "c:web: not begun: has the old" in printed
    assert site.contents() == [site.old] * 3


def test_it_goes_on_without_where_it_is_told_to_and_says_so_loudly(site: Site) -> None:
    site.signer()
    (site.project.directory / "evidence/s.jsonl").touch()
    page = site.report()
    site.edit(bad="b")
    printed = site.up("--continue", code=1)
    assert "b:web was left out" in page.read_text()
    assert site.contents() == site.digests() == [site.new, site.old, site.new], printed
    assert "b STILL HAS THE OLD web" in printed
    assert "~ 1 to update" in site.project.run("preview")
    ((kind, body),) = site.records()
    assert (kind, body["continue"]["b:web"], body["continue"]["c:web"]) == ("rollout", "has the old", "has the new")
    assert "the step `validate /etc/web.conf` failed" in body["why"]
    site.want(site.new)
    site.up()
    assert site.contents() == [site.new] * 3


def test_a_new_service_is_taken_away_again_and_other_services_are_left_alone(site: Site) -> None:
    site.edit(bad="c", extra=True)
    site.up(code=1)
    assert site.contents(f"{FILE}.new") == ["", "", ""]
    assert site.contents() == [site.new] * 3, "the other service's change did well"
    assert "+ 3 to create" in site.project.run("preview")
    site.want(site.new, bad="b", extra=True)
    assert "b:new is new there: the rollout cannot go on without" in site.up("--continue", code=1)
    assert site.contents(f"{FILE}.new") == ["", "", ""]


def test_killed_while_it_takes_back_the_next_run_finishes_it(site: Site) -> None:
    slow = site.machines[0].root / "usr/local/bin/readlink"  # the first thing that a back-out does
    slow.parent.mkdir(parents=True, exist_ok=True)
    site.edit(bad="c")
    site.note()
    process = site.start()
    wait_until(lambda: site.contents()[1] == site.new, 60)
    slow.write_text('#!/bin/bash\ntouch /run/slow; /bin/sleep 30; exec /usr/bin/readlink "$@"\n')
    slow.chmod(0o755)
    wait_until((site.machines[0].root / "run/slow").exists, 60)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert site.contents() == [site.new, site.old, site.old], "b was taken back, a not yet"
    slow.unlink()
    site.machines[0].drop_sessions()
    assert "has the old" in site.resume()
    assert site.contents() == site.digests() == [site.old] * 3
    assert "no change that failed is left" in site.resume()


def test_a_machine_that_is_away_is_taken_back_once_it_answers(site: Site) -> None:
    machine = site.machines[0]
    site.edit(bad="c")
    site.note()
    process = site.start()
    wait_until(lambda: site.contents()[1] == site.new, 60)
    config = machine.root / "etc/ssh/sshd_config.double"
    usual = config.read_text()
    config.write_text(f"{usual}\nDenyUsers root\n")
    machine.inside("kill", "-HUP", "1")
    printed, _ = process.communicate(timeout=120)
    assert "a:web: NOT taken back" in printed
    assert site.contents() == [site.new, site.old, site.old]
    assert json.loads(note_path("s").read_text())["failed"]
    config.write_text(usual)
    machine.inside("kill", "-HUP", "1")
    site.resume()
    assert site.contents() == site.digests() == [site.old] * 3


def test_one_that_is_stopped_is_gone_on_with_and_a_later_failure_takes_all_of_it_back(site: Site) -> None:
    site.edit(bad="b")
    site.note()
    process = site.start()
    wait_until(lambda: site.contents()[0] == site.new, 60)
    process.send_signal(signal.SIGINT)  # to it alone, as a drill does; it tells Pulumi
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert site.contents() == [site.new, site.old, site.old], "whoever stops it looks at it first"
    first = site.old
    site.edit(bad="c")
    site.up(code=1)
    assert site.contents() == site.digests() == [first] * 3


def test_one_that_goes_and_cannot_on_one_machine_comes_back_on_all(site: Site) -> None:
    path = f"{FILE}.new"
    site.want(site.new, extra=True)
    site.up()
    site.machines[1].inside("mount", "--bind", path, path)  # nobody can remove it
    site.want(site.new)
    assert "- 3 to delete" in site.project.run("preview")
    printed = site.up("--continue", code=1)
    assert "b:new goes: the rollout cannot go on without" in printed
    for told in ("new failed on b", "c:new: has the old again", "b:new: has the old\n", "a:new: not begun"):
        assert told in printed
    assert site.contents(path) == [site.new] * 3
    site.want(site.new, extra=True)
    site.project.run("preview", "--refresh", "--expect-no-changes")
    site.machines[1].inside("umount", path)
    site.want(site.new)
    site.up()
    assert site.contents(path) == ["", "", ""]


def test_the_gate_knows_what_was_taken_back_and_asks_again(site: Site) -> None:
    old, signer = site.new, site.signer()
    site.gated = True
    site.want(old)
    site.up()
    assert site.let_through() == ({"web": digest_of(old)},) * 2
    site.edit(bad="c")
    emergency = {"change": change_digest(digest_of(old), digest_of(site.new)), "why": "it cannot wait"}
    put(site.project.directory, "s", signer, "emergency", emergency, evidence_log.now())
    printed = site.up(code=1)
    assert site.contents() == [old] * 3, printed
    assert site.let_through() == ({"web": digest_of(old)},) * 2
    kind, body = site.records()[-1]
    assert (kind, [each["to"] for each in body["changes"].values()]) == ("rollout", [digest_of(old)])
    site.want(old)
    site.project.run("preview", "--expect-no-changes")
    site.up()
    site.want(site.new)
    assert "this may not pass" in site.up(code=1), "the emergency was for once"
    assert site.contents() == [old] * 3


def pulumis(parent: int) -> list[str]:
    """Return the children of a process that are Pulumi."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    names = {}
    for each in children:
        with suppress(OSError):  # it ended meanwhile
            names[each] = Path(f"/proc/{each}/comm").read_text().strip()
    return [each for each, name in names.items() if name == "pulumi"]


def test_pulumi_dies_with_it(site: Site) -> None:
    site.edit()
    process = site.start()
    wait_until(lambda: pulumis(process.pid))
    wait_until(site.project.providers)
    (engine,) = pulumis(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not site.project.providers())
    wait_until(lambda: not Path(f"/proc/{engine}/exe").exists())
    site.project.run("cancel", "--yes")


@pytest.mark.parametrize(
    "words", [("--continue", "--back-out-all"), ("--continue", "--plan=x"), ("--continue", "-t", "x")]
)
def test_choices_that_do_not_go_together(words: tuple[str, ...]) -> None:
    with pytest.raises(UnderstudyError, match="wanted"):
        refuse_both(words)
