"""Machines of one stack in several places are one network: who speaks with whom through which tunnel. Pure.

Each machine keeps its card on its host's mirror bridge, with prod's address. To machines on other computers it speaks
through WireGuard, which runs in the machine itself: their addresses are routes of 32 bits, which go before the network
on the card. A tunnel's packets leave over the control card, and for its own host alone: each far machine has a UDP port
on that host's own address there. The host's fence (``provisioners/hypervisor/fence_rules.py``) knows which other host
stands behind which port, and hands on nothing else. A machine in a cloud has the public address that it was rented with
instead, and the same port there. It never speaks first to one on a computer, so its cloud lets nothing out there; to
one in another cloud it does, and so does that one: each cloud lets out and in what goes to, and comes from, the
addresses that the stack keeps in the other.

Source: WireGuard, "Cryptokey Routing"; systemd.netdev(5) of systemd 252; ip(8), "-batch".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from model.capacity import CLOUDS
from model.capacity_reader import FILE as CAPACITY
from model.cloud import CloudSettings
from model.errors import UnderstudyError
from model.placement import FIRST_ADDRESS, Placement, file_name
from model.topology import Topology

INNER_PORT = 51820
"""Where WireGuard listens in each machine; its usual port."""
DEVICE = "us-tunnel"
KEY_FILE, ROUTES_FILE = (f"/etc/systemd/network/{DEVICE}.{what}" for what in ("key", "routes"))
MOST_MACHINES = 64
"""So many machines of a stack can be in several places: each stack has as many ports of a host."""
_FIRST_PORT = 32768
_NETWORKS = 512
"""Control networks have a range of so many /24 (``model.placing.CONTROL_NETWORKS``)."""
_SIDES = ("own", "far")
_MTU_OUTSIDE = 1280
"""On the way to a cloud packets are smaller than on a local network, by how much nobody knows; Google's are of 1460.
Source: RFC 8200, section 5: every way takes 1280. A larger one would come in fragments, which no fence lets through."""
_KEEPALIVE_SECONDS = 25
"""Source: wg(8), "PersistentKeepalive": a sensible interval that works with a wide variety of firewalls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A machine elsewhere.

    Args:
        name: the machine's name.
        address: its address on the mirror network.
        port: its port on its host's own address; in a cloud on its own one.
        endpoint: in another cloud, its public address, at which it is spoken to.
    """

    name: str
    address: IPv4Address
    port: int
    endpoint: IPv4Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """A machine's way to those elsewhere.

    Args:
        name: the machine's name.
        address: its own address on the mirror network.
        gateway: its host's address on the control network, at which it speaks to all peers; None in a cloud.
        peers: sorted by name.
        port: where its WireGuard listens.
        mtu: the largest packet within it, in bytes; None for what the kernel takes, which suits a local network.
    """

    name: str
    address: IPv4Address
    gateway: IPv4Address | None
    peers: tuple[Peer, ...]
    port: int = INNER_PORT
    mtu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What a host's fence lets through beside SSH: WireGuard between its machines and other places.

    Args:
        address: the host's own address, at which the other computers reach it.
        own: the control address of each of its machines, with that machine's port.
        far: the address of another computer, with the port of a machine there; for each such machine. Of a machine in
            a cloud its own public address.
    """

    address: IPv4Address
    own: tuple[tuple[IPv4Address, int], ...]
    far: tuple[tuple[IPv4Address, int], ...]


def computers(placement: Placement) -> tuple[str, ...]:
    """Return the computers with machines, sorted; clouds are none."""
    clouds = {host.name for host in placement.hosts if host.kind in CLOUDS}
    return tuple(sorted({machine.host for machine in placement.machines} - clouds))


def clouds(placement: Placement) -> tuple[str, ...]:
    """Return the clouds with machines, sorted."""
    return tuple(sorted({machine.host for machine in placement.machines} - set(computers(placement))))


def rented(placement: Placement) -> tuple[str, ...]:
    """Return the names of the machines in clouds, sorted."""
    there = clouds(placement)
    return tuple(machine.name for machine in placement.machines if machine.host in there)


def is_spread(placement: Placement) -> bool:
    """Return whether machines are in several places: on several computers, in several clouds, or on some of both."""
    return len({machine.host for machine in placement.machines}) > 1


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


def tunnel_port(placement: Placement, machine: str) -> int:
    """Return the port at which a machine itself waits for tunnels."""
    placed = placement.machine(machine)
    return outer_port(placed.control_address) if machine in rented(placement) else INNER_PORT


def speaks_first(placement: Placement, one: str, other: str) -> bool:
    """Return whether a machine speaks first with another; both may."""
    in_cloud = rented(placement)
    return one not in in_cloud or other in in_cloud


def _number(control_address: IPv4Address) -> int:
    """Return which of a stack's machines it is, from 0; below ``MOST_MACHINES`` it has a port of its own."""
    return (int(control_address) & 0xFF) - FIRST_ADDRESS


def tunnels(topology: Topology, placement: Placement) -> tuple[Tunnel, ...]:
    """Return the tunnel of each machine, sorted by name; none where all machines are in one place.

    The endpoints in other clouds are for the caller to add, who is told them by those.
    """
    placed = placement.machines if is_spread(placement) else ()
    peers = {
        machine.name: Peer(
            name=machine.name,
            address=topology.machine(machine.name).address,
            port=outer_port(machine.control_address),
        )
        for machine in placed
    }
    in_cloud = rented(placement)
    return tuple(
        Tunnel(
            name=machine.name,
            address=peers[machine.name].address,
            gateway=None if machine.name in in_cloud else placement.control_network[1],
            peers=tuple(peers[other.name] for other in placed if other.host != machine.host),
            port=tunnel_port(placement, machine.name),
            mtu=_MTU_OUTSIDE if in_cloud else None,
        )
        for machine in placed
    )


def ways(placement: Placement, host: str, public: Mapping[str, IPv4Address]) -> Ways | None:
    """Return what the fence of a computer lets through beside SSH; None where all machines are in one place.

    What the placement lacks for it, `refuse_unfit` has told.

    Args:
        placement: what the lock file says.
        host: the computer.
        public: the addresses of the machines in a cloud, by their names.
    """
    if not is_spread(placement):
        return None
    addresses = {name: address for name in computers(placement) if (address := own_address(placement, name))}
    own = ((each.control_address, outer_port(each.control_address)) for each in placement.machines if each.host == host)
    far = (
        (public.get(each.name) or addresses[each.host], outer_port(each.control_address))
        for each in placement.machines
        if each.host != host
    )
    return Ways(address=addresses[host], own=tuple(own), far=tuple(far))


def tunnel_sources(cloud: CloudSettings, placement: Placement) -> tuple[IPv4Network, ...]:
    """Return the networks that tunnels of machines on computers come from; none where there are no such machines.

    Where nobody says, the computers are where the controller is.
    """
    return (cloud.tunnels_from or cloud.ssh_from) if computers(placement) else ()


def ports_in_cloud(placement: Placement) -> tuple[int, int] | None:
    """Return the first and the last port at which machines in a cloud are spoken to through tunnels; None for none."""
    if not (is_spread(placement) and clouds(placement)):
        return None
    first = outer_port(placement.control_network[FIRST_ADDRESS])
    return first, first + MOST_MACHINES - 1


def refuse_unfit(stack: str, placement: Placement) -> None:
    """See that machines in several places can become one network.

    Args:
        stack: the stack's name.
        placement: what its lock file says.

    Raises:
        UnderstudyError: they are too many, or a computer's address is missing.
    """
    there, lock = computers(placement), file_name(stack)
    if not is_spread(placement):
        return
    if beyond := [machine.name for machine in placement.machines if _number(machine.control_address) >= MOST_MACHINES]:
        raise UnderstudyError(
            where=lock,
            found=f"{', '.join(beyond)} beyond the first {MOST_MACHINES} addresses of {placement.control_network}",
            wanted=f"at most {MOST_MACHINES} machines in several places",
        )
    for host in there:
        if own_address(placement, host) is None:
            raise UnderstudyError(
                where=f"{CAPACITY}: hosts.{host}.address",
                found="nothing",
                wanted=f"{_meant(placement, host)}: machines of {stack} are on each",
                todo=f"Write it there, then `./run understudy place -s {stack}`.",
            )


def _meant(placement: Placement, host: str) -> str:
    """Return in words which address of a computer is meant."""
    if others := ", ".join(each for each in computers(placement) if each != host):
        return f"the IPv4 address at which {others} reach {host}"
    return f"the IPv4 address with which {host} goes to {clouds(placement)[0]}"


def pairs(topology: Topology, placement: Placement) -> Mapping[str, tuple[Peer, ...]]:
    """Return from which machine which others are to answer: each speaks with one on each of the other computers.

    And with all rented ones elsewhere. One that is rented asks nobody on a computer: it does not speak first there.
    """
    host_of, in_cloud = {machine.name: machine.host for machine in placement.machines}, rented(placement)
    asked = {
        tunnel.name: [peer for peer in tunnel.peers if speaks_first(placement, tunnel.name, peer.name)]
        for tunnel in tunnels(topology, placement)
    }
    return {name: _one_each(peers, host_of, in_cloud) for name, peers in asked.items() if peers}


def ways_between(placement: Placement, one: str, other: str, public: Mapping[str, IPv4Address]) -> str:
    """Return in words what must pass between two machines' hosts; arguments as in `ways`."""
    ends = (placement.machine(name) for name in (one, other))
    first, second = (
        f"{public.get(each.name) or own_address(placement, each.host)} ({each.host}) "
        f"port {outer_port(each.control_address)}"
        for each in ends
    )
    return f"UDP between {first} and {second}, both ways"


def _one_each(peers: Collection[Peer], host_of: Mapping[str, str], every: Collection[str]) -> tuple[Peer, ...]:
    first: dict[str, Peer] = {}
    for peer in peers:
        first.setdefault(peer.name if peer.name in every else f"host {host_of[peer.name]}", peer)
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
    size = f"MTUBytes={tunnel.mtu}\n" if tunnel.mtu else ""
    parts = [device + size, f"[WireGuard]\nPrivateKeyFile={KEY_FILE}\nListenPort={tunnel.port}\n"]
    for peer in tunnel.peers:
        key = public_keys[peer.name]
        if not is_key(key):
            raise ValueError(f"{peer.name}: {key!r} is no key of WireGuard")
        parts.append(f"[WireGuardPeer]\nPublicKey={key}\nAllowedIPs={peer.address}/32\n")
        if spoken_to := tunnel.gateway or peer.endpoint:
            parts[-1] += f"Endpoint={spoken_to}:{peer.port}\nPersistentKeepalive={_KEEPALIVE_SECONDS}\n"
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
