"""Boot the image with qemu alone, without libvirt: for measuring, and to see what is in an image. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from images.cache import ImagePaths
from model.kernel import kernel_command_line

PORT_NAME = "understudy.identity.0"
"""Name of the virtio-serial port through which the guest gets its identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BareMachine:
    """A machine for bare qemu. Memory in MiB.

    Args:
        disk: the machine's own system disk, a clone of the image's.
        identity_socket: where qemu makes the Unix socket of the identity's port.
        ssh_port: port of this computer's loopback address that leads to port 22 of ``control_address``.
        control_address: address that the identity gives to the control card; its network is a /24.
    """

    disk: Path
    vcpus: int
    memory_mib: int
    identity_socket: Path
    ssh_port: int
    control_address: str
    control_mac: str
    mirror_mac: str
    accelerator: str = "tcg"
    cpu: str = "Nehalem,+rdrand"
    machine: str = "q35"


def qemu_arguments(image: ImagePaths, machine: BareMachine) -> tuple[str, ...]:
    """Return the qemu command that boots the image with this machine's disk, and has nothing that is not needed."""
    network = machine.control_address.rsplit(".", 1)[0]
    forward = f"hostfwd=tcp:127.0.0.1:{machine.ssh_port}-{machine.control_address}:22"
    multi = ",thread=multi" if machine.accelerator == "tcg" else ""
    return (
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", f"{machine.machine},usb=off", "-accel", f"{machine.accelerator}{multi}", "-cpu", machine.cpu),
        *("-smp", str(machine.vcpus), "-m", str(machine.memory_mib)),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
        *("-append", kernel_command_line(machine.accelerator)),
        *("-drive", f"file={machine.disk},if=none,id=system,format=qcow2", "-device", "virtio-blk-pci,drive=system"),
        *("-netdev", f"user,id=control,net={network}.0/24,host={network}.1,restrict=on,{forward}"),
        *("-device", f"virtio-net-pci,netdev=control,romfile=,mac={machine.control_mac}"),
        *("-netdev", "hubport,hubid=1,id=mirror"),
        *("-device", f"virtio-net-pci,netdev=mirror,romfile=,mac={machine.mirror_mac}"),
        *("-chardev", f"socket,id=identity,path={machine.identity_socket},server=on,wait=off"),
        *("-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=identity,name={PORT_NAME}"),
    )
