"""Real qemus that do not answer: what runs in a circle is reset, what waits is not, and a full disk halts one.

A boot sector is all that runs.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioners.hypervisor import silent
from provisioners.hypervisor.silent import Stalled
from provisioners.hypervisor.virsh import Virsh
from tests.doubles.pulumi import wait_until
from tests.vm import test_known_complaints as complaints
from tests.vm.test_known_complaints import Pool

pytestmark = pytest.mark.vm
pool = complaints.pool

# mov dx, 0x3f8; mov al, "B"; out dx, al: a letter on the serial line for each start.
LETTER = b"\xba\xf8\x03\xb0B\xee"
# A sector of what was read, to cylinder 0, head 0, sector 10 of the first disk, by the BIOS; then another letter.
WRITE = b"\xb8\x01\x03\xbb\x00\x7c\xb9\x0a\x00\xba\x80\x00\xcd\x13" + LETTER.replace(b"B", b"C")
CIRCLE, WAIT = b"\xeb\xfe", b"\xfb\xf4\xeb\xfd"  # jmp to itself; sti, hlt, and again
XML = """
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>32</memory><vcpu>2</vcpu><os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='hda'/></disk>
    <serial type='file'><source path='{serial}'/></serial>
  </devices>
</domain>
"""


def start(pool: Pool, code: bytes, place: str = "") -> tuple[str, Path]:
    """Start a machine of this code, and return its name, and where its letters are; the pool's end is its end too."""
    name, disk, serial = f"{pool.name}-a", pool.directory / place / "sector.raw", pool.directory / "serial"
    disk.write_bytes((LETTER + code).ljust(510, b"\0") + b"\x55\xaa")
    os.truncate(disk, 1 << 20)  # the rest is a hole
    serial.touch()
    Virsh().run("create", "/dev/stdin", stdin=XML.format(name=name, disk=disk, serial=serial))
    wait_until(lambda: serial.read_bytes() == b"B", 60)
    return name, serial


@pytest.fixture
def small(pool: Pool) -> Iterator[Path]:
    """Give a disk of 64 KiB below the pool."""
    place = pool.directory / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=711", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["virsh", "destroy", f"{pool.name}-a"], capture_output=True, check=False)
    subprocess.run(["umount", str(place)], check=True)


def test_a_machine_whose_host_has_no_room(pool: Pool, small: Path) -> None:
    """It is halted where it writes, which is said; with room, the write is done, and it goes on where it was."""

    def written() -> bytes:
        return (small / "sector.raw").read_bytes()[9 * 512 : 10 * 512]

    with (small / "ballast").open("wb") as ballast:
        subprocess.run(["fallocate", "--length=60K", ballast.name], check=True)
    name, serial = start(pool, WRITE + WAIT, "small")
    wait_until(lambda: Virsh().state(name) == "paused", 60)
    with pytest.raises(Stalled, match="libvirt halted it, because this host could not write to its disk"):
        silent.look_at(Virsh(), name, resets=True)
    Virsh().run("resume", name)
    wait_until(lambda: Virsh().state(name) == "paused", 60)
    assert written() == bytes(512)
    (small / "ballast").unlink()
    Virsh().run("resume", name)
    wait_until(lambda: serial.read_bytes() == b"BC", 60)
    wait_until(lambda: written().startswith(LETTER + WRITE), 60)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what runs in a circle be found sooner; so would be whoever is wrongly taken for it."""
    for name, value in (("_CIRCLE_SECONDS", 5.0), ("_LEAST_LOOKS", 3), ("_MOST_SECONDS", 40.0)):
        monkeypatch.setattr(silent, name, value)


def test_a_circle(pool: Pool, impatient: None) -> None:
    name, serial = start(pool, CIRCLE)
    assert silent.look_at(Virsh(), name, resets=True)
    wait_until(lambda: serial.read_bytes() == b"BB", 60)


def test_a_machine_that_waits(pool: Pool, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    name, serial = start(pool, WAIT)
    assert not silent.look_at(Virsh(), name, resets=True)
    assert serial.read_bytes() == b"B"
    monkeypatch.setattr(silent, "_STILL_SECONDS", 5.0)
    assert silent.look_at(Virsh(), name, resets=True, unborn=True), "one that never answered has nothing to lose"
    wait_until(lambda: serial.read_bytes() == b"BB", 60)
