"""Machines booted by qemu alone: same image, kernel and disk, nothing but sshd. `up` is measured against them."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from images.bare import BareMachine, qemu_arguments
from images.cache import ImagePaths
from model.connection import Connection
from model.rules import DEFAULT_SYSTEM_DISK_MIB
from provisioners.hypervisor.identity import identity_message
from provisioners.shell import connect


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A machine's size; memory in MiB."""

    vcpus: int
    memory_mib: int


def seconds_to_ssh(image: ImagePaths, sizes: tuple[Size, ...], directory: Path) -> float:
    """Return how long it takes until each of these machines, started side by side, has run a command over SSH."""
    private, public = _key(directory)
    machines = [_machine(image, size, number, directory) for number, size in enumerate(sizes)]
    began = time.monotonic()
    with ExitStack() as stack:
        for machine in machines:
            command = ("setpriv", "--pdeathsig=KILL", "--", *qemu_arguments(image, machine))  # it ends with us
            guest = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            stack.callback(guest.wait)
            stack.callback(guest.kill)
        with ThreadPoolExecutor(len(machines)) as pool:
            list(pool.map(lambda machine: _wait(machine, private, public), machines))
        return time.monotonic() - began


def _key(directory: Path) -> tuple[str, str]:
    path = directory / "key"
    if not path.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(path)], check=True)
    return path.read_text(), path.with_suffix(".pub").read_text().strip()


def _machine(image: ImagePaths, size: Size, number: int, directory: Path) -> BareMachine:
    disk = directory / f"bare{number}.qcow2"
    disk.unlink(missing_ok=True)
    clone = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image.disk), "-F", "qcow2", str(disk)]
    subprocess.run([*clone, f"{DEFAULT_SYSTEM_DISK_MIB}M"], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    return BareMachine(
        disk=disk,
        vcpus=size.vcpus,
        memory_mib=size.memory_mib,
        identity_socket=directory / f"identity{number}",
        ssh_port=port,
        control_address="198.18.255.10",
        control_mac=f"52:54:00:00:00:{number:02x}",
        mirror_mac=f"52:54:00:00:01:{number:02x}",
    )


def _wait(machine: BareMachine, private: str, public: str) -> None:
    card = {"mac": machine.control_mac, "address": machine.control_address, "prefix": 24}
    identity = {"hostname": "bare", "hosts": [], "authorized_keys": [public], "cards": {"control": card}}
    uuid = "00000000-0000-0000-0000-000000000001"
    message = identity_message(identity, private_key=private, public_key=public, domain_uuid=uuid)
    send(machine.identity_socket, json.dumps(message).encode() + b"\n")
    host_key = " ".join(public.split()[:2])
    reached = Connection(name="bare", address="127.0.0.1", port=machine.ssh_port, host_key=host_key)
    _wait_for_sshd(machine.ssh_port)
    with connect(reached, private, lambda _: None, 600) as shell:
        shell.greet()


def _wait_for_sshd(port: int) -> None:
    """Wait until sshd answers: qemu takes connections before, and an attempt to log in then fails slowly."""
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as line:
            if line.recv(1):
                return
        time.sleep(0.02)


def send(path: Path, line: bytes) -> None:
    """Send the identity; qemu holds it until the guest reads."""
    until = time.monotonic() + 30
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as channel:
                channel.connect(str(path))
                channel.sendall(line)
                channel.settimeout(600)
                channel.recv(65536)
                return
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
