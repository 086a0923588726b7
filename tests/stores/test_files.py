"""A directory of files as a store: every byte, mode, time and odd name, and only good data takes over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.errors import UnderstudyError
from model.topology import Backup
from provisioners.shell import close_all
from provisioners.stores import files
from provisioners.stores.kind import SeededStore
from provisioners.stores.repository import open_repository
from tests.stores.machines import Said, StoreMachine

KIND = SeededStore(files)
BACKUP = Backup(kind="files", location="uploads")
CONTENTS = {
    b"a b.txt": b"hello\n",
    b"sub/deep/.hidden": b"\0\1\2" * 999,
    b"empty": b"",
    b"-rf": b"no option",
    b'it\'s $(touch owned) `id`; "x" *?': b"odd",
    b"line\nbreak\r\ttab": b"more than a line",
    b"back\\slash\\n": b"as it stands",
    b"latin-\xe9.txt": b"a name from before Unicode",
    "täglich/🦉".encode(): b"owl",
    b"lost+found/kept": b"a file in a directory that every disk has",
    b"n" * 200 + b"/" + b"m" * 200: b"a path longer than a tar header",
}
LINKS = {"latest": "sub/deep", "sub/name": "../a b.txt", "out": "/etc/hostname", "nowhere": ".//gone/"}
Restored = tuple[dict[str, Any], dict[str, Any]]


def fill(directory: Path) -> None:
    """Write the files, each with a mode and a time of its own."""
    for at, (name, content) in enumerate(CONTENTS.items()):
        path = directory / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod((0o644, 0o640, 0o755, 0o600)[at % 4])
        os.utime(path, (1_500_000_000 + at, 1_500_000_000 + at))
    for link, target in LINKS.items():
        (directory / link).symlink_to(target)


def found(directory: Path) -> dict[str, Any]:
    """Return all that is no directory: a link's target, or a file's content, mode and time."""
    all_: dict[str, Any] = {}
    for path in directory.rglob("*"):
        if path.is_symlink():
            all_[str(path.relative_to(directory))] = os.readlink(path)  # noqa: PTH115  # a Path would tidy it up
        elif path.is_file():
            status = path.stat()
            how = status.st_mode & 0o7777, int(status.st_mtime), path.read_bytes()
            all_[str(path.relative_to(directory))] = how
    return all_


def pinned(project: Path) -> dict[str, str]:
    repository = open_repository(BACKUP, project)
    label = repository.newest().label
    return {"snapshot": label, "snapshot_digest": repository.digest(label)}


def served(machine: StoreMachine) -> Path:
    """Return where the name that users of the files know leads to; a link is followed as the machine does."""
    assert str((machine.root / "srv/files/uploads").readlink()) == ".uploads/current"
    return machine.root / "srv/files/.uploads" / (machine.root / "srv/files/.uploads/current").readlink()


def places(machine: StoreMachine) -> list[str]:
    return [name for name in machine.shell("ls", "/srv/files/.uploads").split() if name != "current"]


@pytest.fixture(scope="module")
def machine() -> Iterator[StoreMachine]:
    with StoreMachine("app1") as running:
        yield running
    close_all()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("project")
    fill(directory / "uploads")
    return directory


def wanted(machine: StoreMachine, project: Path, **more: Any) -> dict[str, Any]:
    return {
        **machine.common,
        "store": "uploads",
        "directory": "uploads",
        "owner": "nobody",  # its group has another name
        "seed": {"kind": "files", "location": "uploads"},
        "snapshot": "",
        "snapshot_digest": "",
        "project_directory": str(project),
        **more,
    }


@pytest.fixture(scope="module")
def restored(machine: StoreMachine, project: Path) -> Restored:
    inputs = wanted(machine, project, **pinned(project))
    assert KIND.check(inputs) == ()
    identifier, outputs = KIND.create(inputs, Said())
    assert identifier == "app1:uploads"
    return inputs, outputs


def test_every_file_is_as_it_was(machine: StoreMachine, project: Path, restored: Restored) -> None:
    there = served(machine)
    assert found(there) == found(project / "uploads")
    assert machine.shell("find", "-L", "/srv/files/uploads/", "-maxdepth", "1", "!", "-user", "nobody", "-print") in (
        "",
        "/srv/files/uploads/out",
    )
    assert [check["name"] for check in restored[1]["checks"] if check["ok"]] == list(files.ALWAYS)
    assert machine.shell("ls", f"/srv/files/.uploads/{restored[1]['data_id']}").split() == ["data", "key", "seed.json"]
    assert not (machine.root / "owned").exists()


def test_a_second_create_changes_nothing(machine: StoreMachine, restored: Restored) -> None:
    inputs, outputs = restored
    (served(machine) / "written by a user").write_text("stays")
    assert KIND.create(inputs, Said())[1] == outputs
    assert (served(machine) / "written by a user").exists()
    real = KIND.read("app1:uploads", inputs, outputs, Said())
    assert real is not None
    assert (real.inputs, real.outputs) == (inputs, outputs)


def test_the_name_that_leads_elsewhere_is_drift(machine: StoreMachine, restored: Restored) -> None:
    inputs, outputs = restored
    machine.shell("ln", "-sfn", "/tmp", "/srv/files/uploads")
    real = KIND.read("app1:uploads", inputs, outputs, Said())
    assert real is not None
    assert real.inputs["directory"] == "(leads to /tmp)"
    KIND.update("app1:uploads", inputs, inputs, outputs, Said())
    assert served(machine).name == "data"


def test_a_directory_that_is_in_the_way_stays(machine: StoreMachine, restored: Restored) -> None:
    inputs, outputs = restored
    machine.shell("sh", "-c", "rm /srv/files/uploads && mkdir /srv/files/uploads && touch /srv/files/uploads/mine")
    with pytest.raises(UnderstudyError, match="cannot overwrite directory"):
        KIND.update("app1:uploads", inputs, inputs, outputs, Said())
    assert machine.shell("ls", "/srv/files/uploads") == "mine"
    machine.shell("rm", "-r", "/srv/files/uploads")
    KIND.update("app1:uploads", inputs, inputs, outputs, Said())


def refused(machine: StoreMachine, inputs: dict[str, Any], **more: Any) -> str:
    """Try to fill it with something else; what served before must still."""
    before = served(machine), found(served(machine))
    with pytest.raises(UnderstudyError) as caught:
        KIND.update("app1:uploads", inputs, {**inputs, **more}, {}, Said())
    assert (served(machine), found(served(machine))) == before
    assert places(machine) == [before[0].parent.name], "a place was left behind"
    return str(caught.value)


def test_files_that_were_changed_since_they_were_pinned(
    machine: StoreMachine, restored: Restored, project: Path, tmp_path: Path
) -> None:
    shutil.copytree(project / "uploads", tmp_path / "uploads", symlinks=True)
    path = tmp_path / "uploads" / "a b.txt"
    path.write_text("hallo\n")
    os.utime(path, (1_500_000_000, 1_500_000_000))
    assert "not the one that was pinned" in refused(
        machine, restored[0], project_directory=str(tmp_path), drilled_at="1"
    )
    os.utime(path, (1_900_000_000, 1_900_000_000))  # not now: that may be the very second of the pin
    assert "without that snapshot" in refused(machine, restored[0], project_directory=str(tmp_path), drilled_at="2")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("printf x >>data/empty", ["./empty: FAILED"]),
        ("rm data/empty && mkdir data/empty", ["missing: empty", "./empty: FAILED"]),
        (
            "printf x >data/more && ln -sfn / data/latest && rm data/nowhere",
            ["not in the backup: more latest", "missing: latest nowhere"],
        ),
    ],
)
def test_files_that_arrive_otherwise_are_red(
    fault: str, says: list[str], machine: StoreMachine, restored: Restored
) -> None:
    """The machine's disk has its faults, which show after the files were copied."""
    cp = machine.root / "usr/local/bin/cp"
    cp.write_text(f'#!/bin/bash\n/usr/bin/cp "$@" && if [ -e data ]; then {fault}; fi\n')
    cp.chmod(0o755)
    try:
        error = refused(machine, restored[0], drilled_at=fault)
    finally:
        cp.unlink()
    assert "1 of 1 checks failed: every file is as in the backup (SHA-256)" in error
    assert [words for words in says if words not in error] == [], error


def test_an_owner_who_is_not_there(machine: StoreMachine, restored: Restored) -> None:
    assert "no such user" in refused(machine, restored[0], drilled_at="owner", owner="nobody-at-all")


def test_newer_files_take_the_place_of_the_old(
    machine: StoreMachine, restored: Restored, project: Path, tmp_path: Path
) -> None:
    inputs, outputs = restored
    shutil.copytree(project / "uploads", tmp_path / "uploads", symlinks=True)
    (tmp_path / "uploads" / "new").write_text("new")
    (tmp_path / "uploads" / "a b.txt").unlink()
    old = served(machine)
    newer = {**inputs, **pinned(tmp_path), "project_directory": str(tmp_path)}
    assert KIND.foresee(newer, outputs) == {}
    after = KIND.update("app1:uploads", inputs, newer, outputs, Said())
    assert places(machine) == [after["data_id"]]
    assert not old.exists()
    assert found(served(machine)) == found(tmp_path / "uploads")
    shutil.rmtree(served(machine))
    assert KIND.read("app1:uploads", newer, after, Said()) is None, "data that is gone is seen"
    KIND.create(newer, Said())
    assert found(served(machine)) == found(tmp_path / "uploads")


def test_files_that_begin_empty_are_kept_aside(machine: StoreMachine, project: Path, restored: Restored) -> None:
    inputs = wanted(machine, project, store="more", directory="more", seed={"kind": "init"}, owner="root")
    outputs = KIND.create(inputs, Said())[1]
    (machine.root / "srv/files/.more" / outputs["data_id"] / "data" / "mine").write_text("nobody's copy")
    after = KIND.update("app1:more", inputs, {**restored[0], "store": "more", "directory": "more"}, outputs, Said())
    assert (machine.root / "srv/files/.more" / outputs["data_id"] / "data" / "mine").read_text() == "nobody's copy"
    assert str((machine.root / "srv/files/.more/current").readlink()) == f"{after['data_id']}/data"
