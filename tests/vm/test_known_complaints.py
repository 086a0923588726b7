"""What people who use libvirt through Terraform or Pulumi complain about, where it could hit us.

Each test names the complaint with its address. Nothing boots: real qemus stand still before their first instruction.
What takes a machine that runs is in its own place: a leftover that stops the next ``up`` in
``tests/hypervisor/test_sweep`` and ``test_killed``; a power cut in place of a shutdown in
``tests/hypervisor/test_boot_kind``; no way without KVM in ``tests/hypervisor/test_accelerator``.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree as ET

import pytest

from components.backends.libvirt_values import domain_spec
from model import names
from model.libvirt_xml import (
    TRANSLATED_MIB,
    CardSpec,
    DomainSpec,
    domain_arguments,
    domain_xml,
    network_xml,
    volume_xml,
)
from model.placing import MACHINE_OVERHEAD_MIB
from tests.components import conftest as sample

pytestmark = pytest.mark.vm
make_site, project = sample.make_site, sample.project
URI = "qemu:///system"


def succeed(*argv: str | Path) -> str:
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def virsh(*words: str | Path) -> str:
    return succeed("virsh", "--quiet", "--connect", URI, *words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool of this test's own, with an image in it as ours are: root's, and readable by all."""

    name: str
    directory: Path
    image: Path

    def volume(self, name: str) -> str:
        """Make a linked clone as our stacks do, and return its path."""
        document = self.directory / f".{name}.xml"
        document.write_text(volume_xml(name, 64, str(self.image)))
        virsh("vol-create", self.name, document)
        return str(self.directory / name)

    def spec(self, name: str) -> DomainSpec:
        """Return a machine on a linked clone of the image; its card is plugged in nowhere."""
        return DomainSpec(
            name=f"{self.name}-{name}",
            uuid=str(uuid4()),
            vcpus=1,
            memory_mib=64,
            system_disk=self.volume(name),
            control=CardSpec(network="", mac="52:54:00:00:00:07"),
        )

    def define(self, spec: DomainSpec) -> None:
        """Describe a machine to libvirt, which keeps it until the end of the test."""
        document = self.directory / f".{spec.name}.xml"
        document.write_text(domain_xml(spec))
        virsh("define", document)

    def begin(self, spec: DomainSpec) -> None:
        """Start qemu, and stop before the first instruction."""
        document = self.directory / f".{spec.name}.xml"
        document.write_text(domain_xml(spec))
        virsh("create", "--paused", document)


@pytest.fixture
def pool() -> Iterator[Pool]:
    directory = Path(tempfile.mkdtemp(prefix="complaints-", dir=names.ROOT))
    directory.chmod(0o711)
    name, image = f"understudy-{directory.name}", directory / "image.qcow2"
    succeed("qemu-img", "create", "-q", "-f", "qcow2", image, "64M")
    virsh("pool-create-as", name, "dir", "--target", directory)
    yield Pool(name=name, directory=directory, image=image)
    for domain in virsh("list", "--all", "--name").split():
        if domain.startswith(name):
            subprocess.run(["virsh", "--connect", URI, "destroy", domain], capture_output=True, check=False)
            subprocess.run(["virsh", "--connect", URI, "undefine", domain], capture_output=True, check=False)
    virsh("pool-destroy", name)
    shutil.rmtree(directory)


def qemu_of(spec: DomainSpec) -> Path:
    """Return the process that runs a machine, in ``/proc``."""
    return Path("/proc", Path(f"/run/libvirt/qemu/{spec.name}.pid").read_text().strip())


def test_a_qemu_that_is_not_root_opens_what_root_made(pool: Pool) -> None:
    """Pools, volumes and images are made by root, and qemu may not read them.

    https://github.com/dmacvicar/terraform-provider-libvirt/issues/978,
    https://github.com/dmacvicar/terraform-provider-libvirt/issues/658,
    https://github.com/dmacvicar/terraform-provider-libvirt/issues/546
    """
    spec = pool.spec("app1")
    assert Path(spec.system_disk).stat().st_uid == 0
    assert Path(spec.system_disk).stat().st_mode & 0o777 == 0o600, "nobody else reads a machine's disk"
    pool.begin(spec)
    process = qemu_of(spec)
    (uid,) = {line.split()[1] for line in (process / "status").read_text().splitlines() if line.startswith("Uid:")}
    assert uid != "0"
    opened = {str(link.readlink()) for link in (process / "fd").iterdir()}
    assert {spec.system_disk, str(pool.image)} <= opened


def test_an_emulated_machine_takes_the_memory_that_was_planned(pool: Pool) -> None:
    """Without KVM a machine of 512 MiB took 1650 MiB of its host: what qemu translates is kept, up to 1 GiB."""
    spec = pool.spec("app1")
    pool.begin(spec)
    words = (qemu_of(spec) / "cmdline").read_text().split("\0")
    assert f"tb-size={TRANSLATED_MIB}" in words[words.index("-accel") + 1].split(",")
    assert TRANSLATED_MIB < MACHINE_OVERHEAD_MIB


def test_machines_of_one_image_start_side_by_side(pool: Pool) -> None:
    """Two machines of one image: ``Failed to get "write" lock``, or ``Failed to lock byte 100``.

    https://github.com/dmacvicar/terraform-provider-libvirt/issues/882,
    https://github.com/vagrant-libvirt/vagrant-libvirt/issues/1008
    """
    specs = [pool.spec(f"app{number}") for number in range(3)]
    with ThreadPoolExecutor() as side_by_side:
        list(side_by_side.map(pool.begin, specs))
    assert {virsh("domstate", spec.name).strip() for spec in specs} == {"paused"}
    for spec in specs:
        info = succeed("qemu-img", "info", "--force-share", spec.system_disk)
        assert f"backing file: {pool.image}" in info


def test_no_two_machines_want_one_port_of_the_host(pool: Pool) -> None:
    """The second machine never starts: both want one SPICE port of the host.

    https://github.com/dmacvicar/terraform-provider-libvirt/issues/84,
    https://github.com/dmacvicar/terraform-provider-libvirt/issues/65
    """
    spec = pool.spec("app1")
    pool.begin(spec)
    running = ET.fromstring(virsh("dumpxml", spec.name))
    assert running.find("devices/graphics") is None
    pid = qemu_of(spec).name
    assert f"pid={pid}," not in succeed("ss", "--listening", "--tcp", "--udp", "--numeric", "--processes")


def test_many_disks_are_made_at_once_while_their_pool_is_read_anew(pool: Pool) -> None:
    """One time in three: ``pool has asynchronous jobs running``, or a volume that is there is not found.

    https://github.com/dmacvicar/terraform-provider-libvirt/issues/16,
    https://github.com/dmacvicar/terraform-provider-libvirt/issues/324
    """
    with ThreadPoolExecutor() as side_by_side:
        made = list(side_by_side.map(pool.volume, [f"disk{number}" for number in range(12)]))
    virsh("pool-refresh", pool.name)
    listed = virsh("vol-list", pool.name)
    assert all(path in listed for path in made)


def test_apparmor_is_told_of_every_file(pool: Pool) -> None:
    """AppArmor lets qemu open none of the disks: libvirt's helper doesn't know volumes by name, only files by path.

    https://github.com/dmacvicar/terraform-provider-libvirt/issues/126,
    https://github.com/dmacvicar/terraform-provider-libvirt/issues/1163,
    https://github.com/dmacvicar/terraform-provider-libvirt/issues/920
    """
    kernel, initrd = pool.directory / "vmlinuz", pool.directory / "initrd.img"
    kernel.touch()
    initrd.touch()
    spec = replace(pool.spec("app1"), kernel=str(kernel), initrd=str(initrd), cmdline="quiet")
    helper = "/usr/lib/libvirt/virt-aa-helper"
    told = subprocess.run(
        [helper, "--dryrun", "--create", "--uuid", f"libvirt-{spec.uuid}"],
        input=domain_xml(spec),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stderr
    assert f'"{spec.system_disk}" rwk,' in told
    assert f'"{pool.image}" rk,' in told
    assert f'"{kernel}" r,' in told
    assert f'"{initrd}" r,' in told


def test_nobody_waits_for_a_lease(make_site: sample.MakeSite) -> None:
    """``wait_for_lease`` ends too early, or never: the address is not the guest's yet, or nobody asks the right source.

    Ours have their addresses from us: no DHCP, no agent, and nothing to wait for but SSH itself, with its own deadline.
    https://github.com/dmacvicar/terraform-provider-libvirt/issues/710,
    https://github.com/dmacvicar/terraform-provider-libvirt/issues/1047,
    https://github.com/dmacvicar/terraform-provider-libvirt/issues/1091
    """
    site = make_site("stage")
    for machine in site.environment.topology.machines:
        given = domain_arguments(domain_spec(site, machine))
        assert "qemu_agent" not in given
        assert {key for card in given["network_interfaces"] for key in card} == {"network_name", "mac"}
    document = ET.fromstring(network_xml("stage-control", "usabcdefc", "198.18.7.1", 24))
    assert document.find("ip") is not None
    assert document.find("ip/dhcp") is None


def test_another_disk_leaves_the_machine_who_it_is(make_site: sample.MakeSite) -> None:
    """A new disk recreates the machine: with another MAC, another id and an empty system disk.

    https://github.com/dmacvicar/terraform-provider-libvirt/issues/751,
    https://github.com/dmacvicar/terraform-provider-libvirt/issues/792
    """
    before = make_site("stage")
    one = before.environment.topology.machine("app1")
    spec = domain_spec(before, one)
    more = domain_spec(before, replace(one, data_disk_mib=one.data_disk_mib + 1024))
    assert not spec.data_disk
    assert more.data_disk
    assert replace(more, data_disk="") == spec
