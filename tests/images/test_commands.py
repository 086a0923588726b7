"""The commands that a build and a bare boot run, word by word; and where packages come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from images.bare import BareMachine, qemu_arguments
from images.cache import ImagePaths
from images.recipe import read_recipe
from images.root import install_arguments, run
from images.sources import read_sources
from model.errors import UnderstudyError
from model.kernel import kernel_command_line

IMAGE = Path("/var/lib/understudy/images/0123456789ab")


def test_install_arguments() -> None:
    recipe = replace(read_recipe(), packages=("perl-base", "curl"), excluded=("/usr/share/doc/*",))
    options = ('Acquire::Check-Valid-Until "false"',)
    assert install_arguments(recipe, Path("/w/tree"), Path("/w/image.sources"), options) == (
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--architectures=amd64",
        '--aptopt=Apt::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        '--aptopt=Acquire::Check-Valid-Until "false"',
        "--include=perl-base,curl",
        "bookworm",
        "/w/tree",
        "/w/image.sources",
    )


def test_qemu_arguments() -> None:
    image = ImagePaths(
        directory=IMAGE,
        digest=IMAGE.name,
        disk=IMAGE / "disk.qcow2",
        kernel=IMAGE / "vmlinuz",
        initrd=IMAGE / "initrd.img",
    )
    machine = BareMachine(
        disk=Path("/t/a.qcow2"),
        vcpus=2,
        memory_mib=512,
        identity_socket=Path("/t/id"),
        ssh_port=2201,
        control_address="198.18.7.10",
        control_mac="52:54:00:00:00:01",
        mirror_mac="52:54:00:00:00:02",
    )
    assert " ".join(qemu_arguments(image, machine)) == (
        "qemu-system-x86_64 -nodefaults -no-user-config -display none -machine q35,usb=off -accel tcg,thread=multi "
        f"-cpu Nehalem,+rdrand -smp 2 -m 512 -kernel {IMAGE}/vmlinuz -initrd {IMAGE}/initrd.img "
        f"-append {kernel_command_line('tcg')} -drive file=/t/a.qcow2,if=none,id=system,format=qcow2 "
        "-device virtio-blk-pci,drive=system -netdev user,id=control,net=198.18.7.0/24,host=198.18.7.1,restrict=on,"
        "hostfwd=tcp:127.0.0.1:2201-198.18.7.10:22 "
        "-device virtio-net-pci,netdev=control,romfile=,mac=52:54:00:00:00:01 -netdev hubport,hubid=1,id=mirror "
        "-device virtio-net-pci,netdev=mirror,romfile=,mac=52:54:00:00:00:02 "
        "-chardev socket,id=identity,path=/t/id,server=on,wait=off -device virtio-serial-pci "
        "-device virtserialport,chardev=identity,name=understudy.identity.0"
    )


def test_a_guests_clock_does_not_hang_on_the_time_stamp_counter() -> None:
    assert "tsc=unstable" in kernel_command_line("tcg").split()


DEB822 = """# main archive
Types: deb
URIs: http://a.invalid/debian
Suites: bookworm bookworm-updates sid
Components: main contrib
Signed-By: /k.gpg

Types: deb
URIs: http://b.invalid/
Suites: nodistro
Components: main

Types: deb
Enabled: no
URIs: http://c.invalid/
Suites: bookworm
Components: main
"""


def test_this_computers_own_sources_of_the_suite_are_used(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    assert read_sources("bookworm", tmp_path).splitlines() == [
        "Types: deb",
        "URIs: http://a.invalid/debian",
        "Suites: bookworm bookworm-updates",
        "Components: main",
        "Signed-By: /k.gpg",
    ]
    assert read_sources("trixie", tmp_path) == ""


def test_one_line_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "# x\ndeb [signed-by=/k.gpg] http://a.invalid/debian bookworm main\n"
        "deb-src http://a.invalid/debian bookworm main\ndeb http://b.invalid stable contrib\n"
        "deb http://s.invalid/debian-security bookworm-security main\n"
    )
    assert read_sources("bookworm", tmp_path) == (
        "deb [signed-by=/k.gpg] http://a.invalid/debian bookworm main\n"
        "deb http://s.invalid/debian-security bookworm-security main\n"
    )


def test_a_program_that_fails_is_named_with_its_last_lines() -> None:
    said = list[str]()
    with pytest.raises(UnderstudyError, match=r"making it: sh ended with 3:\nout of luck"):
        run(("sh", "-c", "echo out of luck >&2; exit 3"), "making it", said.append)
    assert said == ["making it"]
