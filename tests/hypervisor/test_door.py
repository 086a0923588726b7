"""The door to a host: the same act here and, over a real SSH server, on another; what goes wrong names that host."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from images.cache import RECORD
from model.connection import Connection
from model.errors import UnderstudyError
from model.host_uri import host_uri
from model.placed_hosts import PlacedHost
from model.topology import Access
from provisioners.hypervisor.copies import part
from provisioners.hypervisor.copy_out import copy_image
from provisioners.hypervisor.door import Here, There, door
from provisioners.hypervisor.edge import archive
from provisioners.hypervisor.virsh import VirshFailed
from provisioners.outcome import ConnectionLost, Unreachable, WrongHostKey
from provisioners.shell import close_all
from tests.doubles.sshd import Machine, keypair

PROGRAM = Path("var/lib/understudy/edge")


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Another host, into which the user's own key opens."""
    with Machine("rack1") as machine:
        machine.known_to_user(tmp_path / "home")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        yield machine
    close_all()


def uri(rack: Machine, **more: Any) -> str:
    access = Access(host="127.0.0.1", port=rack.port, **more)
    return host_uri(PlacedHost(name="rack1", access=access, host_key=rack.host_key))


def quiet(_: str) -> None:
    """Show nothing."""


def test_an_act_is_the_same_here_and_there(rack: Machine) -> None:
    """The network is the same one: the other host's own Python finds there what this one finds here."""
    said: list[str] = []
    there = door(uri(rack)).call("networks", say=said.append)
    assert there == json.loads(json.dumps(Here().call("networks", say=quiet)))
    assert said == ["rack1: sending it the program that works there"]
    (sent,) = (rack.root / PROGRAM).iterdir()
    assert sent.read_bytes() == archive()
    assert sent.name == f"{hashlib.sha256(archive()).hexdigest()[:16]}.zip"
    assert (rack.root / "var/lib/understudy").stat().st_mode & 0o777 == 0o711, "qemu passes through, and lists nothing"
    assert door(uri(rack)).call("networks", say=said.append) == there
    assert len(said) == 1, "it is sent once"


def test_who_is_not_root_there_becomes_it(rack: Machine) -> None:
    rack.program("virsh", "id -un")
    assert door(uri(rack, user="admin", sudo=True)).call("state", "a", say=quiet) == "root"


def test_progress_comes_while_it_works_and_errors_name_the_host(rack: Machine) -> None:
    away = '[ -e /run/there ] || { touch /run/there; echo "error: failed to connect socket" >&2; exit 1; }; exit 3'
    rack.program("virsh", away)
    said: list[str] = []
    with pytest.raises(VirshFailed, match=r"host rack1: qemu:///system: `virsh version`: no reason given"):
        There(way(rack)).call("version", say=said.append)
    assert "libvirt's daemon is away; waiting for it" in said
    rack.program("ip", "echo broken >&2; exit 1")
    with pytest.raises(UnderstudyError, match=r"^host rack1: `ip -json -4`: broken"):
        There(way(rack)).call("networks", say=quiet)


def way(rack: Machine) -> Connection:
    return replace(rack.connection, name="rack1")


def test_without_a_python_of_our_age(rack: Machine) -> None:
    rack.program("python3", '[ "$1" = --version ] || exit 1; echo Python 3.9.2')
    line = rf"`ssh -p {rack.port} root@127.0.0.1 sudo apt-get install --yes python3`"
    with pytest.raises(UnderstudyError, match=rf"host rack1: Python 3.9.2; wanted Python 3.11 .*{line}"):
        There(way(rack)).call("networks", say=quiet)


def test_a_host_that_is_off_and_one_that_is_another(rack: Machine) -> None:
    with pytest.raises(WrongHostKey):
        There(replace(way(rack), host_key=keypair()[1])).call("networks", say=quiet)
    rack.stop()
    with pytest.raises(Unreachable, match=rf"host rack1: no SSH .*`ssh -p {rack.port} root@127.0.0.1 true`"):
        There(way(rack), 0.5).call("networks", say=quiet)


def test_what_nobody_waits_for_any_more_stops(rack: Machine) -> None:
    """The connection is cut while the program waits for a daemon: it must not go on beside the next one."""
    rack.program("virsh", 'echo "error: failed to connect socket" >&2; exit 1')
    said: list[str] = []
    ended: list[BaseException] = []

    def call() -> None:
        try:
            There(way(rack)).call("version", say=said.append)
        except UnderstudyError as error:
            ended.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    while "libvirt's daemon is away; waiting for it" not in said:
        time.sleep(0.05)
    assert rack.inside("pgrep", "-f", "understudy/edge")
    rack.drop_sessions()
    caller.join()
    assert isinstance(ended[0], ConnectionLost)
    while rack.inside("pgrep", "-f", "understudy/edge", code=None):
        time.sleep(0.1)  # the test's own limit ends it where the program does not


FILES = {"disk.qcow2": bytes(range(256)) * 4096, "vmlinuz": b"kernel" * 999, "initrd.img": b"initrd" * 999}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image on this computer that no host has."""
    directory = tmp_path / "0123456789ab"
    directory.mkdir()
    files = {}
    for name, content in FILES.items():
        (directory / name).write_bytes(content)
        files[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    record = {"digest": directory.name, "files": files, "packages": {"bash": "5.2"}}
    (directory / RECORD).write_text(json.dumps(record))
    return directory


def kept(rack: Machine, image: Path) -> Path:
    return rack.root / "var/lib/understudy/images" / image.name


def test_an_image_is_copied_once_and_goes_on_where_it_was_cut(rack: Machine, image: Path) -> None:
    begun = rack.root / str(part(image.name, "disk.qcow2")).lstrip("/")
    begun.parent.mkdir(parents=True)
    begun.write_bytes(FILES["disk.qcow2"][:700_000])
    said: list[str] = []
    copy_image(There(way(rack)), image, said.append)
    disk, whole = len(FILES["disk.qcow2"]), sum(map(len, FILES.values()))
    assert f"image {image.name} to rack1: {700_000 >> 20} of {whole >> 20} MiB" in said
    assert {name: (kept(rack, image) / name).read_bytes() for name in FILES} == FILES
    own = f"disk-{hashlib.sha256(FILES['disk.qcow2']).hexdigest()[:12]}.qcow2"
    assert (kept(rack, image) / "disk.qcow2").readlink() == Path(own), "linked clones stand on this very build"
    assert (kept(rack, image) / own).stat().st_size == disk
    assert json.loads((kept(rack, image) / RECORD).read_text()) == json.loads((image / RECORD).read_text())
    assert not begun.parent.exists()
    said.clear()
    copy_image(There(way(rack)), image, said.append)
    assert said == []


def test_a_copy_that_is_not_what_was_sent_is_none(rack: Machine, image: Path) -> None:
    begun = rack.root / str(part(image.name, "disk.qcow2")).lstrip("/")
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"something else")
    with pytest.raises(UnderstudyError, match=r"host rack1: image 0123456789ab: its copy: disk.qcow2 is damaged"):
        copy_image(There(way(rack)), image, quiet)
    assert not kept(rack, image).exists()
    copy_image(There(way(rack)), image, quiet)
    assert (kept(rack, image) / "vmlinuz").read_bytes() == FILES["vmlinuz"]


def test_what_the_hosts_disk_refuses_is_told_in_its_words(rack: Machine, image: Path) -> None:
    begun = rack.root / str(part(image.name, "")).lstrip("/")
    begun.parent.mkdir(parents=True, exist_ok=True)
    begun.write_bytes(b"")
    with pytest.raises(UnderstudyError, match=rf"^host rack1: .*File exists: '/var/lib/understudy/images/{begun.name}"):
        copy_image(There(way(rack)), image, quiet)


def test_two_runs_do_not_write_one_copy(rack: Machine, image: Path) -> None:
    """The other one holds the file, and ends; then this one goes on from what is there."""
    begun = str(part(image.name, "disk.qcow2"))
    rack.inside("mkdir", "-p", str(Path(begun).parent))
    holding = 'exec 9>>"$0"; flock 9; until [ -e /tmp/go ]; do sleep 0.1; done >/dev/null 2>&1 &'
    rack.inside("bash", "-c", holding, begun)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("waiting: another run copies"):
            (rack.root / "tmp/go").touch()

    copy_image(There(way(rack)), image, say)
    assert f"waiting: another run copies image {image.name} to rack1" in said
    assert (kept(rack, image) / "disk.qcow2").read_bytes() == FILES["disk.qcow2"]
