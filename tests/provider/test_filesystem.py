"""File systems on real block devices: made where nothing is, and never over data."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from model.errors import UnderstudyError
from provisioners.provider.filesystem import Filesystem
from tests.doubles.sshd import Machine

KIND = Filesystem()


def quiet(_: str) -> None:
    """Show nothing."""


def inputs(machine: Machine, device: str, **more: Any) -> dict[str, Any]:
    """Return a file system's inputs."""
    reach = {"connection": machine.connection.values(), "private_key": machine.private_key, "generation": "1"}
    return {**reach, "device": device, "label": "data", "mount": "/srv/data", **more}


def test_it_is_made_once_mounted_and_forgotten_without_loss(machine: Machine, disk: str) -> None:
    wanted = inputs(machine, disk)
    assert KIND.check(wanted) == ()
    identifier, outputs = KIND.create(wanted, quiet)
    kept = machine.root / "srv/data/kept"
    kept.write_text("data")
    assert KIND.create(wanted, quiet) == (identifier, outputs) == ("m1:/srv/data", {})
    assert kept.read_text() == "data"
    fstab = (machine.root / "etc/fstab").read_text()
    assert fstab.count("LABEL=data /srv/data ext4 defaults,nofail 0 2\n") == 1
    real = KIND.read(identifier, wanted, outputs, quiet)
    assert real is not None
    assert real.inputs == wanted

    renamed = {**wanted, "label": "more"}
    KIND.update(identifier, wanted, renamed, {}, quiet)
    assert "LABEL=more /srv/data" in (machine.root / "etc/fstab").read_text()
    KIND.delete(identifier, renamed, {}, quiet)
    assert not kept.exists()
    assert "/srv/data" not in (machine.root / "etc/fstab").read_text()
    assert KIND.read(identifier, renamed, {}, quiet) is None
    KIND.create(renamed, quiet)
    assert kept.read_text() == "data"


def test_it_takes_all_of_a_disk_that_was_made_bigger(machine: Machine, disk: str, tmp_path: Path) -> None:
    """Where the kernel refuses it, only that it is asked for; on a machine: ``tests/vm/test_change_story.py``."""
    machine.program("resize2fs", 'echo "$@" >>/tmp/resized')
    small = inputs(machine, disk, disk_mib=16)
    KIND.create(small, quiet)
    with (tmp_path / "disk").open("r+b") as image:
        image.truncate(48 << 20)
    later = subprocess.Popen(("sh", "-c", f"sleep 2; losetup --set-capacity {disk}"))
    bigger = {**small, "disk_mib": 48}
    assert KIND.check(bigger) == ()
    KIND.update("", small, bigger, {}, quiet)
    assert later.wait() == 0
    assert subprocess.check_output(("blockdev", "--getsize64", disk), text=True).strip() == str(48 << 20)
    assert (machine.root / "tmp/resized").read_text().split() == [disk, disk]
    KIND.delete("", bigger, {}, quiet)


@pytest.mark.parametrize("content", ["garbage", "another label", "a swap area"])
def test_what_is_not_empty_is_never_written(machine: Machine, disk: str, content: str) -> None:
    if content == "garbage":
        with Path(disk).open("r+b") as raw:
            raw.seek(700_000)
            raw.write(b"somebody's data")
    elif content == "another label":
        subprocess.run(("mkfs.ext4", "-q", "-L", "theirs", disk), check=True)
    else:
        subprocess.run(("mkswap", disk), check=True, capture_output=True)
    subprocess.run(("sync", disk), check=True)
    before = Path(disk).read_bytes()
    with pytest.raises(UnderstudyError, match=f"m1: {disk}: it h.*Nothing was overwritten|it has no file system"):
        KIND.create(inputs(machine, disk, mount="/srv/other"), quiet)
    assert Path(disk).read_bytes() == before


def test_one_that_we_were_cut_off_while_making_is_made_anew(machine: Machine, disk: str) -> None:
    with Path(disk).open("r+b") as raw:
        raw.seek(8192)
        raw.write(b"\1" * 4096)
    begun = machine.root / "var/lib/understudy-guest" / f"mkfs-{disk.replace('/', '_')}"
    begun.parent.mkdir(exist_ok=True)
    begun.touch()
    KIND.create(inputs(machine, disk), quiet)
    assert not begun.exists()


def test_a_disk_that_was_plugged_in_just_now_is_waited_for(machine: Machine, disk: str) -> None:
    """A cloud says that a disk is plugged in before the machine has given it its name."""
    late = Path(f"/dev/understudy-late-{os.getpid()}")  # its /dev is this computer's
    plugged = threading.Timer(2, late.symlink_to, (disk,))
    plugged.start()
    try:
        assert not late.is_symlink()
        KIND.create(inputs(machine, str(late)), quiet)
        assert late.is_symlink()
    finally:
        plugged.join()
        late.unlink()


def test_a_missing_disk_is_named(machine: Machine) -> None:
    with pytest.raises(UnderstudyError, match="there is no disk /dev/vdz"):
        KIND.create(inputs(machine, "/dev/vdz"), quiet)


def test_a_machine_that_mounts_it_at_the_same_moment_is_no_fault(machine: Machine, disk: str) -> None:
    """Seen where a machine had just booted: between our look and our mount, its systemd mounted it."""
    mount = machine.root / "usr/local/bin/mount"
    mount.write_text('#!/bin/sh\nrm "$0"\n/usr/bin/mount "$@" && exec /usr/bin/mount "$@"\n')
    mount.chmod(0o755)
    wanted = inputs(machine, disk)
    identifier, outputs = KIND.create(wanted, quiet)
    assert not mount.exists()
    real = KIND.read(identifier, wanted, outputs, quiet)
    assert real is not None
    assert real.inputs == wanted
