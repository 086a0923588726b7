"""Puts in place what carries tunnels between a stack's control bridge and other hosts, once the bridge is there.

Its rules name cards, and so are there only as long as these are. After a reboot libvirt's hook loads them again.
"""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path

from model.errors import UnderstudyError
from model.tunnels import Ways
from provisioners import this_computer
from provisioners.hypervisor.fence_rules import Hop, crossing
from provisioners.hypervisor.host import ToolFailed, tool, write_whole

_CARDS = Path("/proc/sys/net/ipv4/conf")
"""Those of this very process's network; ``/sys`` may have been mounted in another."""


def rules(control_bridge: str, control_network: IPv4Network, ways: Ways) -> str:
    """Return the rules as this host's cards and routes are now.

    Raises:
        UnderstudyError: the address that the others are told is not this host's, or one of them is out of reach.
    """
    own = this_computer.addresses()
    if ways.address not in own:
        raise UnderstudyError(
            where="this host",
            found=f"{', '.join(map(str, own))}, and not {ways.address}",
            wanted="the `address` that Capacity.yaml has for it, or else its `host`: there the others reach it",
            todo="Write the right one there as `address`, then `./run understudy place`.",
        )
    hops = {}
    for address in dict.fromkeys(address for address, _ in ways.far):
        way = this_computer.way_towards(address)
        if way is None:
            raise UnderstudyError(
                where="this host",
                found=f"no way to {address}, where other machines of the stack are",
                wanted="a route there: it is the `address` of another host in Capacity.yaml, or a rented machine's own",
            )
        hops[address] = Hop(card=way.card, address=way.hop)
    return crossing(control_bridge, control_network, ways, hops)


def put(fences: Path, table: str, text: str) -> None:
    """Keep the rules where libvirt's hook finds them, and load them where the bridge is there; or take them away.

    Args:
        fences: where all fences of this host are.
        table: the name of the fence's tables.
        text: the rules; empty for none.
    """
    if text:
        write_whole(_file(fences, table), text)
        load(fences, table)
        return
    _file(fences, table).unlink(missing_ok=True)
    _note(fences, table).unlink(missing_ok=True)
    with suppress(ToolFailed):  # there is none
        tool("nft", "delete", "table", "netdev", table)


def load(fences: Path, table: str) -> None:
    """Load the rules, if there are any, where the bridge is there."""
    if _file(fences, table).exists() and _bridge_is_there(table):
        tool("nft", "-f", str(_file(fences, table)))
        write_whole(_note(fences, table), _listing(table))


def stand(fences: Path, table: str, text: str) -> bool:
    """Return whether these rules, empty for none, are those that were put there, and the kernel has them."""
    if _text(_file(fences, table)) != text:
        return False
    return not text or not _bridge_is_there(table) or _text(_note(fences, table)) == _listing(table)


def _file(fences: Path, table: str) -> Path:
    return fences / f"{table}.netdev"


def _note(fences: Path, table: str) -> Path:
    return fences / f"{table}.listing"


def _bridge_is_there(table: str) -> bool:
    return (_CARDS / f"{table}c").exists()


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _listing(table: str) -> str:
    try:
        return tool("nft", "list", "table", "netdev", table)
    except ToolFailed:
        return ""
