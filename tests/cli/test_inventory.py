"""`understudy inventory`: Ansible itself reads it, and reaches machines through it: the right ones, and no others."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from model.connection import Connection
from tests.cli.test_ssh import state
from tests.doubles.sshd import Machine, keypair

ROOT = Path(__file__).parents[2]
_PROD = """
config:
  understudy:network: 10.77.0.0/24
  understudy:domain: test.example
  understudy:machines:
    web-1: {address: 10.77.0.11, vcpus: 1, memory: 512MiB}
    db1: {address: 10.77.0.12, vcpus: 1, memory: 512MiB, data_disk: 1GiB}
    old: {address: 10.77.0.13, vcpus: 1, memory: 512MiB, EXISTING}
  understudy:services: {load-balancer: [web-1], beat: [db1]}
  understudy:stores:
    shop:
      engine: postgresql
      version: 15
      database: shop
      owner: shop
      primary: db1
      backup: {kind: pgbackrest, path: samples/pgbackrest, stanza: shop}
"""


@pytest.fixture(scope="module")
def machines() -> Iterator[dict[str, Machine]]:
    with Machine("web-1") as web, Machine("db1") as db:
        yield {"web-1": web, "db1": db}


class Desk:
    """A user's project, home and PATH, with a Pulumi that knows the machines."""

    def __init__(self, place: Path, machines: Mapping[str, Machine], existing: Machine, sockets: str) -> None:
        self.place, self.project, self.sockets = place, place / "a project", sockets
        for service, text in {"load-balancer": "", "beat": "mirrored: false\n"}.items():
            (self.project / "services" / service).mkdir(parents=True)
            (self.project / "services" / service / "service.yaml").write_text(f"description: x\n{text}")
        (self.project / "Pulumi.yaml").write_text("name: understudy\nruntime: python\n")
        (self.project / "Pulumi.stage.yaml").write_text("config:\n  understudy:mirror: prod\n")
        access = f"existing: {{host: 127.0.0.1, port: {existing.port}, user: admin, sudo: true}}"
        (self.project / "Pulumi.prod.yaml").write_text(_PROD.replace("EXISTING", access))
        self.know({name: (machine.connection, machine.private_key) for name, machine in machines.items()})
        (place / "bin").mkdir()
        (place / "bin" / "pulumi").write_text(f"#!/bin/sh\ncat '{place}/exported'\n")
        (place / "bin" / "pulumi").chmod(0o755)
        self.script = place / "an inventory"
        self.script.write_text(
            f"#!/bin/sh\ncd '{ROOT}' && exec '{sys.executable}' -m cli inventory -C '{self.project}' -s $STACK \"$@\"\n"
        )
        self.script.chmod(0o755)
        (place / "run time").mkdir()
        self.environment = {
            "PATH": f"{place}/bin:/usr/bin:/bin",
            "HOME": str(place / "home"),
            "XDG_RUNTIME_DIR": str(place / "run time"),
            "PULUMI_BACKEND_URL": "file:///nowhere",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,  # a socket's path is short
            "ANSIBLE_HOST_KEY_CHECKING": "False",  # a user's careless setting changes nothing
            "ANSIBLE_TIMEOUT": "10",
            "STACK": "stage",
            "LC_ALL": "C.UTF-8",
        }
        (place / "home").mkdir(exist_ok=True)

    def know(self, ways: Mapping[str, tuple[Connection, str]]) -> None:
        boots = []
        for name, way in ways.items():
            text = json.dumps(state(*way)["deployment"]["resources"][1])
            boots.append(json.loads(text.replace("::db1", f"::{name}")))
        (self.place / "exported").write_text(json.dumps({"version": 3, "deployment": {"resources": boots}}))

    def run(self, *argv: str, code: int = 0, **more: str) -> str:
        done = subprocess.run(
            argv, env=self.environment | more, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    def listed(self, **more: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(str(self.script), "--list", code=0, **more))
        return found


@pytest.fixture
def desk(tmp_path: Path, machines: dict[str, Machine]) -> Iterator[Desk]:
    machines["db1"].known_to_user(tmp_path / "home")
    with tempfile.TemporaryDirectory(prefix="us-") as sockets:
        yield Desk(tmp_path, machines, machines["db1"], sockets)


def test_the_groups(desk: Desk) -> None:
    found = desk.listed()
    assert {name: each["hosts"] for name, each in found.items() if name != "_meta"} == {
        "all": ["db1", "web-1"],
        "load_balancer": ["web-1"],
        "postgresql": ["db1"],
        "primary": ["db1"],
        "store_shop": ["db1"],
    }
    prod = desk.listed(STACK="prod")
    assert prod["beat"]["hosts"] == ["db1"]
    assert prod["all"]["hosts"] == ["db1", "old", "web-1"]
    old = prod["_meta"]["hostvars"]["old"]
    assert (old["ansible_user"], old["ansible_become"], old["ansible_host"]) == ("admin", True, "127.0.0.1")
    assert "ansible_ssh_private_key_file" not in old
    assert json.loads(desk.run(str(desk.script), "--host", "db1")) == found["_meta"]["hostvars"]["db1"]


def test_the_key_is_the_users_alone_and_goes_with_its_machine(desk: Desk, machines: dict[str, Machine]) -> None:
    file = Path(desk.listed()["_meta"]["hostvars"]["web-1"]["ansible_ssh_private_key_file"])
    assert file.is_relative_to(desk.place / "run time")
    for path in (file, file.with_name("known_hosts"), file.parent, file.parent.parent):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    desk.know({"db1": (machines["db1"].connection, machines["db1"].private_key)})
    assert desk.listed()["all"]["hosts"] == ["db1"]
    assert not file.exists()
    home = Path(desk.listed(XDG_RUNTIME_DIR="")["_meta"]["hostvars"]["db1"]["ansible_ssh_private_key_file"])
    assert home.is_relative_to(desk.place / "home" / ".local" / "state")


def test_ansible_runs_a_command_everywhere(desk: Desk) -> None:
    said = desk.run("ansible", "-i", str(desk.script), "all", "-a", "cat /etc/ssh/double_authorized_keys")
    assert said.count("| CHANGED | rc=0 >>") == 2
    assert said.count("ssh-ed25519 ") == 2
    said = desk.run("ansible", "-i", str(desk.script), "primary", "-m", "ping")
    assert "db1 | SUCCESS" in said
    assert "web-1" not in said


def test_ansible_becomes_root_where_sudo_is_needed(desk: Desk, machines: dict[str, Machine]) -> None:
    with Machine("old", "AllowUsers admin") as old:
        sudo = old.root / "usr" / "bin" / "sudo"
        sudo.write_text("#!/usr/bin/bash-as-root -p\nwhile [ \"$1\" != -u ]; do shift; done; shift 2\n"
                        "exec setpriv --reuid=0 --regid=0 --clear-groups -- \"$@\"\n")  # fmt: skip
        place = desk.place / "other"
        place.mkdir()
        old.known_to_user(place / "home")
        other = Desk(place, machines, old, desk.sockets)
        other.environment["HOME"] = str(place / "home")
        ssh = ["--ssh-common-args", f"-o UserKnownHostsFile={place}/home/.ssh/known_hosts -o StrictHostKeyChecking=yes"]
        variables = other.listed(STACK="prod")["_meta"]["hostvars"]["old"]
        assert "StrictHostKeyChecking=yes" in variables["ansible_ssh_common_args"]
        key = f"ansible_ssh_private_key_file={place}/home/.ssh/id_ed25519"
        common = f"ansible_ssh_common_args='{ssh[1]}'"
        argv = ("-i", str(other.script), "old", "-e", key, "-e", common, "-a", "id -u")
        said = other.run("ansible", *argv, STACK="prod")
        assert said.endswith("rc=0 >>\n0\n")


def test_another_host_key_is_refused_whatever_the_users_settings_are(desk: Desk, machines: dict[str, Machine]) -> None:
    web = machines["web-1"]
    other = Connection(name="web-1", address="127.0.0.1", port=web.port, host_key=keypair()[1])
    desk.know({"web-1": (other, web.private_key)})
    said = desk.run("ansible", "-i", str(desk.script), "all", "-a", "true", code=4)
    assert "UNREACHABLE!" in said
    assert "Host key verification failed" in said


def test_a_stack_without_machines_is_told(desk: Desk) -> None:
    desk.run(str(desk.script), "--list")
    keys = desk.place
    assert list(keys.rglob("*.key"))
    desk.know({})
    said = desk.run(str(desk.script), "--list", code=1)
    assert not list(keys.rglob("*.key"))
    assert "no machine web-1 that it has built" in said
    assert "no machine that can be reached" in said


def test_the_scripts_of_the_repository_call_it_for_the_stack_of_their_name(tmp_path: Path) -> None:
    (tmp_path / "inventory").mkdir()
    for name in ("stage", "prod"):
        script = ROOT / "inventory" / name
        assert os.access(script, os.X_OK)
        (tmp_path / "inventory" / name).write_bytes(script.read_bytes())
        (tmp_path / "inventory" / name).chmod(0o755)
        (tmp_path / "run").write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
        (tmp_path / "run").chmod(0o755)
        said = subprocess.check_output([str(tmp_path / "inventory" / name), "--list"], text=True)
        assert said == f"understudy|inventory|--cwd|{tmp_path}/inventory/..|-s|{name}|--list|"
