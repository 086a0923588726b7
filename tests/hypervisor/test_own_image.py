"""A machine of a user's own image: when it is started anew with a cloud-init disk, when never, and what is left."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from model.connection import Connection, connection_of
from model.errors import UnderstudyError
from provisioners.hypervisor import cloud_init_disk, own_image, seeds
from provisioners.hypervisor.own_image import introduce, tell
from provisioners.hypervisor.virsh import VirshFailed
from provisioners.shell import Unreachable, WrongHostKey

FINAL = "ssh-ed25519 FINAL"
INPUTS: dict[str, Any] = {
    "domain": "stage-db1",
    "host_uri": "qemu:///system",
    "identity": {
        "hostname": "db1",
        "domain": "",
        "hosts": [],
        "authorized_keys": ["ssh-ed25519 CONTROLLER"],
        "cards": {"control": {"mac": "52:54:00:00:00:01", "address": "198.18.7.10", "prefix": 24}},
    },
    "connection": Connection(name="db1", address="198.18.7.10", host_key=FINAL).values(),
    "private_key": "key",
    "untouched": True,
}


def quiet(_: str) -> None: ...


@dataclass(kw_only=True)
class Host:
    """Libvirt and one machine: what was asked of it, and the disk that it has or had."""

    asked: list[str] = field(default_factory=list)
    plugged: bool = False
    lets_go: bool = True
    contents: dict[str, str] = field(default_factory=dict)
    label: str = ""

    def state(self, domain: str) -> str:
        assert domain == "stage-db1"
        return "running"

    def run(self, verb: str, domain: str, *more: str) -> str:
        assert domain == "stage-db1"
        self.asked.append(verb)
        seeds.clear_seeds()  # as another process may at any time
        if verb == "attach-disk":
            assert "--live" in more
            assert "--config" not in more
            assert more[more.index("--address") + 1] > "pci:0000.00.08.0", "it would be vda, and the system disk vdb"
            self.plugged = True
            self._look(more[0])
        if verb == "detach-disk":
            if not self.lets_go:
                raise VirshFailed(where="virsh", found="busy")
            self.plugged = False
        return "vda /a\nvdy /b\n" if verb == "domblklist" and self.plugged else "vda /a\n"

    def _look(self, disk: str) -> None:
        assert Path(disk).stat().st_mode & 0o077 == 0
        told = subprocess.run(["isoinfo", "-d", "-i", disk], capture_output=True, text=True, check=True).stdout
        self.label = next(line.split()[-1] for line in told.splitlines() if line.startswith("Volume id:"))
        for name in ("meta-data", "user-data", "network-config"):
            argv = ["isoinfo", "-R", "-x", f"/{name}", "-i", disk]
            self.contents[name] = subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setattr(seeds, "SEEDS", tmp_path / "seeds")
    monkeypatch.setattr(cloud_init_disk, "_UNPLUG_SECONDS", 0.2)
    monkeypatch.setattr(cloud_init_disk, "Virsh", lambda **_: made)
    return made


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Stand in for the machine: it shows each of these host keys to who expects it; what comes is noted."""
    came: list[tuple[str, str]] = []

    @contextmanager
    def connect(connection: Connection, key: str, say: object, patience_seconds: float) -> Iterator[Connection]:
        if connection.host_key == FINAL and not came:
            came.append(("nobody", FINAL))
            raise Unreachable(where="db1", found="no SSH")
        yield connection

    def settle(shell: Connection, *_: object) -> bool:
        came.append(("settled", shell.host_key))
        return True

    monkeypatch.setattr(own_image, "connect", connect)
    monkeypatch.setattr(own_image, "_is_settled", settle)
    return came


def act(**inputs: Any) -> None:
    introduce({**INPUTS, **inputs}, quiet)


def test_a_new_disk_meets_cloud_init_once_and_nothing_is_left(
    host: Host, reached: list[tuple[str, str]], tmp_path: Path
) -> None:
    act()
    assert host.asked == ["destroy", "start", "attach-disk", "resume", "domblklist", "detach-disk", "domblklist"]
    assert host.label == "cidata"
    told = json.loads(host.contents["user-data"].removeprefix("#cloud-config\n"))
    assert told["ssh_authorized_keys"] == ["ssh-ed25519 CONTROLLER"]
    first = told["ssh_keys"]["ed25519_public"]
    assert first.startswith("ssh-ed25519 AAAA")
    assert reached == [("nobody", FINAL), ("settled", first)]
    assert list((tmp_path / "seeds").iterdir()) == []


def test_each_telling_is_another_instance_with_another_key(host: Host, reached: list[tuple[str, str]]) -> None:
    act()
    before = dict(host.contents)
    reached.clear()
    act()
    assert {name for name in before if before[name] != host.contents[name]} == {"meta-data", "user-data"}


def test_a_machine_that_is_who_it_is_to_be_is_not_started_anew(host: Host, reached: list[tuple[str, str]]) -> None:
    reached.append(("it", "is there"))
    act()
    assert host.asked == ["domblklist"]
    assert reached[1:] == [("settled", FINAL)]


def test_a_disk_that_was_written_to_never_meets_cloud_init_again(host: Host, reached: list[tuple[str, str]]) -> None:
    reached.append(("it", "is there"))
    act(untouched=False)
    assert "attach-disk" not in host.asked
    assert "destroy" not in host.asked


def test_a_cloud_init_that_did_not_listen_to_the_disk(
    host: Host, reached: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run was cut off after the hand-over: the machine shows its real key, and not the one on the new disk."""

    @contextmanager
    def connect(connection: Connection, key: str, say: object, patience_seconds: float) -> Iterator[Connection]:
        if connection.host_key != FINAL or patience_seconds < 2:
            raise WrongHostKey(where="db1", found="another key")
        yield connection

    monkeypatch.setattr(own_image, "connect", connect)
    act()
    assert reached == [("settled", FINAL)]
    assert not host.plugged


def test_a_disk_that_the_machine_does_not_let_go_is_told(host: Host, reached: list[tuple[str, str]]) -> None:
    host.lets_go = False
    with pytest.raises(UnderstudyError, match=r"does not let go of its cloud-init disk \(vdy\)"):
        act()


def test_what_is_new_is_told_over_the_way_that_was_used_before(reached: list[tuple[str, str]]) -> None:
    reached.append(("it", "is there"))
    new = {**INPUTS, "connection": {**INPUTS["connection"], "host_key": "ssh-ed25519 NEWER"}}
    tell(INPUTS, new, quiet)
    assert reached[1:] == [("settled", FINAL)]
    assert connection_of(new["connection"]).host_key == "ssh-ed25519 NEWER"
