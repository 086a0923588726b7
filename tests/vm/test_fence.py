"""The fence around real machines, from their first packet on: what is sent inside is heard nowhere else."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from model import names
from provisioners.hypervisor.virsh import Virsh
from tests.hypervisor.test_fence_rules import ACK, SYN, arp, ether, ipv4, ipv6, tcp, udp
from tests.vm.lab import Lab, lab, machine

pytestmark = pytest.mark.vm

SEND = """
import json, socket, sys
for card, frames in json.load(sys.stdin).items():
    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    line.bind((card, 0))
    for frame in frames: line.send(bytes.fromhex(frame))
"""
TRY = """
ip link set lo up
for card in eth0 eth1; do sysctl -qw net.ipv6.conf.$card.disable_ipv6=0; done
ip route replace default via {host} dev eth0
ip route replace 192.0.2.0/24 dev eth1
for port in 22 53 80 16509; do timeout 2 bash -c "exec 3<>/dev/tcp/{host}/$port" && echo "reached {host} $port"; done
timeout 3 bash -c "exec 3<>/dev/tcp/{peer}/22" && echo "reached {peer} 22"
timeout 3 bash -c "exec 3<>/dev/tcp/{prod}/22" && echo "reached {prod} 22"
timeout 3 bash -c "exec 3<>/dev/tcp/192.0.2.1/80" && echo "reached 192.0.2.1 80"
timeout 3 getent hosts example.com && echo "resolved example.com"
sleep 4
ip route del default; ip route del 192.0.2.0/24 dev eth1
true
"""


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

    def end(self) -> None:
        """Stop listening, and see that nothing was missed."""
        self._stop.set()
        self._thread.join()
        received, dropped = struct.unpack("II", self._line.getsockopt(263, 6, 8))  # SOL_PACKET, PACKET_STATISTICS
        self._line.close()
        assert dropped == 0, f"{dropped} of {received} frames were missed: the capture proves nothing"


def is_ssh(frame: bytes) -> bool:
    """Return whether it is ARP, or TCP from or to port 22."""
    if frame[12:14] == b"\x08\x06":
        return True
    return frame[12:14] == b"\x08\x00" and frame[23] == 6 and 22 in struct.unpack("!HH", frame[34:38])


def escapes(made: Lab, capture: Capture) -> list[str]:
    """Return every frame of a stack's machines that was heard where it should not be, in words."""
    owners = {
        bytes.fromhex(names.mac(made.stack, each["name"], card).replace(":", "")): (each["name"], card)
        for each in made.machines
        for card in ("control", "mirror")
    }
    taps = {names.tap(made.stack, name, card): (name, card) for name, card in owners.values()}
    found = []
    for device, way, frame in capture.frames:
        sender = owners.get(frame[6:12])
        if sender is None:
            if device in taps and way == 4 and (taps[device][1] == "mirror" or not is_ssh(frame)):
                found.append(f"the host says to {taps[device]}: {frame.hex()}")
            continue
        if taps.get(device) == sender:
            continue  # its own cable
        if device in taps and taps[device][1] == "mirror" == sender[1]:
            continue  # the others on the mirror
        if device == names.bridge(made.stack, "control") and sender[1] == "control" and is_ssh(frame):
            continue  # what the controller asked for
        found.append(f"{sender} is heard on {device}: {frame.hex()}")
    return found


@pytest.fixture(scope="module")
def capture() -> Iterator[Capture]:
    capture = Capture()
    yield capture
    capture.end()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, capture: Capture) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("stage"), 2, [machine("a", 11), machine("b", 12)]) as made:
        made.up()
        yield made


def test_from_the_first_boot_nothing_is_heard_outside(stage: Lab, capture: Capture) -> None:
    assert [frame for _, _, frame in capture.frames if frame[12:14] == b"\x08\x00"], "nothing was captured at all"
    assert escapes(stage, capture) == []


def test_whatever_a_machine_sends_stays_inside(stage: Lab, capture: Capture) -> None:
    network = stage.control_network.rsplit(".", 1)[0]
    host, peer = f"{network}.1", f"{network}.11"
    own = {card: bytes.fromhex(names.mac(stage.stack, "a", card).replace(":", "")) for card in ("control", "mirror")}
    frames = [
        arp(f"{network}.10", peer),
        arp(f"{network}.10", "192.0.2.2"),
        arp("10.77.0.11", "192.0.2.2"),
        ipv4(f"{network}.10", host, 17, udp(1, 53), b"\xff" * 6),
        ipv4(f"{network}.10", host, 6, tcp(22, 16509, SYN), b"\xff" * 6),
        ipv4(f"{network}.10", "192.0.2.1", 6, tcp(22, 443, ACK), b"\xff" * 6),
        ipv4("10.77.0.11", "192.0.2.1", 17, udp(1, 53), b"\xff" * 6),
        ipv6("fe80::2", "ff02::1", 134),
        ipv6("fe80::2", "ff02::1:ff00:1", 135),
        ether(0x88B5, bytes(46), b"\xff" * 6),
    ]
    wanted = {
        device: [(frame[:6] + own[card] + frame[12:]).hex() for frame in frames]
        for device, card in (("eth0", "control"), ("eth1", "mirror"))
    }
    with stage.shell("a") as shell:
        said = shell.run(("bash", "-c", TRY.format(host=host, peer=peer, prod="10.20.0.10"))).text
        shell.run(("python3", "-c", SEND), stdin=json.dumps(wanted).encode())
    time.sleep(2)
    assert "reached" not in said
    assert "resolved" not in said
    sent = {frame for device, _, frame in capture.frames if device == names.tap(stage.stack, "a", "control")}
    assert any(frame[12:14] == b"\x88\xb5" for frame in sent), "the attack was not even sent"
    assert escapes(stage, capture) == []


def test_a_machine_started_by_hand_is_fenced_too(stage: Lab, capture: Capture) -> None:
    Virsh().run("destroy", stage.domain("b"))
    Virsh().run("start", stage.domain("b"))
    with stage.shell("b", patience_seconds=180) as shell:
        shell.run(("true",))
    assert escapes(stage, capture) == []
