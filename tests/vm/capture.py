"""Listens to all that is said on this host, and tells which of a stack's machines is heard where it should not be."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from model import names
from model.tunnels import INNER_PORT


@dataclass(kw_only=True)
class Capture:
    """All frames on all interfaces of the host, from now on."""

    frames: list[tuple[str, int, bytes]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._line.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self._line.settimeout(0.5)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                frame, (device, _, way, *_) = self._line.recvfrom(65535)
            except TimeoutError:
                continue
            self.frames.append((device, way, frame[:128]))

    def wait_for(self, devices: Collection[str], seconds: float = 60) -> None:
        """Wait until something was heard on each of these."""
        deadline = time.monotonic() + seconds
        while silent := set(devices) - {device for device, _, _ in self.frames}:
            assert time.monotonic() < deadline, f"nothing was heard on {silent}"
            time.sleep(0.5)

    def end(self) -> None:
        """Stop listening, and see that nothing was missed."""
        self._stop.set()
        self._thread.join()
        received, dropped = struct.unpack("II", self._line.getsockopt(263, 6, 8))  # SOL_PACKET, PACKET_STATISTICS
        self._line.close()
        assert dropped == 0, f"{dropped} of {received} frames were missed: the capture proves nothing"


@contextmanager
def listening() -> Iterator[Capture]:
    """Listen from now until the end of the block."""
    capture = Capture()
    try:
        yield capture
    finally:
        capture.end()


def is_ssh(frame: bytes) -> bool:
    """Return whether it is ARP, or TCP from or to port 22."""
    if frame[12:14] == b"\x08\x06":
        return True
    return frame[12:14] == b"\x08\x00" and frame[23] == 6 and 22 in struct.unpack("!HH", frame[34:38])


def is_tunnel(frame: bytes, ports: Collection[int]) -> bool:
    """Return whether it is between a machine's WireGuard and a port of its host that stands for another place."""
    ends = struct.unpack("!HH", frame[34:38])
    return frame[12:14] == b"\x08\x00" and frame[23] == 17 and INNER_PORT in ends and bool({*ports} & {*ends})


def escapes(
    stack: str, machines: Iterable[str], capture: Capture, passes: Callable[[bytes], bool] = is_ssh
) -> list[str]:
    """Return every frame of a stack's machines that was heard where it should not be, in words.

    Args:
        stack: the stack's name.
        machines: its machines' names.
        capture: what was heard.
        passes: whether a frame may pass between a machine's control card and the host.
    """
    owners = {
        bytes.fromhex(names.mac(stack, name, card).replace(":", "")): (name, card)
        for name in machines
        for card in ("control", "mirror")
    }
    taps = {names.tap(stack, name, card): (name, card) for name, card in owners.values()}
    found = []
    for device, way, frame in capture.frames:
        sender = owners.get(frame[6:12])
        if sender is None:
            if device in taps and way == 4 and (taps[device][1] == "mirror" or not passes(frame)):
                found.append(f"the host says to {taps[device]}: {frame.hex()}")
            continue
        if taps.get(device) == sender:
            continue  # its own cable
        if device in taps and taps[device][1] == "mirror" == sender[1]:
            continue  # the others on the mirror
        if device == names.bridge(stack, "control") and sender[1] == "control" and passes(frame):
            continue  # what the controller asked for
        found.append(f"{sender} is heard on {device}: {frame.hex()}")
    return found
