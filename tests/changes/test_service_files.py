"""The files of a service: any name, any content, and what is really there where somebody did something by hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from provisioners.changes.checked import failures
from provisioners.provider import machines
from provisioners.shell import Unreachable, close_all
from tests.changes.values import SERVICE, quiet, read
from tests.doubles.sshd import Machine

CHARACTERS = st.one_of(
    st.sampled_from("'\"$`\\;&|*?[]{}()<>!#~ -%"), st.characters(codec="utf-8", exclude_categories=("C", "Z"))
)
NAMES = st.text(CHARACTERS, min_size=1, max_size=40).filter(
    lambda name: (
        name not in (".", "..") and len(name.encode()) < 200 and str(PurePosixPath(f"/a/{name}")) == f"/a/{name}"
    )
)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine() as running:
        yield running
    close_all()


def inputs(machine: Machine, path: str, content: str, **more: Any) -> dict[str, Any]:
    """Return the inputs of a service of one file."""
    reach = {"connection": machine.connection.values(), "private_key": machine.private_key, "generation": "1"}
    return {**reach, "service": "one", "files": {path: {"content": content, **more}}}


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(name="-rf", content="\r\n\0 {} $(reboot) END\n\ud7ff\n\n")
@example(name='it\'s "$HOME"', content="")
@given(name=NAMES, content=st.text(st.characters(codec="utf-8"), max_size=200))
def test_any_name_and_content_comes_back_as_it_was(machine: Machine, name: str, content: str) -> None:
    wanted = inputs(machine, f"/srv/of us/{name}", content, mode="0600")
    assert SERVICE.check(wanted) == ()
    identifier, outputs = SERVICE.create(wanted, quiet)
    assert read(wanted).inputs == wanted
    assert (machine.root / "srv/of us" / name).read_bytes() == content.encode()
    SERVICE.delete(identifier, wanted, outputs, quiet)
    assert not (machine.root / "srv/of us").exists()


@pytest.mark.parametrize("path", ["relative", "/", "/a/../b", "/a//b", "/a/", "", "/a\0b", "/a\nb"])
def test_other_paths_are_refused(machine: Machine, path: str) -> None:
    (failure,) = failures(inputs(machine, path, "x"))
    assert "an absolute path" in failure.reason


def test_what_somebody_did_by_hand_is_seen(machine: Machine) -> None:
    wanted = inputs(machine, "/etc/seen", "a\n", owner="0", group="root")
    SERVICE.create(wanted, quiet)
    assert read(wanted).inputs == wanted, "a number is as good as a name"
    path = machine.root / "etc/seen"
    path.write_bytes(b"\xff\n")
    os.chown(path, 1, 4)
    path.chmod(0o4755)
    real = read(wanted).inputs["files"]["/etc/seen"]
    assert real == {"content": "\\xff\n", "mode": "4755", "owner": "daemon", "group": "adm"}
    path.unlink()
    path.symlink_to("/etc/hostname")
    assert read(wanted).inputs["files"]["/etc/seen"]["mode"] == "(symbolic link to /etc/hostname)"
    SERVICE.update("", wanted, wanted, {}, quiet)
    assert not path.is_symlink()
    assert read(wanted).inputs == wanted
    path.unlink()
    assert read(wanted).inputs["files"]["/etc/seen"] == {"absent": True}


def test_bytes_that_only_look_like_the_content_are_a_difference(machine: Machine) -> None:
    wanted = inputs(machine, "/etc/looks", "\\xff")
    SERVICE.create(wanted, quiet)
    (machine.root / "etc/looks").write_bytes(b"\xff")
    assert read(wanted).inputs["files"] != wanted["files"]


def test_a_file_that_grew_huge_is_not_fetched_whole(machine: Machine) -> None:
    wanted = inputs(machine, "/srv/huge", "x")
    SERVICE.create(wanted, quiet)
    with (machine.root / "srv/huge").open("wb") as huge:
        huge.truncate(5 << 30)
    content = read(wanted).inputs["files"]["/srv/huge"]["content"]
    assert content.endswith("… 5368709120 bytes in all\n")
    assert len(content) < 1 << 21


def test_a_silent_machine_is_an_error_and_not_a_missing_file(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = inputs(machine, "/etc/far", "x")
    monkeypatch.setattr(machines, "READ_PATIENCE_SECONDS", 0.3)
    machine.stop()
    close_all()
    try:
        with pytest.raises(Unreachable, match=r"m1: no SSH at 127.0.0.1 .* Is the machine running"):
            SERVICE.read("", wanted, {}, quiet)
    finally:
        machine.start()
