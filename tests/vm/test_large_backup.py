"""Backups that reach their machine as a disk, as all but the smallest do; killed in between, and finished after all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.site import on_host
from model.topology import Backup
from provisioners.hypervisor.virsh import Virsh
from provisioners.shell import Shell, close_all
from provisioners.stores import files, postgresql, transfer
from provisioners.stores.kind import SeededStore
from provisioners.stores.repository import open_repository
from provisioners.stores.storage import file_digest
from tests.stores.machines import PROJECT, Said
from tests.vm.lab import ROOT, Lab, lab, machine

pytestmark = pytest.mark.vm

KILLED = """
import json, os, signal, sys
from provisioners.stores import files
from provisioners.stores.kind import SeededStore

given = json.load(sys.stdin)

def say(line):
    if line.startswith(given["at"]):
        os.kill(os.getpid(), signal.SIGKILL)

SeededStore(files).create(given["inputs"], say)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("lab") / "a", 7, [machine("a", 31, data_disk_mib=2048)]) as made:
        made.up()
        yield made
    close_all()


@pytest.fixture(scope="module")
def shell(made: Lab) -> Iterator[Shell]:
    with made.shell("a") as shell:
        yield shell


@pytest.fixture(scope="module")
def common(made: Lab) -> dict[str, Any]:
    output = made.outputs()["a"]
    reach = {name: output[name] for name in ("connection", "private_key", "generation")}
    return {**reach, "domain": made.domain("a"), "host_uri": "qemu:///system"}


def pinned(seed: dict[str, str], project: Path) -> dict[str, Any]:
    repository = open_repository(Backup(**seed), project)
    label = repository.newest().label
    digest = repository.digest(label)
    return {"seed": seed, "snapshot": label, "snapshot_digest": digest, "project_directory": str(project)}


def disks(made: Lab) -> list[str]:
    """Return the machine's disks, after those that are leaving have left."""
    listed: list[str] = []
    for _ in range(100):
        lines = Virsh().run("domblklist", made.domain("a")).splitlines()
        listed = [line.split()[0] for line in lines if line.strip()]
        if "vdz" not in listed:
            break
        time.sleep(0.2)
    return listed


def nothing_is_left(made: Lab, shell: Shell) -> None:
    assert disks(made) == ["vda", "vdb"]
    assert shell.run(("findmnt", "--noheadings", "--list", "--source", "LABEL=seed"), check=False).text == ""
    assert on_host(made.stack)["seeds"] == set()


def killed(inputs: dict[str, Any], at: str) -> None:
    """Let a controller begin, and kill it when it says something."""
    given = json.dumps({"inputs": inputs, "at": at})
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", KILLED], input=given, text=True, env=environment, check=False)
    assert done.returncode == -9, f"it was not killed at {at!r}"


def test_a_large_backup_whose_controller_is_killed(
    made: Lab, shell: Shell, common: dict[str, Any], tmp_path: Path
) -> None:
    """While the disk is made, when it is to be attached, and when it was; the next run finishes each."""
    (tmp_path / "uploads" / "sub").mkdir(parents=True)
    (tmp_path / "uploads" / "sub" / "large").write_bytes(os.urandom(40 << 20))
    (tmp_path / "uploads" / "small").write_text("small")
    (tmp_path / "uploads" / "small").chmod(0o640)
    os.utime(tmp_path / "uploads" / "small", (1_500_000_000, 1_500_000_000))
    (tmp_path / "uploads" / "link").symlink_to("sub/large")
    inputs = {**common, "store": "uploads", "directory": "uploads"}
    inputs |= pinned({"kind": "files", "location": "uploads"}, tmp_path)
    killed(inputs, "attaching the backup as a disk")
    killed(inputs, "restoring")
    said = Said()
    outputs = SeededStore(files).create(inputs, said)[1]
    assert not any("sending it" in line for line in said.lines), said.lines
    nothing_is_left(made, shell)
    assert shell.run(("stat", "-c", "%a %Y", "/srv/files/uploads/small")).text == "640 1500000000"
    assert shell.run(("readlink", "/srv/files/uploads/link")).text == "sub/large"
    assert shell.run(("ls", "-A", "/srv/files/uploads/")).text.split() == ["link", "small", "sub"]
    digest = shell.run(("sha256sum", "/srv/files/uploads/sub/large")).text.split()[0]
    assert digest == file_digest(tmp_path / "uploads" / "sub" / "large")
    killed({**inputs, "drilled_at": "once more"}, "restoring")
    assert SeededStore(files).create(inputs, Said())[1] == outputs, "the pin went back meanwhile"
    nothing_is_left(made, shell)
    assert shell.run(("ls", "/srv/files/.uploads")).text.split() == sorted((outputs["data_id"], "current"))


def test_a_database_from_a_disk(
    made: Lab, shell: Shell, common: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_DISK_FROM_BYTES", 0)
    inputs = {
        **common,
        **pinned({"kind": "pgbackrest", "location": "samples/pgbackrest", "stanza": "shop"}, PROJECT),
        "store": "shop",
        "version": "15",
        "database": "shop",
        "owner_role": "shop",
        "owner_password": "owner's",
        "settings": {"shared_buffers": "16MB"},
        "expected_tables": ["orders"],
        "heartbeat": {"table": "heartbeat", "column": "beat_at"},
    }
    said = Said()
    outputs = SeededStore(postgresql).create(inputs, said)[1]
    assert all(check["ok"] for check in outputs["checks"])
    assert "attaching the backup as a disk" in said.lines
    assert not any("sending" in line for line in said.lines), said.lines
    nothing_is_left(made, shell)
