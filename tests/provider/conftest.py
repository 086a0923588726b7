"""One machine for the tests of a module, and a shell on it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioners.shell import Shell, close_all, connect
from tests.doubles.sshd import Machine


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A running machine."""
    with Machine() as running:
        yield running
    close_all()


@pytest.fixture
def shell(machine: Machine) -> Iterator[Shell]:
    """A shell on it."""
    with connect(machine.connection, machine.private_key, lambda _: None, 10) as opened:
        yield opened


@pytest.fixture
def disk(tmp_path: Path, machine: Machine) -> Iterator[str]:
    """A small empty disk."""
    image = tmp_path / "disk"
    with image.open("wb") as empty:
        empty.truncate(16 << 20)
    attach = ("losetup", "--find", "--show", str(image))
    device = subprocess.run(attach, capture_output=True, text=True, check=True).stdout.strip()
    yield device
    umount = ("nsenter", f"--mount=/proc/{machine.sessions()[0]}/ns/mnt", "umount", device)
    subprocess.run(umount, capture_output=True, check=False)
    subprocess.run(("losetup", "--detach", device), check=True)
