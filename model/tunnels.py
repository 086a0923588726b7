"""Machines of one stack on several computers are one network: who speaks with whom through which tunnel. Pure.

Each machine keeps its card on its host's mirror bridge, with prod's address. To machines on other computers it speaks
through WireGuard, which runs in the machine itself: their addresses are routes of 32 bits, which go before the network
on the card. A tunnel's packets leave over the control card, and for its own host alone: each far machine has a UDP port
on that host's own address there. The host's fence (``provisioners/hypervisor/fence_rules.py``) knows which other host
stands behind which port, and hands on nothing else.

Source: WireGuard, "Cryptokey Routing"; systemd.netdev(5) of systemd 252; ip(8), "-batch".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from model.capacity import CLOUDS
from model.capacity_reader import FILE as CAPACITY
from model.errors import UnderstudyError
from model.placement import FIRST_ADDRESS, Placement, file_name
from model.topology import Topology

INNER_PORT = 51820
"""Where WireGuard listens in each machine; its usual port."""
DEVICE = "us-tunnel"
KEY_FILE, ROUTES_FILE = (f"/etc/systemd/network/{DEVICE}.{what}" for what in ("key", "routes"))
MOST_MACHINES = 64
"""So many machines of a stack can be on several computers: each stack has as many ports of a host."""
_FIRST_PORT = 32768
_NETWORKS = 512
"""Control networks have a range of so many /24 (``model.placing.CONTROL_NETWORKS``)."""
_SIDES = ("own", "far")
_KEEPALIVE_SECONDS = 25
"""Source: wg(8), "PersistentKeepalive": a sensible interval that works with a wide variety of firewalls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A machine on another computer.

    Args:
        name: the machine's name.
        address: its address on the mirror network.
        port: its port on the host's own address.
    """

    name: str
    address: IPv4Address
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """A machine's way to those on other computers.

    Args:
        name: the machine's name.
        address: its own address on the mirror network.
        gateway: its host's address on the control network.
        peers: sorted by name.
    """

    name: str
    address: IPv4Address
    gateway: IPv4Address
    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What a host's fence lets through beside SSH: WireGuard between its machines and other computers.

    Args:
        address: the host's own address, at which the other computers reach it.
        own: the control address of each of its machines, with that machine's port.
        far: the address of another computer, with the port of a machine there; for each such machine.
    """

    address: IPv4Address
    own: tuple[tuple[IPv4Address, int], ...]
    far: tuple[tuple[IPv4Address, int], ...]


def computers(placement: Placement) -> tuple[str, ...]:
    """Return the computers with machines, sorted; clouds are none."""
    clouds = {host.name for host in placement.hosts if host.kind in CLOUDS}
    return tuple(sorted({machine.host for machine in placement.machines} - clouds))


def is_spread(placement: Placement) -> bool:
    """Return whether machines are on several computers."""
    return len(computers(placement)) > 1


def own_address(placement: Placement, host: str) -> IPv4Address | None:
    """Return the address at which the other computers reach a computer; None where the lock file has none."""
    placed = placement.host(host)
    return placed.address if placed else placement.address


def outer_port(control_address: IPv4Address) -> int:
    """Return a machine's port on hosts: no two machines have the same, in whichever stacks of one host they are.

    >>> outer_port(IPv4Address("198.18.0.10")), outer_port(IPv4Address("198.19.255.73"))
    (32768, 65535)
    """
    network = (int(control_address) >> 8) % _NETWORKS
    return _FIRST_PORT + network * MOST_MACHINES + _number(control_address)


def _number(control_address: IPv4Address) -> int:
    """Return which of a stack's machines it is, from 0; below ``MOST_MACHINES`` it has a port of its own."""
    return (int(control_address) & 0xFF) - FIRST_ADDRESS


def tunnels(topology: Topology, placement: Placement) -> tuple[Tunnel, ...]:
    """Return the tunnel of each machine, sorted by name; none where all machines are on one computer."""
    placed = placement.machines if is_spread(placement) else ()
    peers = {
        machine.name: Peer(
            name=machine.name,
            address=topology.machine(machine.name).address,
            port=outer_port(machine.control_address),
        )
        for machine in placed
    }
    return tuple(
        Tunnel(
            name=machine.name,
            address=peers[machine.name].address,
            gateway=placement.control_network[1],
            peers=tuple(peers[other.name] for other in placed if other.host != machine.host),
        )
        for machine in placed
    )


def ways(placement: Placement, host: str) -> Ways | None:
    """Return what the fence of a computer lets through beside SSH; None where all machines are on one computer.

    What the placement lacks for it, `refuse_unfit` has told.
    """
    if not is_spread(placement):
        return None
    addresses = {name: address for name in computers(placement) if (address := own_address(placement, name))}
    own = ((each.control_address, outer_port(each.control_address)) for each in placement.machines if each.host == host)
    far = ((addresses[each.host], outer_port(each.control_address)) for each in placement.machines if each.host != host)
    return Ways(address=addresses[host], own=tuple(own), far=tuple(far))


def refuse_unfit(stack: str, placement: Placement) -> None:
    """See that machines on several computers can become one network.

    Args:
        stack: the stack's name.
        placement: what its lock file says.

    Raises:
        UnderstudyError: some are in a cloud and some are not, they are too many, or a computer's address is missing.
    """
    there, lock = computers(placement), file_name(stack)
    places = sorted({machine.host for machine in placement.machines})
    again = f"`./run understudy place --again -s {stack}`"
    if len(places) > len(there) and len(places) > 1:
        raise UnderstudyError(
            where=lock,
            found=f"machines on {', '.join(places)}",
            wanted="one cloud, or computers alone: machines in clouds and elsewhere are not one network yet",
            todo=f"Leave one cloud, or computers, to {stack} in {CAPACITY} (`stacks` at a host says who may use it), "
            f"then {again}.",
        )
    if not is_spread(placement):
        return
    if beyond := [machine.name for machine in placement.machines if _number(machine.control_address) >= MOST_MACHINES]:
        raise UnderstudyError(
            where=lock,
            found=f"{', '.join(beyond)} beyond the first {MOST_MACHINES} addresses of {placement.control_network}",
            wanted=f"at most {MOST_MACHINES} machines on several computers",
        )
    for host in there:
        if own_address(placement, host) is None:
            raise UnderstudyError(
                where=f"{CAPACITY}: hosts.{host}.address",
                found="nothing",
                wanted=f"the IPv4 address at which {', '.join(each for each in there if each != host)} reach {host}: "
                f"machines of {stack} are on each",
                todo=f"Write it there, then `./run understudy place -s {stack}`.",
            )


def pairs(topology: Topology, placement: Placement) -> Mapping[str, tuple[Peer, ...]]:
    """Return from which machine which others are to answer: each speaks once with each other computer that has one."""
    host_of = {machine.name: machine.host for machine in placement.machines}
    return {tunnel.name: tuple(_one_each(tunnel.peers, host_of)) for tunnel in tunnels(topology, placement)}


def ways_between(placement: Placement, one: str, other: str) -> str:
    """Return in words what must pass between the hosts of two machines."""
    ends = (placement.machine(name) for name in (one, other))
    first, second = (
        f"{own_address(placement, each.host)} ({each.host}) port {outer_port(each.control_address)}" for each in ends
    )
    return f"UDP between {first} and {second}, both ways"


def _one_each(peers: Collection[Peer], host_of: Mapping[str, str]) -> Sequence[Peer]:
    first: dict[str, Peer] = {}
    for peer in peers:
        first.setdefault(host_of[peer.name], peer)
    return tuple(first.values())


def ways_as_values(found: Ways) -> dict[str, Any]:
    """Return what a fence lets through, as plain values."""
    return {
        "address": str(found.address),
        "own": [{"address": str(address), "port": port} for address, port in found.own],
        "far": [{"address": str(address), "port": port} for address, port in found.far],
    }


def ways_of(values: Any) -> Ways:
    """Return what a fence lets through, from plain values.

    Raises:
        ValueError: they are none.
    """
    try:
        own, far = (
            tuple((IPv4Address(each["address"]), _port(each["port"])) for each in values[key]) for key in _SIDES
        )
        return Ways(address=IPv4Address(values["address"]), own=own, far=far)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not what a fence lets through: {error}") from error


def _port(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise ValueError(f"{value!r} is no port")
    return value


def netdev_text(tunnel: Tunnel, public_keys: Mapping[str, str]) -> str:
    """Return the file of systemd-networkd that makes the device.

    Args:
        tunnel: the machine's.
        public_keys: of WireGuard, in base64, by the peer's name.

    Raises:
        ValueError: a key is none.
    """
    device = f"[NetDev]\nName={DEVICE}\nKind=wireguard\n"
    parts = [device, f"[WireGuard]\nPrivateKeyFile={KEY_FILE}\nListenPort={INNER_PORT}\n"]
    for peer in tunnel.peers:
        key = public_keys[peer.name]
        if not is_key(key):
            raise ValueError(f"{peer.name}: {key!r} is no key of WireGuard")
        parts.append(
            f"[WireGuardPeer]\nPublicKey={key}\nAllowedIPs={peer.address}/32\n"
            f"Endpoint={tunnel.gateway}:{peer.port}\nPersistentKeepalive={_KEEPALIVE_SECONDS}\n"
        )
    return "\n".join(parts)


def routes_text(tunnel: Tunnel) -> str:
    """Return the lines of ``ip -batch`` that lead the peers' addresses into the device; they may be run again."""
    lines = [f"link set dev {DEVICE} up"]
    lines += [f"route replace {peer.address}/32 dev {DEVICE} src {tunnel.address}" for peer in tunnel.peers]
    return "".join(f"{line}\n" for line in lines)


def is_key(text: str) -> bool:
    """Return whether it is a key of WireGuard: 32 bytes in base64.

    >>> is_key("A" * 43 + "="), is_key("AAAA")
    (True, False)
    """
    letters = text[:-1].replace("+", "a").replace("/", "a")
    return len(text) == 44 and text.endswith("=") and letters.isascii() and letters.isalnum()
