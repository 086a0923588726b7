"""The fence against frames: real bridges, real rules, and senders in namespaces that send whatever they like."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioners.hypervisor.fence_rules import fences_of, is_bridge, ruleset
from tests.doubles.sshd import WORKER

HOST_MAC, GUEST_MAC, OTHER_MAC = b"\x02\x00\x00\x00\x00\x01", b"\x02\x00\x00\x00\x00\x02", b"\x02\x00\x00\x00\x00\x03"
BROADCAST = b"\xff" * 6
SENDER = """
import socket, sys
line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
line.bind(("card", 0))
for frame in sys.stdin: line.send(bytes.fromhex(frame))
"""
SYN, ACK, RST, FIN = 2, 16, 4, 1


def ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def ether(kind: int, payload: bytes, to: bytes = HOST_MAC, of: bytes = GUEST_MAC) -> bytes:
    return to + of + struct.pack("!H", kind) + payload


def arp(sender: str, target: str, operation: int = 1, to: bytes = BROADCAST, of: bytes = GUEST_MAC) -> bytes:
    return ether(0x0806, struct.pack("!HHBBH", 1, 0x800, 6, 4, operation) + of + ip(sender) + bytes(6) + ip(target), to)


def ipv4(source: str, target: str, protocol: int, payload: bytes, to: bytes = HOST_MAC, fragment: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, fragment, 64, protocol, 0) + ip(source) + ip(target)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
    return ether(0x0800, head + payload, to)


def tcp(source: int, target: int, flags: int) -> bytes:
    return struct.pack("!HHIIBBHHH", source, target, 1, 1, 0x50, flags, 1024, 0, 0)


def udp(source: int, target: int) -> bytes:
    return struct.pack("!HHHH", source, target, 12, 0) + b"dnsq"


def ipv6(source: str, target: str, kind: int, to: bytes = BROADCAST) -> bytes:
    payload = struct.pack("!BBHI", kind, 0, 0, 0) + ip(target) + bytes(8)
    return ether(0x86DD, struct.pack("!IHBB", 6 << 28, len(payload), 58, 255) + ip(source) + ip(target) + payload, to)


# Tests that run side by side are on one host: each has a network of its own.
NET, HOST, GUEST, PEER = (f"198.18.{255 - WORKER % 16}.{last}" for last in ("0/24", "1", "10", "11"))
TO_HOST: dict[str, tuple[bytes, bool]] = {
    "an answer of sshd": (ipv4(GUEST, HOST, 6, tcp(22, 40000, SYN | ACK)), True),
    "data of sshd": (ipv4(GUEST, HOST, 6, tcp(22, 40000, ACK)), True),
    "the end of a session": (ipv4(GUEST, HOST, 6, tcp(22, 40000, FIN | ACK)), True),
    "a refusal of sshd": (ipv4(GUEST, HOST, 6, tcp(22, 40000, RST)), True),
    "who has the host's address": (arp(GUEST, HOST), True),
    "a connection to the host's sshd": (ipv4(GUEST, HOST, 6, tcp(40000, 22, SYN)), False),
    "a connection from port 22": (ipv4(GUEST, HOST, 6, tcp(22, 8080, SYN)), False),
    "a connection from port 22, oddly": (ipv4(GUEST, HOST, 6, tcp(22, 8080, SYN | FIN)), False),
    "nothing at all from port 22": (ipv4(GUEST, HOST, 6, tcp(22, 8080, 0)), False),
    "a fragment": (ipv4(GUEST, HOST, 6, tcp(22, 8080, ACK), fragment=100), False),
    "a first fragment": (ipv4(GUEST, HOST, 6, tcp(22, 8080, ACK), fragment=0x2000), False),
    "a question to a name server": (ipv4(GUEST, HOST, 17, udp(5353, 53)), False),
    "UDP from port 22": (ipv4(GUEST, HOST, 17, udp(22, 53)), False),
    "a ping": (ipv4(GUEST, HOST, 1, b"\x08\x00\xf7\xff\x00\x00\x00\x00"), False),
    "a broadcast": (ipv4(GUEST, "255.255.255.255", 17, udp(68, 67), BROADCAST), False),
    "multicast": (ipv4(GUEST, "224.0.0.251", 17, udp(5353, 5353), b"\x01\x00\x5e\x00\x00\xfb"), False),
    "through the host to elsewhere": (ipv4(GUEST, "192.0.2.1", 6, tcp(22, 443, ACK)), False),
    "another address of the host": (ipv4(GUEST, "127.0.0.1", 6, tcp(22, 443, ACK)), False),
    "from an address that is not the guest's network": (ipv4("10.0.0.9", HOST, 6, tcp(22, 40000, ACK)), False),
    "who has another address": (arp(GUEST, "192.0.2.2"), False),
    "an ARP from elsewhere": (arp("10.0.0.9", HOST), False),
    "a gratuitous ARP": (arp(HOST, HOST), True),  # within the network: the host's own address, which it defends
    "an IPv6 neighbour solicitation": (ipv6("fe80::2", "ff02::1:ff00:1", 135), False),
    "an IPv6 router advertisement": (ipv6("fe80::2", "ff02::1", 134), False),
    "an IPv6 ping": (ipv6("fe80::2", "fe80::1", 128, HOST_MAC), False),
    "a VLAN": (ether(0x8100, struct.pack("!HH", 5, 0x800) + ipv4(GUEST, HOST, 6, tcp(22, 4, ACK))[14:]), False),
    "spanning tree": (ether(0x0026, bytes(38), b"\x01\x80\xc2\x00\x00\x00"), False),
    "LLDP": (ether(0x88CC, bytes(40), b"\x01\x80\xc2\x00\x00\x0e"), False),
    "a protocol nobody knows": (ether(0x88B5, bytes(46)), False),
}


def sh(line: str) -> None:
    subprocess.run(line.split(), check=True, capture_output=True, timeout=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """Two bridges behind a fence, each with two guests; a guest is a namespace with one card."""

    table: str

    def bridge(self, card: str) -> str:
        return f"{self.table}{card}"

    def guest(self, card: str, number: int) -> str:
        return f"{self.table}{card}{number}"

    def send(self, guest: str, frames: list[bytes]) -> None:
        subprocess.run(
            ["ip", "netns", "exec", guest, sys.executable, "-c", SENDER],
            input="\n".join(frame.hex() for frame in frames).encode(),
            check=True,
            timeout=30,
        )

    def heard(self, device: str, namespace: str = "") -> Listener:
        return Listener(device, namespace)


class Listener:
    """Hears what arrives at a device of the host, or at a guest's card."""

    def __init__(self, device: str, namespace: str) -> None:
        script = (
            "import socket,sys\n"
            "line=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3))\n"
            f"line.bind(({device!r},0));print('ready',flush=True)\n"
            "while True:\n"
            " frame,where=line.recvfrom(65535)\n"
            " if where[2]!=4: print(frame.hex(),flush=True)\n"
        )
        prefix = ["ip", "netns", "exec", namespace] if namespace else []
        self.process = subprocess.Popen([*prefix, sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def frames(self) -> set[bytes]:
        time.sleep(0.5)
        self.process.terminate()
        heard, _ = self.process.communicate(timeout=10)
        return {bytes.fromhex(line) for line in heard.splitlines()}


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    if os.geteuid() != 0:
        pytest.fail("needs root: bridges and namespaces")
    made = Wire(table=f"us{uuid.uuid4().hex[:6]}")
    guests = [made.guest(card, number) for card in "mc" for number in (1, 2)]
    subprocess.run(
        ["nft", "-f", "-"],
        input=ruleset(made.bridge("m"), made.bridge("c"), IPv4Network(NET)).encode(),
        check=True,
        capture_output=True,
    )
    try:
        for card in "mc":
            sh(f"ip link add {made.bridge(card)} address 02:00:00:00:00:01 type bridge forward_delay 0")
            sh(f"ip link set {made.bridge(card)} up")
        for guest in guests:
            sh(f"ip netns add {guest}")
            for which in ("all", "default"):  # a guest says what the test has it say, and nothing of its own
                sh(f"ip netns exec {guest} sysctl -q net.ipv6.conf.{which}.disable_ipv6=1")
            mac = "02:00:00:00:00:02" if guest.endswith("1") else "02:00:00:00:00:03"
            sh(f"ip link add {guest} type veth peer name card netns {guest} address {mac}")
            sh(f"ip link set {guest} master {guest[:-1]} up")
            sh(f"ip netns exec {guest} ip link set card up")
        sh(f"ip address add {HOST}/24 dev {made.bridge('c')}")
        time.sleep(0.5)  # the ports begin to forward
        yield made
    finally:
        for guest in guests:
            subprocess.run(["ip", "netns", "delete", guest], check=False, capture_output=True)
        for name in (*guests, made.bridge("m"), made.bridge("c")):
            subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)
        for family in ("bridge", "inet"):
            subprocess.run(["nft", "delete", "table", family, made.table], check=False, capture_output=True)


def arrived(frame: bytes, frames: set[bytes]) -> bool:
    return any(frame[6:] == other[6:] or frame in other for other in frames)


def test_of_all_that_a_guest_sends_on_control_the_host_hears_only_sshd(wire: Wire) -> None:
    listener = wire.heard(wire.bridge("c"))
    wire.send(wire.guest("c", 1), [frame for frame, _ in TO_HOST.values()])
    frames = listener.frames()
    assert {name: arrived(frame, frames) for name, (frame, _) in TO_HOST.items()} == {
        name: passes for name, (_, passes) in TO_HOST.items()
    }


def test_the_host_hears_nothing_of_the_mirror(wire: Wire) -> None:
    listener = wire.heard(wire.bridge("m"))
    wire.send(wire.guest("m", 1), [frame for frame, _ in TO_HOST.values()])
    assert [frame for frame in listener.frames() if GUEST_MAC in frame] == []


def test_guests_do_not_hear_each_other_on_control(wire: Wire) -> None:
    listener = wire.heard("card", wire.guest("c", 2))
    to_peer = [
        arp(GUEST, PEER),
        ipv4(GUEST, PEER, 6, tcp(40000, 22, SYN), OTHER_MAC),
        ipv4(GUEST, PEER, 6, tcp(22, 40000, ACK), OTHER_MAC),
        ipv6("fe80::2", "ff02::1", 134),
    ]
    wire.send(wire.guest("c", 1), to_peer)
    assert [frame for frame in listener.frames() if frame[6:12] == GUEST_MAC] == []


def test_guests_hear_each_other_on_the_mirror(wire: Wire) -> None:
    listener = wire.heard("card", wire.guest("m", 2))
    to_peer = [arp("10.20.0.10", "10.20.0.11"), ipv4("10.20.0.10", "10.20.0.11", 17, udp(1, 2), OTHER_MAC)]
    wire.send(wire.guest("m", 1), to_peer)
    heard = listener.frames()
    assert all(arrived(frame, heard) for frame in to_peer)


def test_the_mirror_does_not_reach_control_nor_the_other_way_round(wire: Wire) -> None:
    listeners = [wire.heard("card", wire.guest(card, 2)) for card in "cm"]
    wire.send(wire.guest("m", 1), [arp(GUEST, PEER), ipv4(GUEST, PEER, 6, tcp(1, 22, SYN), BROADCAST)])
    assert [frame for frame in listeners[0].frames() if frame[6:12] == GUEST_MAC] == []
    wire.send(wire.guest("c", 1), [arp("10.20.0.10", "10.20.0.11")])
    later = listeners[1].frames()
    assert [frame for frame in later if frame[:6] == BROADCAST and arp("10.20.0.10", "10.20.0.11")[12:] in frame] == []


def test_the_host_reaches_port_22_of_control_and_nothing_else(wire: Wire) -> None:
    listener = wire.heard("card", wire.guest("c", 1))
    sh(f"ip neigh replace {GUEST} lladdr 02:00:00:00:00:02 dev {wire.bridge('c')}")
    for port in (22, 80):
        with socket.socket() as line:
            line.settimeout(0.2)
            with pytest.raises(OSError, match=r"timed out|unreachable|refused"):
                line.connect((GUEST, port))
    with socket.socket(type=socket.SOCK_DGRAM) as line:
        line.sendto(b"hello", (GUEST, 53))
    ports = {struct.unpack("!H", frame[36:38])[0] for frame in listener.frames() if frame[12:14] == b"\x08\x00"}
    assert ports == {22}


def test_the_host_says_nothing_of_its_own_to_any_guest(wire: Wire) -> None:
    listeners = [wire.heard("card", wire.guest(card, 1)) for card in "mc"]
    for card in "mc":
        for name in (wire.bridge(card), wire.guest(card, 1)):
            subprocess.run(["sysctl", "-q", f"net.ipv6.conf.{name}.disable_ipv6=0"], check=False, capture_output=True)
            sh(f"ip link set {name} down")
            sh(f"ip link set {name} up")
    time.sleep(2)  # the kernel would announce its IPv6 addresses now
    for listener in listeners:
        assert [frame for frame in listener.frames() if frame[12:14] == b"\x86\xdd"] == []


@given(st.text(max_size=20))
def test_no_text_but_a_bridge_of_ours_comes_into_the_rules(name: str) -> None:
    if not is_bridge(name):
        with pytest.raises(ValueError, match="bridges"):
            ruleset(name, "us1a2b3cc", IPv4Network(NET))
        with pytest.raises(ValueError, match="bridges"):
            ruleset("us1a2b3cm", name, IPv4Network(NET))


def test_two_stacks_bridges_make_no_fence() -> None:
    with pytest.raises(ValueError, match="one stack"):
        ruleset("us1a2b3cm", "us1a2b3dc", IPv4Network(NET))


def test_a_machine_without_our_cards_has_no_fence() -> None:
    assert fences_of("<domain><devices><interface><target dev='vnet0'/></interface></devices></domain>") == frozenset()
