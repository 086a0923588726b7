"""A service that is a playbook, applied by the real Ansible; and files that a Puppet on the machine manages."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from model.errors import UnderstudyError
from provisioners.changes.apply import back_out, changes_on
from provisioners.changes.tool import would_change
from provisioners.shell import Shell, close_all, connect
from tests.changes.values import CONFIG, SECRET, SERVICE, UNIT_FILE, backups, inputs, quiet, read, tree, with_content
from tests.doubles.sshd import Machine

BOOK = "/etc/understudy/motd/playbook.yml"
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: the greeting
      copy: {dest: /etc/greeting, content: "hello\\nworld\\n", mode: "0640"}
    - name: nothing else
      file: {path: /etc/greeted, state: absent}
"""
FAILS = """\
    - name: it cannot
      command: /bin/false
"""


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine where an older greeting, and another file, lie."""
    with Machine() as running:
        for name in ("greeting", "greeted"):
            (running.root / "etc" / name).write_text(f"old {name}\n")
            (running.root / "etc" / name).chmod(0o604)
        os.chown(running.root / "etc" / "greeting", 1, 4)
        yield running
        close_all()


def booked(machine: Machine, text: str = PLAYBOOK, **more: Any) -> dict[str, Any]:
    given = inputs(machine)
    reach = {key: given[key] for key in ("connection", "private_key", "generation")}
    tool = {"kind": "ansible", "path": BOOK, "files": ["/etc/greeting", "/etc/greeted", "/etc/never"]}
    return {**reach, "service": "motd", "files": {BOOK: {"content": text, "mode": "0600"}}, "tool": tool, **more}


def greeting(machine: Machine) -> str:
    return (machine.root / "etc" / "greeting").read_text()


def test_a_playbooks_life(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tree(machine, "/etc/greeting", "/etc/greeted", "/etc/understudy")
    wanted = booked(machine)
    assert SERVICE.check(wanted) == ()
    _, outputs = SERVICE.create(wanted, quiet)
    made = tree(machine, "/etc/greeting")
    assert made["etc/greeting"] == ("100640", 1, 4, b"hello\nworld\n")
    assert not (machine.root / "etc" / "greeted").exists()
    assert read(wanted).inputs == wanted

    run, count = Shell.run, [0]

    def counted(self: Shell, *args: Any, **more: Any) -> Any:
        count[0] += 1
        return run(self, *args, **more)

    monkeypatch.setattr(Shell, "run", counted)
    assert SERVICE.update("", wanted, wanted, outputs, quiet) == outputs
    assert count[0] == 1, "an unchanged machine costs one round trip"
    SERVICE.delete("", wanted, outputs, quiet)
    assert tree(machine, "/etc/greeting", "/etc/greeted", "/etc/understudy") == first


def test_what_a_hand_did_is_shown_by_the_playbook_itself_and_mended(machine: Machine) -> None:
    wanted = booked(machine)
    _, outputs = SERVICE.create(wanted, quiet)
    (machine.root / "etc" / "greeting").write_text("hello\nyou\n")
    shown = read(wanted).inputs["tool"]["would_change"]
    assert "TASK [the greeting]" in shown
    assert "-you" in shown
    assert "+world" in shown
    assert "nothing else" not in shown
    assert "/run/" not in shown
    assert greeting(machine) == "hello\nyou\n", "looking changes nothing"
    later = SERVICE.update("", wanted, wanted, outputs, quiet)
    assert greeting(machine) == "hello\nworld\n"
    assert later["backup"] != outputs["backup"]
    assert read(wanted).inputs == wanted


def test_a_playbook_that_fails_halfway_leaves_what_was_there(machine: Machine) -> None:
    before = tree(machine, "/etc/greeting", "/etc/greeted", "/etc/understudy")
    with pytest.raises(UnderstudyError, match="The old configuration is back") as caught:
        SERVICE.create(booked(machine, PLAYBOOK + FAILS), quiet)
    assert "it cannot" in str(caught.value) or "ended with 2" in str(caught.value)
    assert tree(machine, "/etc/greeting", "/etc/greeted", "/etc/understudy") == before


def test_a_change_of_a_playbook_is_foretold_and_can_be_taken_back(machine: Machine) -> None:
    wanted = booked(machine)
    _, outputs = SERVICE.create(wanted, quiet)
    changed = booked(machine, PLAYBOOK.replace("world", "moon"))
    text = SERVICE.consequence(wanted, changed)
    assert text.startswith("ansible would change on m1:\n")
    assert "-world" in text
    assert "+moon" in text
    assert greeting(machine) == "hello\nworld\n"
    assert not list((machine.root / "run").glob("understudy-try*")), "nothing is left behind"
    assert SERVICE.consequence(wanted, wanted) == "m1: ansible would change nothing"
    SERVICE.update("", wanted, changed, outputs, quiet)
    assert greeting(machine) == "hello\nmoon\n"
    with connect(machine.connection, machine.private_key, quiet, 10) as shell:
        said = back_out(shell, changes_on(shell)[0])
    assert greeting(machine) == "hello\nworld\n"
    assert "somebody else" not in said, "what the playbook wrote is ours"


def test_a_secret_in_a_playbook_is_not_shown(machine: Machine) -> None:
    text = PLAYBOOK.replace("hello", "@@password of shop@@")
    secrets = {"password of shop": "zqx jkv"}
    foretold = SERVICE.consequence({}, booked(machine, text, secrets=secrets))
    assert "+@@password of shop@@" in foretold
    assert "zqx" not in foretold
    SERVICE.create(booked(machine, text, secrets=secrets), quiet)
    assert greeting(machine) == "zqx jkv\nworld\n"


def test_a_tool_that_is_not_there_is_told(machine: Machine) -> None:
    given = booked(machine, "file { '/etc/greeting': content => 'x' }\n")
    path = BOOK.replace("playbook.yml", "manifest.pp")
    given |= {"files": {path: given["files"][BOOK]}, "tool": {**given["tool"], "kind": "puppet", "path": path}}
    assert SERVICE.consequence({}, given).startswith("m1: puppet is not installed yet")
    with pytest.raises(UnderstudyError, match="it ended with 127"):
        SERVICE.create(given, quiet)


@pytest.mark.parametrize(
    ("tool", "at"),
    [
        ({"kind": "chef"}, "tool.kind"),
        ({"kind": "puppet", "path": "x"}, "tool.path"),
        ({"kind": "puppet", "path": "/x", "files": ["y"]}, "tool.files"),
        ({"kind": "puppet", "path": "/x", "units": ["y"]}, "tool.units"),
        ({"kind": "puppet", "path": "/x", "packages": ["-y"]}, "tool.packages"),
        ({"kind": "puppet", "path": "/x", "more": 1}, "tool.more"),
        ([], "tool"),
    ],
)
def test_a_wrong_tool_is_refused(machine: Machine, tool: object, at: str) -> None:
    assert at in [failure.property for failure in SERVICE.check({**booked(machine), "tool": tool})]


def puppet(machine: Machine, *lines: str, name: str, days: float = 0) -> None:
    state = machine.root / "var" / "cache" / "puppet" / "state"
    state.mkdir(parents=True, exist_ok=True)
    (state / name).write_text("".join(f"{line}\n" for line in lines))
    then = time.time() - days * 86400
    os.utime(state / name, (then, then))


NOTES = [
    ("last_run_report.yaml", f'  "File[{CONFIG}]":'),
    ("last_run_report.yaml", f"  File[{CONFIG}]:"),
    ("resources.txt", f"file[{CONFIG}]"),
]


@pytest.mark.parametrize(("name", "line"), NOTES)
def test_what_puppet_manages_is_left_to_it_and_that_is_said(machine: Machine, name: str, line: str) -> None:
    wanted = inputs(machine)
    _, outputs = SERVICE.create(wanted, quiet)
    assert outputs["puppet"] == []
    assert SERVICE.shouts(wanted, outputs, planned=False) == ()
    puppet(machine, "resource_statuses:", line, "  File[/etc/elsewhere]:", name=name)
    path = machine.root / CONFIG.lstrip("/")
    path.write_text("port = 1\nby Puppet\n")
    changed = with_content(
        with_content(wanted, CONFIG, "port = 1\nours\n"), UNIT_FILE, "[Service]\nExecStart=/bin/true\n"
    )
    real = SERVICE.read("", changed, outputs, quiet)
    assert real is not None
    assert real.inputs["files"][CONFIG] == changed["files"][CONFIG], "no drift that an update would fight"
    (warning,) = SERVICE.shouts(changed, real.outputs, planned=True)
    assert warning.startswith(f"Puppet manages {CONFIG} there")
    later = SERVICE.update("", wanted, changed, outputs, quiet)
    assert path.read_text() == "port = 1\nby Puppet\n"
    assert "ExecStart=/bin/true" in (machine.root / UNIT_FILE.lstrip("/")).read_text()
    assert later["puppet"] == [CONFIG]
    assert SERVICE.update("", changed, changed, later, quiet)["backup"] == later["backup"]
    assert SECRET not in warning


def test_what_puppet_does_not_manage_any_more_is_ours_again(machine: Machine) -> None:
    wanted = inputs(machine)
    _, outputs = SERVICE.create(wanted, quiet)
    puppet(machine, f"  File[{CONFIG}]:", name="last_run_report.yaml", days=3)
    changed = with_content(wanted, CONFIG, "port = 1\nours\n")
    later = SERVICE.update("", wanted, changed, outputs, quiet)
    assert later["puppet"] == []
    assert (machine.root / CONFIG.lstrip("/")).read_text() == "port = 1\nours\n"
    assert len(backups(machine)) == 2


PUPPET_SAYS = """\
Notice: Compiled catalog for vm in environment production in 0.92 seconds
Notice: /Stage[main]/Main/File[/etc/motd]/content: 
--- /etc/motd	2026-11-25 13:43:55.583207087 +0000
+++ /tmp/puppet-file20261125-19415-cwotzk	2026-11-25 13:44:03.607681800 +0000
@@ -1,3 +1,2 @@
 hello
-x
Notice: /Stage[main]/Main/File[/etc/motd]/content: current_value '{sha256}3a7b', should be '{sha256}4a1e' (noop)
Notice: Class[Main]: Would have triggered 'refresh' from 1 event
Notice: Stage[main]: Would have triggered 'refresh' from 1 event
Notice: Applied catalog in 0.04 seconds
"""  # noqa: W291


def test_what_puppet_says_without_its_noise() -> None:
    said = would_change("puppet", PUPPET_SAYS).splitlines()
    assert said[0] == "Notice: /Stage[main]/Main/File[/etc/motd]/content:"
    assert said[-1].endswith("(noop)")
    assert len(said) == 7


def test_units_that_a_playbook_stops_run_again_after_a_back_out(machine: Machine) -> None:
    with connect(machine.connection, machine.private_key, quiet, 10) as shell:
        unit = machine.root / "etc/systemd/system/old.service"
        unit.write_text("[Service]\nExecStart=/bin/sleep 1\n[Install]\nWantedBy=multi-user.target\n")
        shell.run(("systemctl", "enable", "old.service"))
        shell.run(("systemctl", "start", "old.service"))
        before = tree(machine, "/run/fake-systemd/old.service.active", "/etc/systemd/system/multi-user.target.wants")
        stops = "    - command: systemctl stop old.service\n    - command: systemctl disable old.service\n"
        wanted = booked(machine, PLAYBOOK + stops)
        wanted["tool"]["units"] = ["old.service"]
        SERVICE.create(wanted, quiet)
        assert shell.run(("systemctl", "is-active", "old.service"), check=False).text != "active"
        back_out(shell, changes_on(shell)[0])
        assert shell.run(("systemctl", "is-active", "old.service")).text == "active"
        assert shell.run(("systemctl", "is-enabled", "old.service")).text == "enabled"
        assert before.keys() <= tree(machine, "/run/fake-systemd", "/etc/systemd/system").keys()


def test_packages_that_a_playbook_may_change_are_noted_before(machine: Machine) -> None:
    wanted = booked(machine)
    wanted["tool"]["packages"] = ["bash", "understudy-none"]
    _, outputs = SERVICE.create(wanted, quiet)
    backup = machine.root / outputs["backup"].lstrip("/")
    noted = dict(line.split("\t") for line in (backup / "packages").read_text().splitlines())
    assert noted["understudy-none"] == "-"
    assert noted["bash"].startswith("5.")
    listed = subprocess.check_output(["dpkg-deb", "--contents", str(backup / "debs" / "bash.deb")], text=True)
    entries = {line.split()[-1]: line.split()[0] for line in listed.splitlines()}
    assert entries["./bin/bash"] == "-rwxr-xr-x", "so that it can come back"
    assert entries["./bin/"] == "drwxr-xr-x"
