"""What `understudy change document` writes, typed word for word by a robot, does what the provider does; and back."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from provisioners.shell import close_all, connect
from tests.changes.test_packages import NAME, build
from tests.changes.values import tree, tree_of
from tests.doubles.pulumi import ROOT, Project
from tests.doubles.robot import Block, Robot, read
from tests.doubles.sshd import Machine

SECRET = 'it\'s; $HOME `id` \\ "&" <x> %s'
ODD = "tab\there 'single' \"double\" $HOME `id` $(id) \\n \\ * ? [a] {b} ~ # ! & ; | <x>\r\nEND\n```\nüñí☃\nno end"
UNIT = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
WEB = "/etc/web/web.conf"
STACK = """\
config:
  understudy:network: 10.20.0.0/24
  understudy:domain: shop.example
  understudy:machines:
    a: {address: 10.20.0.11, vcpus: 1, memory: 512MiB}
    b: {address: 10.20.0.12, vcpus: 1, memory: 512MiB}
  understudy:services: {web: [a, b]}
"""
BEGUN = {"motd": "hello\n", "issue.net": "net\n", "hostname.example": "kept\n"}


def web(port: int) -> dict[str, Any]:
    """Return a service that runs, and takes its file while it runs."""
    unit = "/etc/systemd/system/web.service"
    return {
        "files": {WEB: {"content": f"port = {port}\n", "mode": "0640", "group": "adm"}, unit: {"content": UNIT}},
        "validate": {WEB: ["grep", "-q", "port", "{}"]},
        "reload": {WEB: "web.service"},
        "units": {"web.service": {"restart_on": [unit]}},
        "checks": [{"name": "port", "command": ["cat", WEB], "prints": f"port = {port}"}],
    }


def changes(deb: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return what is changed, by the services' names."""
    package = {"version": "1.0-1", "sha256": hashlib.sha256(deb.read_bytes()).hexdigest(), "source": str(deb)}
    odd = {"content": ODD, "mode": "0604", "owner": "daemon", "group": "adm"}
    say_unit = "/etc/systemd/system/says.service"
    by_hand = {"name": "look", "text": "Look at the `name`.", "check": ["test", "-s", "/etc/passwd"]}
    return {
        "web": web(81),  # a file is changed, and its unit reloaded
        "new": {
            "files": {"/etc/new/a.conf": {"content": "a\n"}, "/etc/systemd/system/new.service": {"content": UNIT}},
            "units": {"new.service": {"restart_on": ["/etc/new/a.conf"]}},
        },
        "gone": {"files": {"/etc/motd": {"absent": True}, "/etc/issue.net": {"absent": True}}},
        "demo": {"packages": {NAME: package}, "files": {"/etc/understudy-demo.conf": {"content": "ours\n"}}},
        "odd": {
            "files": {
                "/etc/odd/a file.conf": odd,
                '/etc/odd/it\'s `a` $(b) "c" \\d': {"content": "\t\n\n\\\n", "mode": "0755"},
                "/etc/odd/empty": {"content": ""},
            }
        },
        "says": {
            "files": {
                "/etc/says.env": {"content": "P=@@password of shop@@\n", "mode": "0600"},
                say_unit: {"content": UNIT},
            },
            "units": {"says.service": {"restart_on": ["/etc/says.env", say_unit]}},
            "secrets": {"password of shop": {"secret": SECRET}},
        },
        "modes": {"files": {"/etc/hostname.example": {"content": "kept\n", "mode": "0600", "owner": "mail"}}},
        "switch": {
            "files": {"/etc/switched": {"content": "on\n"}},
            "by_hand": [{**by_hand, "back_out": "Look away."}],
        },
    }


class Twins:
    """Two identical machines in a stack of the real engine, and the command."""

    def __init__(self, directory: Path, a: Machine, b: Machine) -> None:
        self.project, self.machines = Project(directory), (a, b)
        (directory / "Pulumi.s.yaml").write_text(STACK)
        (directory / "services/web").mkdir(parents=True)
        (directory / "services/web/service.yaml").touch()
        (directory / "run").write_text('#!/bin/sh\nexec "$@"\n')
        (directory / "run").chmod(0o755)
        self.environment = {**self.project.environment, "PYTHONPATH": str(ROOT)}
        for machine in self.machines:
            for name, text in BEGUN.items():
                (machine.root / "etc" / name).write_text(text)

    def want(self, *services: Mapping[str, Mapping[str, Any]]) -> None:
        """Have Git say this, of each machine."""
        table = {}
        for machine, mine in zip(self.machines, services, strict=True):
            reach = {"connection": machine.connection.values(), "private_key": {"secret": machine.private_key}}
            for name, values in mine.items():
                digest = hashlib.sha256(repr((name, values)).encode()).hexdigest()
                more = {"generation": "1", "service": name, "digest": digest}
                table[f"{machine.name}:{name}"] = {"kind": "Service", "inputs": {**reach, **more, **values}}
        self.project.resources(table)

    def call(self, *words: str, code: int = 0) -> str:
        """Run the command, and return what it printed."""
        argv = (sys.executable, "-m", "cli", *words)
        done = subprocess.run(
            argv, cwd=self.project.directory, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def document(self) -> str:
        """Return what `understudy change document` writes."""
        printed = self.call("change", "document", "-s", "s", "--why", "A robot tries it.")
        return Path(printed.splitlines()[0]).read_text(encoding="utf-8")

    def changes(self, machine: str) -> set[tuple[str, str]]:
        """Return service and id of each change that a machine has kept, as `understudy change list` shows them."""
        listed = self.call("change", "list", "-s", "s", machine)
        return {
            (service, each) for each, service in re.findall(r"UTC  (\w{12})  \w+ +(\w+) +kept$", listed, re.MULTILINE)
        }


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    with Machine("a") as a, Machine("b") as b:
        made = Twins(tmp_path_factory.mktemp("twins"), a, b)
        made.want({"web": web(80)}, {"web": web(80)})
        made.project.run("up", "--yes", "--skip-preview")
        yield made
        close_all()


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Any]]:
    return changes(build(tmp_path_factory.mktemp("deb"), "1.0-1"))


@pytest.fixture(scope="module")
def text(twins: Twins, wanted: Mapping[str, Mapping[str, Any]]) -> str:
    """The document for the second machine; the first one is changed by the provider."""
    twins.want(wanted, {"web": web(80)})
    twins.project.run("up", "--yes", "--skip-preview")
    twins.want(wanted, wanted)
    return twins.document()


def looked(machine: Machine) -> dict[str, object]:
    """Return what a machine is like beside this host: files, modes, owners, packages, and what its units do."""
    folders = ("etc", "usr/share/understudy-demo")
    there, here = tree(machine, *folders), tree_of(Path("/"), *folders)
    files: dict[str, object] = {path: there.get(path) for path in there | here if there.get(path) != here.get(path)}
    of_its_own = re.compile(r"etc/(ssh|libvirt)/|run/fake-systemd/understudy-back-out|.*(\.log|/calls)$")
    kept = {
        path: about for path, about in (files | tree(machine, "run/fake-systemd")).items() if not of_its_own.match(path)
    }
    packages = machine.inside("dpkg-query", "--show", "--showformat=${Package} ${Version} ${db:Status-Status}\n")
    return {**kept, "packages": packages}


def typed(robot: Robot, blocks: list[Block]) -> None:
    for block in blocks:
        robot.type(block)


def test_typed_it_does_what_the_provider_does_and_its_way_back_too(
    twins: Twins, wanted: Mapping[str, Mapping[str, Any]], text: str, tmp_path: Path
) -> None:
    (a, b), blocks = twins.machines, read(text)
    assert SECRET not in text
    assert "pulumi-resource-" not in text, "where plugins lie on this computer is nothing to a change"
    assert {block.part for block in blocks} == {f"b:{name}" for name in wanted}
    assert {block.machine for block in blocks} == {"b", ""}, "a package is brought from the operator's computer"
    by_kind = {kind: [block for block in blocks if block.kind == kind] for kind in ("before", "do", "undo")}
    assert len(by_kind["before"]) == len(by_kind["undo"]) == len(wanted)
    begun, changed = looked(b), looked(a)
    assert begun != changed
    known = f"[127.0.0.1]:{b.port} {b.host_key}"
    with (
        connect(b.connection, b.private_key, lambda _: None, 10) as shell,
        Robot(shell, tmp_path / "own", known, b.private_key, {"password of shop": SECRET}) as robot,
    ):
        typed(robot, by_kind["before"] + by_kind["do"])
        assert looked(b) == changed
        assert twins.changes("b") == twins.changes("a"), "typed or not, a change has one id"
        assert set(re.findall(r"^- `(\w{12})`: b:(\w+)$", text, re.MULTILINE)) <= {
            (each, service) for service, each in twins.changes("b")
        }
        # What a secret is that is not in the state yet, nobody but the provider knows.
        assert {block.part for block in read(twins.document())} == {"b:says"}, "nothing else is left to do"
        typed(robot, by_kind["undo"])
        assert looked(b) == begun
        typed(robot, by_kind["before"])


def test_what_somebody_changed_meanwhile_is_seen_before_it_is_begun(twins: Twins, text: str) -> None:
    b, by_part = twins.machines[1], {block.part: block.text for block in read(text) if block.kind == "before"}
    assert b.inside("bash", "-c", by_part["b:web"]) == "as planned\n"
    conf = b.root / WEB.lstrip("/")
    b.inside("cp", "-a", WEB, "/root/was")
    conf.write_text("port = 99\n")
    said = b.inside("bash", "-c", by_part["b:web"], code=1)
    assert re.findall(r"^([<>]) /etc/web/web.conf file 640 root:adm [0-9a-f]{64}$", said, re.MULTILINE) == ["<", ">"]
    b.inside("cp", "-a", "/root/was", WEB)
    conf.chmod(0o600)
    assert "< /etc/web/web.conf file 600 root:adm" in b.inside("bash", "-c", by_part["b:web"], code=1)
    b.inside("mv", WEB, "/root/other")
    assert "< /etc/web/web.conf absent" in b.inside("bash", "-c", by_part["b:web"], code=1)
    (b.root / "root/configs/.open/other").symlink_to("/nothing")
    assert "< open changes: other" in b.inside("bash", "-c", by_part["b:gone"], code=1)
    (b.root / "root/configs/.open/other").unlink()
    assert b.inside("bash", "-c", by_part["b:gone"]) == "as planned\n"
    b.inside("mv", "/root/was", WEB)


def test_the_documents_id_takes_all_of_it_back_wherever_it_was_made(twins: Twins, text: str, tmp_path: Path) -> None:
    (identifier,) = re.findall(r"^Change `(\w{12})` of `s`, written", text, re.MULTILINE)
    a, b = twins.machines
    assert WEB in twins.call("change", "show", identifier, "-s", "s")
    assert looked(a) != looked(b)
    twins.call("change", "back-out", identifier, "-s", "s", "--machine", "a")
    assert looked(a) == looked(b), "which nobody has changed"
