"""A far network, in a namespace of its own: an address of prod that really answers, beyond this host as a router."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PORT = 22
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_NEIGHBOUR = "192.0.2.18"
_LISTEN = """
import socket, sys
line = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    peer, (address, _) = line.accept()
    print(address, flush=True)
    peer.sendall(b"prod\\n")
    peer.close()
"""


@dataclass(frozen=True, kw_only=True)
class Far:
    """What listens there.

    Args:
        address: where it listens, on port 22.
        neighbour: a namespace that is no machine of ours, and has this host as its router.
        log: who called, one address a line.
    """

    address: str
    neighbour: str
    log: Path

    def reached_from_here(self) -> bool:
        """Return whether it answers this host."""
        with socket.create_connection((self.address, PORT), timeout=5) as line:
            return line.recv(5) == b"prod\n"

    def reached_from_a_neighbour(self) -> bool:
        """Return whether it answers somebody for whom this host has to forward."""
        script = f"exec 3<>/dev/tcp/{self.address}/{PORT} && head -c 5 <&3"
        argv = ("ip", "netns", "exec", self.neighbour, "timeout", "5", "bash", "-c", script)
        return subprocess.run(argv, capture_output=True, check=False).stdout == b"prod\n"

    def callers(self) -> frozenset[str]:
        """Return the addresses from which somebody came through."""
        return frozenset(self.log.read_text().split())


@contextmanager
def far_network(address: str) -> Iterator[Far]:
    """Give a listener at that address, one hop from this host, and somebody else who reaches it through this host."""
    mark = f"u{os.getpid() % 65536:x}"
    forwarded = _FORWARD.read_text()
    with tempfile.TemporaryDirectory() as directory:
        far = Far(address=address, neighbour=f"{mark}n", log=Path(directory, "callers"))
        far.log.touch()
        listening = None
        try:
            _connect(f"{mark}p", address, "192.0.2.1")
            _connect(far.neighbour, _NEIGHBOUR, "192.0.2.17")
            _FORWARD.write_text("1")
            with far.log.open("a") as log:
                argv = ("ip", "netns", "exec", f"{mark}p", sys.executable, "-c", _LISTEN, address, str(PORT))
                listening = subprocess.Popen(argv, stdout=log)
            _wait_for(far)
            yield far
        finally:
            _FORWARD.write_text(forwarded)
            if listening is not None:
                listening.terminate()
                listening.wait()
            for name in (f"{mark}p", far.neighbour):
                subprocess.run(("ip", "netns", "delete", name), check=False)


def _connect(name: str, address: str, host: str) -> None:
    """Make a namespace with one address, whose only way is this host."""
    inside = ("ip", "-n", name)
    for argv in (
        ("ip", "netns", "add", name),
        ("ip", "link", "add", f"{name}h", "type", "veth", "peer", "name", "eth0", "netns", name),
        ("ip", "address", "add", f"{host}/32", "dev", f"{name}h"),
        ("ip", "link", "set", f"{name}h", "up"),
        ("ip", "route", "add", f"{address}/32", "dev", f"{name}h", "src", host),
        (*inside, "address", "add", f"{address}/32", "dev", "eth0"),
        (*inside, "link", "set", "lo", "up"),
        (*inside, "link", "set", "eth0", "up"),
        (*inside, "route", "add", f"{host}/32", "dev", "eth0"),
        (*inside, "route", "add", "default", "via", host),
    ):
        subprocess.run(argv, check=True)


def _wait_for(far: Far) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            if far.reached_from_here():
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
