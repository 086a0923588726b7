"""A real qemu whose processor runs in a circle is reset; one that waits is not. A boot sector is all that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioners.hypervisor import silent
from provisioners.hypervisor.virsh import Virsh
from tests.doubles.pulumi import wait_until
from tests.vm import test_known_complaints as complaints
from tests.vm.test_known_complaints import Pool

pytestmark = pytest.mark.vm
pool = complaints.pool

# mov dx, 0x3f8; mov al, "B"; out dx, al: a letter on the serial line for each start.
LETTER = b"\xba\xf8\x03\xb0B\xee"
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


def start(pool: Pool, code: bytes) -> tuple[str, Path]:
    """Start a machine of this code, and return its name, and where its letters are; the pool's end is its end too."""
    name, disk, serial = f"{pool.name}-a", pool.directory / "sector.raw", pool.directory / "serial"
    disk.write_bytes((LETTER + code).ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    serial.touch()
    Virsh().run("create", "/dev/stdin", stdin=XML.format(name=name, disk=disk, serial=serial))
    wait_until(lambda: serial.read_bytes() == b"B", 60)
    return name, serial


def test_a_circle(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silent, "_CIRCLE_SECONDS", 5.0)
    name, serial = start(pool, CIRCLE)
    monkeypatch.setattr(silent, "_LEAST_LOOKS", 3)
    assert silent.look_at(Virsh(), name, resets=True)
    wait_until(lambda: serial.read_bytes() == b"BB", 60)


def test_a_machine_that_waits(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    name, serial = start(pool, WAIT)
    assert not silent.look_at(Virsh(), name, resets=True)
    assert serial.read_bytes() == b"B"
    monkeypatch.setattr(silent, "_STILL_SECONDS", 5.0)
    assert silent.look_at(Virsh(), name, resets=True, unborn=True), "one that never answered has nothing to lose"
    wait_until(lambda: serial.read_bytes() == b"BB", 60)
