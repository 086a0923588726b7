"""What is on a machine already can be imported; a program that describes it then changes nothing on the machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.errors import UnderstudyError
from provisioners.provider.filesystem import Filesystem
from provisioners.provider.service import Service
from provisioners.shell import close_all
from tests.doubles.pulumi import Project
from tests.doubles.sshd import Machine

CONFIG = "# the shop's\nlisten 80\n"


def quiet(_: str) -> None:
    """Show nothing."""


@pytest.fixture
def home(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of somebody whose own ssh reaches the machine."""
    machine.known_to_user(tmp_path / "home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    close_all()


@pytest.fixture
def web(machine: Machine) -> Iterator[dict[str, Any]]:
    """A service that somebody set up by hand, as a program describes it."""
    conf, unit = machine.root / "etc/web.conf", machine.root / "etc/systemd/system/web.service"
    conf.write_text(CONFIG)
    unit.write_text("[Service]\nExecStart=/bin/sleep 9\n")
    machine.inside("systemctl", "enable", "web.service")
    machine.inside("systemctl", "start", "web.service")
    yield {
        "connection": machine.connection.values(),
        "private_key": {"secret": machine.private_key},
        "generation": "1",
        "service": "web",
        "files": {"/etc/web.conf": {"content": CONFIG}},
        "units": {"web.service": {"restart_on": []}},
    }
    conf.unlink(missing_ok=True)
    unit.unlink(missing_ok=True)


def at(machine: Machine, path: str) -> str:
    """Return the address of something on the machine."""
    return f"ssh://root@127.0.0.1:{machine.port}{path}"


def test_a_service_is_imported_and_the_program_that_describes_it_changes_nothing(
    machine: Machine, home: Path, web: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    url = at(machine, "/web?file=/etc/web.conf&unit=web.service")
    project.run("import", "understudy:index:Service", "web", url, "--yes", "--generate-code=false")
    (kept,) = [each for each in project.state() if each["type"].endswith(":Service")]
    assert (kept["inputs"]["files"], kept["inputs"]["units"]) == (web["files"], web["units"])
    before = machine.systemctl_calls()
    project.resources({"web": {"kind": "Service", "inputs": web, "outputs": ["change"]}})
    assert "2 unchanged" in project.run("up", "--yes", "--skip-preview", "--refresh")
    assert not [call for call in machine.systemctl_calls()[len(before) :] if "show" not in call]
    assert not (machine.root / "root/configs/web").exists(), "nothing was changed"

    # From now on it is a service as any other: what somebody changes by hand shows, and Git has the last word.
    (machine.root / "etc/web.conf").write_text(CONFIG.replace("80", "8080"))
    assert "listen 8080" in project.run("preview", "--refresh", "--diff")
    project.run("up", "--yes", "--skip-preview", "--refresh")
    assert (machine.root / "etc/web.conf").read_text() == CONFIG


def test_what_the_machine_remembers_of_a_service_need_not_be_named(
    machine: Machine, home: Path, web: dict[str, Any]
) -> None:
    """As where the state was lost."""
    new = {**web, "private_key": machine.private_key, "service": "again"}
    new["files"] = {**web["files"], "/etc/again.conf": {"content": "x\n", "mode": "0640"}}
    with pytest.raises(UnderstudyError, match="names no file and no unit, and the machine remembers none"):
        Service().read(at(machine, "/again"), {}, {}, quiet)
    outputs = Service().create(new, quiet)[1]
    with pytest.raises(UnderstudyError, match=r"/etc/again.conf may hold a secret"):
        Service().read(at(machine, "/again"), {}, {}, quiet)
    (machine.root / "etc/again.conf").chmod(0o644)
    real = Service().read(at(machine, "/again"), {}, {}, quiet)
    assert real is not None
    assert set(real.inputs["files"]) == {"/etc/again.conf"}, "what it found as it should be, it did not touch"
    assert real.outputs["change"] == outputs["change"]


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("/web?file=/etc/nothing", "/etc/nothing is not there"),
        ("/web?file=/etc", r"/etc is no file: \(directory\)"),
        ("/web?file=etc/passwd&unit=web", "the name is not allowed.*the name is not allowed"),
        ("/web?file=/bin/true", "/bin/true is no text"),
        ("/web?unit=other.service", "other.service does not run"),
        ("/web?files=/etc/web.conf", "files: there is no such word"),
        ("/WEB", "service: found 'WEB'"),
    ],
)
def test_what_cannot_be_taken_over_is_named(
    machine: Machine, home: Path, web: dict[str, Any], named: str, words: str
) -> None:
    with pytest.raises(UnderstudyError, match=words):
        Service().read(at(machine, named), {}, {}, quiet)


def test_a_file_system_is_imported_where_it_is_mounted(machine: Machine, home: Path, disk: str) -> None:
    reach = {"connection": machine.connection.values(), "private_key": machine.private_key, "generation": "1"}
    wanted = {**reach, "device": disk, "label": "data", "mount": "/srv/data"}
    Filesystem().create(wanted, quiet)
    real = Filesystem().read(at(machine, "/srv/data"), {}, {}, quiet)
    assert real is not None
    assert Filesystem().check(real.inputs) == ()
    assert {key: real.inputs[key] for key in ("device", "label", "mount")} == {
        key: wanted[key] for key in ("device", "label", "mount")
    }
    assert Filesystem().read(at(machine, "/srv/other"), {}, {}, quiet) is None
    with pytest.raises(UnderstudyError, match="proc on proc with the label ''; wanted ext4"):
        Filesystem().read(at(machine, "/proc"), {}, {}, quiet)
    with pytest.raises(UnderstudyError, match="mount: found ''"):
        Filesystem().read(at(machine, ""), {}, {}, quiet)
