"""What a killed run left on this host: everything of a stack that its state does not know.

All that is made for a stack carries its owner's mark: machines in their metadata, saved memories in the machine's XML
within, and the rest by the claim on the stack's names that its fence keeps. What carries another mark is never touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

from model import names
from model.errors import UnderstudyError
from model.libvirt_xml import OWNER_NAMESPACE, parsed
from model.state import Recorded
from provisioners.hypervisor import fence, template
from provisioners.hypervisor.host import FENCES, MANAGED_SAVES, STACKS
from provisioners.hypervisor.savefile import BadSaveFile, read_head
from provisioners.hypervisor.seeds import clear_seeds
from provisioners.hypervisor.virsh import Virsh
from provisioners.hypervisor.warm_start import forget_memory
from provisioners.outcome import Say

Sort = Literal["machine", "saved memory", "disk", "network", "pool", "fence"]
_UNFINISHED = re.compile(r"\..+\.save\.([0-9]+)\.part")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something on the host that carries the stack's mark.

    Args:
        name: libvirt's name of it, or its path.
        needs: paths of disks without which it is of no use.
    """

    sort: Sort
    name: str
    needs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.sort} {self.name}"


def sweep(stack: str, owner: str, known: Recorded, say: Say, *, act: bool) -> tuple[str, ...]:
    """Find what the state does not know, and take it away.

    Args:
        stack: the stack's name.
        owner: the mark that the stack's things carry.
        known: what the state knows.
        say: is told about waiting.
        act: whether to take it away, or only to name it.

    Returns:
        One line for each thing, such as ``machine stage-db1``.

    Raises:
        UnderstudyError: another state's stack has this name on this host, or something cannot be removed.
    """
    virsh = Virsh(say=say)
    fence.check_claim(stack, owner)
    template.clear_abandoned(virsh)
    clear_seeds()
    _clear_unfinished()
    domains, running, networks, pools = virsh.all_names(
        ("list", "--all"), ("list",), ("net-list", "--all"), ("pool-list", "--all")
    )
    left_over = decide_left_over(_things(stack, owner, virsh, domains, networks, pools), known)
    if act:
        for thing in left_over:
            _remove(thing, stack, owner, virsh, say)
        _detach_strays(owner, virsh, running)
    return tuple(str(thing) for thing in left_over)


def decide_left_over(things: Iterable[Thing], known: Recorded) -> tuple[Thing, ...]:
    """Return what the state does not know, in the order in which it can be removed.

    A saved memory waits for a machine that is yet to be made: while its disk is known, it is no left-over.

    >>> decide_left_over([Thing(sort="network", name="a"), Thing(sort="machine", name="b")], Recorded())[0].name
    'b'
    """
    order: tuple[Sort, ...] = ("machine", "saved memory", "disk", "network", "pool", "fence")
    known_names = {
        "machine": known.domains,
        "saved memory": frozenset[str](),
        "disk": known.volumes,
        "network": known.networks,
        "pool": known.pools,
    }
    left_over = [
        thing
        for thing in things
        if (not known.fenced if thing.sort == "fence" else thing.name not in known_names[thing.sort])
        and not (thing.sort == "saved memory" and thing.needs and set(thing.needs) <= known.volumes)
    ]
    return tuple(sorted(left_over, key=lambda thing: (order.index(thing.sort), thing.name)))


def owner_of(root: ET.Element) -> str:
    """Return the mark in a machine's XML; empty where it has none."""
    return root.findtext(f"metadata/{{{OWNER_NAMESPACE}}}owner") or ""


def disks_of(root: ET.Element) -> dict[str, str]:
    """Return the paths of a machine's disks by their names in the machine, such as ``vda``."""
    found = {}
    for disk in root.iterfind("devices/disk"):
        target, source = disk.find("target"), disk.find("source")
        if target is not None and source is not None:
            found[target.get("dev", "")] = source.get("file", "")
    return found


def _things(
    stack: str, owner: str, virsh: Virsh, domains: Sequence[str], networks: Sequence[str], pools: Sequence[str]
) -> list[Thing]:
    things = [Thing(sort="machine", name=name) for name in domains if owner_of(_xml(virsh, name)) == owner]
    things += _saved(owner, frozenset(domains))
    directory = STACKS / stack
    things += [Thing(sort="disk", name=str(path)) for path in directory.glob("*") if path.is_file()]
    for card in ("mirror", "control"):
        name = names.network(stack, card)
        if name in networks and names.bridge(stack, card) in virsh.run("net-dumpxml", name):
            things.append(Thing(sort="network", name=name))
    if stack in pools and f">{directory}<" in virsh.run("pool-dumpxml", stack):
        things.append(Thing(sort="pool", name=stack))
    elif directory.exists():
        things.append(Thing(sort="pool", name=str(directory)))
    if (FENCES / f"{stack}.json").exists():
        things.append(Thing(sort="fence", name=stack))
    return things


def _saved(owner: str, domains: frozenset[str]) -> list[Thing]:
    """Return the saved memories of our machines that libvirt does not know yet, or no longer."""
    found = []
    for path in MANAGED_SAVES.glob("*.save"):
        if path.stem in domains:
            continue
        try:
            with path.open("rb") as stream:
                root = parsed(read_head(stream, str(path)).xml)
        except (OSError, BadSaveFile, ET.ParseError, UnicodeDecodeError):
            continue
        if owner_of(root) == owner:
            system = disks_of(root).get("vda", "")
            found.append(Thing(sort="saved memory", name=str(path), needs=(system,) if system else ()))
    return found


def _clear_unfinished() -> None:
    """Remove memories that were being written by processes that are gone."""
    for path in MANAGED_SAVES.glob(".*.part"):
        unfinished = _UNFINISHED.fullmatch(path.name)
        if unfinished and not Path("/proc", unfinished[1]).exists():
            path.unlink(missing_ok=True)


def _remove(thing: Thing, stack: str, owner: str, virsh: Virsh, say: Say) -> None:
    say(f"removing {thing}")
    match thing.sort:
        case "machine":
            _remove_machine(thing.name, virsh)
        case "saved memory":
            Path(thing.name).unlink(missing_ok=True)
        case "disk":
            Path(thing.name).unlink(missing_ok=True)
            if stack in virsh.names("pool-list"):
                virsh.run("pool-refresh", stack)
        case "network":
            if thing.name in virsh.names("net-list"):
                virsh.run("net-destroy", thing.name)
            virsh.run("net-undefine", thing.name)
        case "pool":
            _remove_pool(thing.name, virsh)
        case "fence":
            fence.remove(stack, owner, say)


def _remove_machine(name: str, virsh: Virsh) -> None:
    if virsh.state(name) not in ("shut off", ""):
        virsh.run("destroy", name)
    if virsh.state(name):  # one that was never defined is gone by now
        forget_memory(virsh, name)
        virsh.run("undefine", name, "--managed-save", "--snapshots-metadata", "--checkpoints-metadata", "--nvram")


def _remove_pool(name: str, virsh: Virsh) -> None:
    directory = Path(name) if name.startswith("/") else STACKS / name
    if not name.startswith("/"):
        if name in virsh.names("pool-list"):
            virsh.run("pool-destroy", name)
        virsh.run("pool-undefine", name)
    with suppress(OSError):  # gone, or something that is known is still in it
        directory.rmdir()


def _detach_strays(owner: str, virsh: Virsh, running: Iterable[str]) -> None:
    """Detach disks that were plugged into running machines for a while, by a run that did not come to unplug them."""
    for name in running:
        now = _xml(virsh, name)
        if owner_of(now) != owner:
            continue
        lasting = disks_of(parsed(virsh.run("dumpxml", name, "--inactive")))
        for target in disks_of(now).keys() - lasting.keys():
            with suppress(UnderstudyError):  # still mounted in the machine: whoever uses it next unplugs it
                virsh.run("detach-disk", name, target, "--live")


def _xml(virsh: Virsh, domain: str) -> ET.Element:
    try:
        return parsed(virsh.run("dumpxml", domain))
    except UnderstudyError:
        if virsh.state(domain):
            raise
        return ET.Element("domain")  # it went away between two looks
