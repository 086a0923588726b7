"""Fences of two hosts with tunnels between them: real rules; namespaces in place of hosts, guests and a stranger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from model.tunnels import INNER_PORT, Ways, outer_port, ways_as_values
from provisioners.hypervisor.fence import Fence
from provisioners.hypervisor.fence_rules import Hop, crossing

ROOT = Path(__file__).parents[2]
HOST, A, B = (IPv4Address(f"198.18.249.{last}") for last in (1, 10, 11))
FIRST, SECOND, STRANGER = (IPv4Address(f"192.0.2.{last}") for last in (1, 2, 3))
PORT_A, PORT_B = outer_port(A), outer_port(B)
WAYS = {
    "first": Ways(address=FIRST, own=((A, PORT_A),), far=((SECOND, PORT_B),)),
    "second": Ways(address=SECOND, own=((B, PORT_B),), far=((FIRST, PORT_A),)),
}
ACT = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from provisioners.hypervisor import fence
fence.FENCES, fence.HOOKS = Path(sys.argv[1], "fences"), Path(sys.argv[1], "hooks")
inputs, outputs, kind = *json.load(sys.stdin), fence.Fence()
say = lambda line: None
match sys.argv[2]:
    case "create": print(json.dumps(kind.create(inputs, say)[1]))
    case "assure":
        with ThreadPoolExecutor(8) as pool:  # as machines do that start side by side
            list(pool.map(fence.assure, [inputs["mirror_bridge"][:-1]] * 8))
    case "read": print(json.dumps(kind.read("", inputs, outputs, say).inputs))
    case "delete": kind.delete("", inputs, outputs, say)
"""
EXCHANGE = """
import socket, sys, time
own, port, until = sys.argv[1], int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
heard = []
with socket.socket(type=socket.SOCK_DGRAM) as line:
    line.bind((own, port))
    line.settimeout(0.5)
    print("ready", flush=True)
    while not heard and time.monotonic() < until:
        for to in sys.argv[4:]:
            address, _, number = to.partition(":")
            line.sendto(b"hello " + to.encode(), (address, int(number)))
        try:
            said, (address, number) = line.recvfrom(99)
        except TimeoutError:
            continue
        heard.append(f"{address}:{number} {said.decode()}")
        if said.startswith(b"hello"): line.sendto(b"answer", (address, number))
print(*heard, sep="\\n", end="")
"""
LISTEN = """
import socket, struct, sys, time
def whole(packet):
    udp = packet[20:int.from_bytes(packet[2:4], "big")]
    text = packet[12:20] + bytes([0, packet[9]]) + udp[4:6] + udp + bytes(len(udp) % 2)
    total = sum(struct.unpack(f"!{len(text) // 2}H", text))
    return (total & 0xffff) + (total >> 16) == 0xffff
line = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
line.settimeout(0.5)
print("ready", flush=True)
heard, until = set(), time.monotonic() + float(sys.argv[1])
while len(heard) < int(sys.argv[2]) and time.monotonic() < until:
    try: packet, (_, protocol, *_) = line.recvfrom(99)
    except TimeoutError: continue
    if protocol != 0x800: continue
    ports = [int.from_bytes(packet[at:at + 2], "big") for at in (20, 22)]
    addresses = [".".join(map(str, packet[at:at + 4])) for at in (12, 16)]
    ends = [f"{address}:{port}" for address, port in zip(addresses, ports)]
    heard.add(" ".join([str(packet[9]), "whole" if whole(packet) else "spoilt", *ends]))
print(*heard, sep="\\n", end="")
"""
REJECTING = (
    "table ip libvirt { chain forward { type filter hook forward priority 0 ; policy drop ; } ; "
    "chain input { type filter hook input priority 0 ; policy drop ; } ; }"
)
CHECKSUMS = """
import array, fcntl, socket, struct, sys
wanted = array.array("I", [0x17, int(sys.argv[2])])  # ETHTOOL_STXCSUM: whether the card makes checksums
with socket.socket(type=socket.SOCK_DGRAM) as line:
    fcntl.ioctl(line, 0x8946, struct.pack("16sP", sys.argv[1].encode(), wanted.buffer_info()[0]))
print("ready")
"""
LONG, SHORT = 30, 3
"""Seconds: for what must come, which ends the wait; and for what must not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lan:
    """Two hosts with a guest each, and a stranger, on one cable."""

    mark: str
    directory: Path

    def space(self, who: str) -> str:
        return f"{self.mark}{who}"

    def inputs(self, host: str) -> dict[str, Any]:
        return {
            "stack": "stage",
            "owner": "understudy/stage/a2ad7316",
            "mirror_bridge": f"{self.mark}m",
            "control_bridge": f"{self.mark}c",
            "control_network": "198.18.249.0/24",
            "ways": ways_as_values(WAYS[host]),
        }

    def act(self, host: str, verb: str, outputs: Any = None) -> Any:
        argv = ("ip", "netns", "exec", self.space(host), sys.executable, "-c", ACT, str(self.directory / host), verb)
        done = subprocess.run(
            argv,
            input=json.dumps([self.inputs(host), outputs]),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    def start(self, who: str, script: str, *words: object) -> subprocess.Popen[str]:
        argv = ("ip", "netns", "exec", self.space(who), sys.executable, "-c", script, *map(str, words))
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process


def sh(line: str) -> None:
    subprocess.run(line.split(), check=True, capture_output=True, timeout=30)


def build(lan: Lan) -> None:
    for who in ("lan", "first", "second", "stranger", "a", "b"):
        sh(f"ip netns add {lan.space(who)}")
        sh(f"ip netns exec {lan.space(who)} sysctl -q net.ipv4.ip_forward=0 net.ipv6.conf.all.disable_ipv6=1")
        sh(f"ip -n {lan.space(who)} link set lo up")
    sh(f"ip -n {lan.space('lan')} link add cable type bridge forward_delay 0")
    sh(f"ip -n {lan.space('lan')} link set cable up")
    for who, address in (("first", FIRST), ("second", SECOND), ("stranger", STRANGER)):
        plug_into_lan(lan, who, address)


def plug_into_lan(lan: Lan, who: str, address: IPv4Address) -> None:
    sh(f"ip -n {lan.space('lan')} link add {who} type veth peer name wire netns {lan.space(who)}")
    sh(f"ip -n {lan.space('lan')} link set {who} master cable up")
    sh(f"ip -n {lan.space(who)} address add {address}/24 dev wire")
    sh(f"ip -n {lan.space(who)} link set wire up")


def plug_in(lan: Lan) -> None:
    for host, guest, address in (("first", "a", A), ("second", "b", B)):
        inside, bridge = lan.space(host), f"{lan.mark}c"
        sh(f"ip -n {inside} link add {bridge} type bridge forward_delay 0")
        sh(f"ip -n {inside} address add {HOST}/24 dev {bridge}")
        sh(f"ip -n {inside} link set {bridge} up")
        sh(f"ip -n {inside} link add {bridge}1 type veth peer name card netns {lan.space(guest)}")
        sh(f"ip -n {inside} link set {bridge}1 master {bridge} up")
        sh(f"ip -n {lan.space(guest)} address add {address}/24 dev card")
        sh(f"ip -n {lan.space(guest)} link set card up")
        sh(f"ip -n {lan.space(guest)} route add default via {HOST}")  # a guest that tries everything


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    """The fences stand before there is a bridge; a guest is plugged in, as a machine is, and they are seen to again."""
    lan = Lan(mark=f"us{uuid.uuid4().hex[:6]}", directory=tmp_path_factory.mktemp("fences"))
    try:
        build(lan)
        for host in WAYS:
            lan.act(host, "create")
        plug_in(lan)
        for host in WAYS:
            lan.act(host, "assure")
        yield lan
    finally:
        for who in ("a", "b", "first", "second", "stranger", "lan"):
            subprocess.run(["ip", "netns", "delete", lan.space(who)], check=False, capture_output=True)


def told(process: subprocess.Popen[str]) -> list[str]:
    return process.communicate(timeout=60)[0].splitlines()


@pytest.mark.parametrize("called", [0, 1], ids=["without br_netfilter", "with br_netfilter"])
def test_a_guest_speaks_with_one_on_the_other_host_by_ports_of_its_own_host(lan: Lan, called: int) -> None:
    """Also where others keep packets from bridges: libvirt from those that lead nowhere, Docker from all."""
    for host in WAYS:
        sh(f"ip netns exec {lan.space(host)} sysctl -q net.bridge.bridge-nf-call-iptables={called}")
        sh(f"ip netns exec {lan.space(host)} nft {REJECTING}")
    for guest in ("a", "b"):  # a checksum that is made by the card is made anew by every card
        lan.start(guest, CHECKSUMS, "card", 0).wait()
    cable = lan.start("lan", LISTEN, LONG, 2)
    there = lan.start("b", EXCHANGE, B, INNER_PORT, LONG)
    here = lan.start("a", EXCHANGE, A, INNER_PORT, LONG, f"{HOST}:{PORT_B}")
    assert told(there) == [f"{HOST}:{PORT_A} hello {HOST}:{PORT_B}"]
    assert told(here) == [f"{HOST}:{PORT_B} answer"]
    ways = {f"17 whole {FIRST}:{PORT_A} {SECOND}:{PORT_B}", f"17 whole {SECOND}:{PORT_B} {FIRST}:{PORT_A}"}
    assert set(told(cable)) == ways, "on the cable are the ports of both, and no address of a guest"


def test_whatever_else_a_guest_sends_stays_on_its_host(lan: Lan) -> None:
    cable = lan.start("lan", LISTEN, 2 * SHORT, 9)
    others = [
        f"{HOST}:53",
        f"{HOST}:{PORT_A}",
        f"{SECOND}:22",
        f"{STRANGER}:{PORT_B}",
        f"{B}:51820",
    ]
    tried = [
        lan.start("a", EXCHANGE, A, INNER_PORT, SHORT, *others),
        lan.start("a", EXCHANGE, A, INNER_PORT + 1, SHORT, f"{HOST}:{PORT_B}", *others),
    ]
    assert [told(each) for each in tried] == [[], []]
    assert told(cable) == []


def test_whoever_is_not_a_machine_of_the_stack_on_a_known_host_comes_to_no_guest(lan: Lan) -> None:
    there = lan.start("b", EXCHANGE, B, INNER_PORT, 2 * SHORT)
    tried = [
        lan.start("stranger", EXCHANGE, STRANGER, PORT_A, SHORT, f"{SECOND}:{PORT_B}", f"{SECOND}:{INNER_PORT}"),
        lan.start("first", EXCHANGE, FIRST, PORT_A + 1, SHORT, f"{SECOND}:{PORT_B}", f"{SECOND}:{INNER_PORT}"),
    ]
    assert [told(each) for each in (*tried, there)] == [[], [], []]


def test_what_somebody_took_away_is_seen_and_mended(lan: Lan) -> None:
    outputs = lan.act("first", "create")
    assert lan.act("first", "read", outputs) == lan.inputs("first")
    for damage in ("nft delete table netdev", "nft flush chain netdev", "ip link delete"):
        words = {
            "nft delete table netdev": lan.mark,
            "nft flush chain netdev": f"{lan.mark} out",
            "ip link delete": "wire",
        }
        sh(f"ip netns exec {lan.space('first')} {damage} {words[damage]}")
        if damage.startswith("ip"):
            plug_into_lan(lan, "first", FIRST)  # another card of the same name
        assert lan.act("first", "read", outputs) == {**lan.inputs("first"), "in_place": False}, damage
        lan.act("first", "create")
        assert lan.act("first", "read", outputs) == lan.inputs("first")


def test_afterwards_nothing_is_left(lan: Lan) -> None:
    lan.act("second", "delete")
    left = subprocess.run(
        ("ip", "netns", "exec", lan.space("second"), "nft", "list", "tables"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert left.stdout.splitlines() == ["table ip libvirt"]
    assert [path.name for path in (lan.directory / "second").rglob("*") if path.is_file()] == [".lock"]


def test_an_address_that_is_not_the_hosts_own_is_told(lan: Lan) -> None:
    outputs = lan.act("first", "create")
    sh(f"ip -n {lan.space('first')} address delete {FIRST}/24 dev wire")
    assert lan.act("first", "read", outputs) == {**lan.inputs("first"), "in_place": False}
    with pytest.raises(AssertionError, match=r"and not 192\.0\.2\.1; wanted the `address` that Capacity\.yaml has"):
        lan.act("first", "create")
    sh(f"ip -n {lan.space('first')} address add {FIRST}/24 dev wire")


def test_a_host_out_of_reach_is_told(lan: Lan) -> None:
    sh(f"ip -n {lan.space('first')} route add unreachable {SECOND}")
    with pytest.raises(AssertionError, match=r"no way to 192\.0\.2\.2, where other machines of the stack are"):
        lan.act("first", "create")
    sh(f"ip -n {lan.space('first')} route delete unreachable {SECOND}")


def test_over_a_router_it_goes_to_the_router() -> None:
    """The next hop is another one then, and the card may be."""
    hop = Hop(card="eth1.7", address=STRANGER)
    text = crossing("us1a2b3cc", IPv4Network("198.18.249.0/24"), WAYS["first"], {SECOND: hop})
    assert f'ip daddr set {SECOND} fwd ip to {STRANGER} device "eth1.7"' in text
    assert 'hook ingress device "eth1.7"' in text


def test_what_is_no_cards_name_comes_into_no_rule() -> None:
    hop = Hop(card='eth0" drop', address=SECOND)
    with pytest.raises(ValueError, match="no card's name"):
        crossing("us1a2b3cc", IPv4Network("198.18.249.0/24"), WAYS["first"], {SECOND: hop})


@pytest.mark.parametrize(
    "wrong", [{}, {"address": "x"}, {"address": "192.0.2.1", "own": [{"address": "1", "port": 2}], "far": []}]
)
def test_what_are_no_ways_is_refused_before_anything_happens(wrong: Any) -> None:
    inputs = {**Lan(mark="us1a2b3c", directory=Path()).inputs("first"), "ways": wrong}
    assert [failure.property for failure in Fence().check(inputs)] == ["ways"]
