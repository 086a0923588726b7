"""Files on a machine: any name, any content, what is really there, and what was there before us."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from model.errors import UnderstudyError
from provisioners.provider import machines
from provisioners.provider.file import File
from provisioners.provider.kinds import HalfMade, Real
from provisioners.shell import Unreachable, close_all
from tests.doubles.sshd import Machine

FILE = File()
CHARACTERS = st.one_of(
    st.sampled_from("'\"$`\\;&|*?[]{}()<>!#~ \n\t-%"), st.characters(codec="utf-8", exclude_characters="\0/")
)
NAMES = st.text(CHARACTERS, min_size=1, max_size=40).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200 and str(PurePosixPath(name)) == name
)


def quiet(_: str) -> None:
    """Show nothing."""


def inputs(machine: Machine, path: str, content: str, **more: Any) -> dict[str, Any]:
    """Return a file's inputs."""
    reach = {"connection": machine.connection.values(), "private_key": machine.private_key, "generation": "1"}
    return {**reach, "path": path, "content": content, **more}


def read(given: dict[str, Any]) -> Real:
    """Return what is really there, which must be something."""
    real = FILE.read("", given, {}, quiet)
    assert real is not None
    return real


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(name="-rf", content="\r\n\0 {} $(reboot) \ud7ff\n\n")
@example(name="a\nb", content="")
@given(name=NAMES, content=st.text(st.characters(codec="utf-8"), max_size=200))
def test_any_name_and_content_comes_back_as_it_was(machine: Machine, name: str, content: str) -> None:
    wanted = inputs(machine, f"/srv/of us/{name}", content, mode="0600")
    assert FILE.check(wanted) == ()
    identifier, outputs = FILE.create(wanted, quiet)
    assert read(wanted).inputs == wanted
    assert outputs == read(wanted).outputs
    assert (machine.root / "srv/of us" / name).read_bytes() == content.encode()
    FILE.delete(identifier, wanted, outputs, quiet)
    assert FILE.read(identifier, wanted, outputs, quiet) is None
    assert not (machine.root / "srv/of us").exists()


@pytest.mark.parametrize("path", ["relative", "/", "/a/../b", "/a//b", "/a/", "", "/a\0b", 7])
def test_other_paths_are_refused(machine: Machine, path: Any) -> None:
    assert [failure.property for failure in FILE.check(inputs(machine, path, "x"))] == ["path"]


def test_what_somebody_did_by_hand_is_seen(machine: Machine) -> None:
    wanted = inputs(machine, "/etc/seen", "a\n", owner="0", group="root")
    FILE.create(wanted, quiet)
    assert read(wanted).inputs == wanted, "a number is as good as a name"
    path = machine.root / "etc/seen"
    path.write_bytes(b"\xff\n")
    os.chown(path, 1, 4)
    path.chmod(0o4755)
    real = read(wanted).inputs
    assert (real["content"], real["mode"], real["owner"], real["group"]) == ("\\xff\n", "4755", "daemon", "adm")
    path.unlink()
    path.symlink_to("/etc/hostname")
    assert read(wanted).inputs["mode"] == "(symbolic link to /etc/hostname)"
    FILE.update("", wanted, wanted, {}, quiet)
    assert not path.is_symlink()
    assert read(wanted).inputs == wanted
    path.unlink()
    assert FILE.read("", wanted, {}, quiet) is None


def test_bytes_that_only_look_like_the_content_are_a_difference(machine: Machine) -> None:
    wanted = inputs(machine, "/etc/looks", "\\xff")
    FILE.create(wanted, quiet)
    (machine.root / "etc/looks").write_bytes(b"\xff")
    assert read(wanted).inputs["content"] != wanted["content"]


def test_a_file_that_grew_huge_is_not_fetched_whole(machine: Machine) -> None:
    wanted = inputs(machine, "/srv/huge", "x")
    FILE.create(wanted, quiet)
    with (machine.root / "srv/huge").open("wb") as huge:
        huge.truncate(5 << 30)
    content = read(wanted).inputs["content"]
    assert content.endswith("… 5368709120 bytes in all\n")
    assert len(content) < 1 << 21


def test_what_was_there_comes_back_also_after_many_changes(machine: Machine) -> None:
    path = machine.root / "etc/original"
    path.write_text("by the package\n")
    path.chmod(0o604)
    wanted = inputs(machine, "/etc/original", "1")
    FILE.create(wanted, quiet)
    changed = {**wanted, "content": "2", "generation": "2"}
    FILE.update("", wanted, changed, {}, quiet)
    FILE.create(changed, quiet)
    assert path.read_text() == "2"
    FILE.delete("", changed, {}, quiet)
    assert path.read_text() == "by the package\n"
    assert f"{path.stat().st_mode:o}" == "100604"


def test_a_refused_file_says_why_and_changes_nothing(machine: Machine) -> None:
    wanted = inputs(machine, "/etc/refused", "bad\n", validate=["sh", "-c", "echo line 1: bad >&2; exit 1", "x", "{}"])
    with pytest.raises(UnderstudyError, match=r"m1: /etc/refused: was not written: .*line 1: bad"):
        FILE.create(wanted, quiet)
    assert not (machine.root / "etc/refused").exists()


def test_a_service_that_refuses_the_file_shows_its_log(machine: Machine) -> None:
    broken = machine.root / "etc/fake-broken/demo.service"
    broken.parent.mkdir()
    broken.touch()
    wanted = inputs(machine, "/etc/for-demo", "x", reload="demo.service")
    with pytest.raises(HalfMade, match=r"m1: demo.service: (.|\n)*last words of the service") as caught:
        FILE.create(wanted, quiet)
    assert caught.value.identifier == "m1:/etc/for-demo"
    shown: list[str] = []
    FILE.delete("", wanted, {}, shown.append)
    assert not (machine.root / "etc/for-demo").exists()
    assert any("does not take" in line for line in shown), "backing out goes on"
    broken.unlink()
    FILE.create(wanted, quiet)


def test_a_silent_machine_is_an_error_and_not_a_missing_file(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = inputs(machine, "/etc/far", "x")
    monkeypatch.setattr(machines, "READ_PATIENCE_SECONDS", 0.3)
    machine.stop()
    close_all()
    try:
        with pytest.raises(Unreachable, match=r"m1: no SSH at 127.0.0.1 .* Is the machine running"):
            FILE.read("", wanted, {}, quiet)
    finally:
        machine.start()
