"""The fence around real machines, from their first packet on: what is sent inside is heard nowhere else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from model import names
from provisioners.hypervisor.virsh import Virsh
from tests.hypervisor.test_fence_rules import ACK, SYN, arp, ether, ipv4, ipv6, tcp, udp
from tests.vm.capture import Capture, escapes, listening
from tests.vm.far import Far, far_network
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


@pytest.fixture(scope="module")
def capture() -> Iterator[Capture]:
    with listening() as capture:
        yield capture


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, capture: Capture) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("stage"), 2, [machine("a", 11), machine("b", 12)]) as made:
        made.up()
        yield made


def test_from_the_first_boot_nothing_is_heard_outside(stage: Lab, capture: Capture) -> None:
    assert [frame for _, _, frame in capture.frames if frame[12:14] == b"\x08\x00"], "nothing was captured at all"
    assert escapes(stage.stack, stage.machine_names, capture) == []


@pytest.fixture(scope="module")
def prod() -> Iterator[Far]:
    """Something that really listens at an address of prod, and that this host leads everybody to who asks it."""
    with far_network("10.20.0.10") as far:
        yield far


def test_whatever_a_machine_sends_stays_inside(stage: Lab, capture: Capture, prod: Far) -> None:
    assert prod.reached_from_here(), "prod is out of everybody's reach: its silence would prove nothing"
    assert prod.reached_from_a_neighbour(), "this host forwards for nobody: its silence would prove nothing"
    callers = prod.callers()
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
        said = shell.run(("bash", "-c", TRY.format(host=host, peer=peer, prod=prod.address))).text
        shell.run(("python3", "-c", SEND), stdin=json.dumps(wanted).encode())
    time.sleep(2)
    assert "reached" not in said
    assert "resolved" not in said
    assert prod.callers() == callers, "somebody came through to prod"
    assert prod.reached_from_a_neighbour()
    sent = {frame for device, _, frame in capture.frames if device == names.tap(stage.stack, "a", "control")}
    assert any(frame[12:14] == b"\x88\xb5" for frame in sent), "the attack was not even sent"
    assert escapes(stage.stack, stage.machine_names, capture) == []


def test_a_machine_started_by_hand_is_fenced_too(stage: Lab, capture: Capture) -> None:
    Virsh().run("destroy", stage.domain("b"))
    Virsh().run("start", stage.domain("b"))
    with stage.shell("b", patience_seconds=180) as shell:
        shell.run(("true",))
    assert escapes(stage.stack, stage.machine_names, capture) == []
