"""The kind ``Fence``: the packet filter around a stack, and the stack's claim on its names on this host.

It is in the kernel before the stack's first network exists. After a reboot of the host, libvirt's hooks load it again
before any network or machine of the stack starts, and without it none of them starts. Why not libvirt's own network
filters: they keep state only where ``br_netfilter`` is loaded, and where it is not they let everything pass, silently;
and they hold for machines, while this holds for bridges, whoever plugs into them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import files
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from model.errors import UnderstudyError
from model.tunnels import ways_of
from provisioners.hypervisor import crossing
from provisioners.hypervisor.fence_rules import is_bridge, ruleset, table_name
from provisioners.hypervisor.host import FENCES, ToolFailed, locked, read_json, tool, write_whole
from provisioners.outcome import Say
from provisioners.provider.inputs import Rule, failures
from provisioners.provider.kinds import Failure, Real, Values

HOOKS = Path("/etc/libvirt/hooks")
_HOOK_FILES = ("network.d/understudy-fence", "qemu.d/understudy-fence")
_WORD = Rule(
    good=lambda value: isinstance(value, str) and bool(value) and value.isprintable(), allowed="one line of text"
)
_BRIDGE = Rule(good=lambda value: isinstance(value, str) and is_bridge(value), allowed="the name of a bridge of ours")


def _is_ways(value: Any) -> bool:
    try:
        ways_of(value)
    except ValueError:
        return False
    return True


_WAYS = Rule(good=_is_ways, allowed="the tunnels that pass: address, own and far", optional=True)


def _is_network(value: Any) -> bool:
    try:
        return IPv4Network(value).prefixlen <= 28
    except ValueError:
        return False


class Fence:
    """Kind ``understudy:index:Fence``."""

    token = "understudy:index:Fence"
    secret_outputs: frozenset[str] = frozenset()
    replace_on = frozenset({"stack", "owner"})
    ignored: frozenset[str] = frozenset()

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        network = Rule(good=_is_network, allowed="a network such as 198.18.7.0/24")
        more = {"mirror_bridge": _BRIDGE, "control_bridge": _BRIDGE, "control_network": network, "ways": _WAYS}
        return failures(inputs, {"stack": _WORD, "owner": _WORD, **more})

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Claim the stack's names, and put the fence in place."""
        return inputs["stack"], _put(inputs, say)

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return whether the kernel's rules are those that were put there."""
        table = table_name(inputs["mirror_bridge"])
        whole = listing(table) == outputs.get("listing") and claim(inputs["stack"]).get("owner") == inputs["owner"]
        whole = whole and _crosses(inputs)
        return Real(inputs=inputs if whole else {**inputs, "in_place": False}, outputs=outputs)

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Put it in place anew."""
        if old["mirror_bridge"] != inputs["mirror_bridge"]:
            _remove_rules(table_name(old["mirror_bridge"]))
        return _put(inputs, say)

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Remove it, and the claim, and with the last fence libvirt's hooks."""
        remove(inputs["stack"], inputs["owner"], say)


def claim(stack: str) -> dict[str, Any]:
    """Return who claims a stack's names on this host, and with which fence; empty where nobody does."""
    return read_json(FENCES / f"{stack}.json")


def check_claim(stack: str, owner: str) -> None:
    """Refuse names that another state's stack uses.

    Raises:
        UnderstudyError: another owner claims them.
    """
    other = claim(stack).get("owner", owner)
    if other != owner:
        raise UnderstudyError(
            where=f"stack {stack}",
            found=f"its machines on this host belong to another state ({other})",
            wanted=owner,
            todo="Destroy the other one with its own backend, or give this stack another name.",
        )


def assure(table: str) -> None:
    """See that a fence stands in the kernel, and put it back where somebody flushed it.

    Args:
        table: the name of its tables.

    Raises:
        UnderstudyError: there is no such fence, or it cannot be loaded.
    """
    rules = FENCES / f"{table}.nft"
    if not listing(table):
        if not rules.exists():
            raise UnderstudyError(
                where="this host",
                found=f"the fence {rules} is gone",
                todo="Run `pulumi refresh`, then `pulumi up`: it is made again.",
            )
        tool("nft", "-f", str(rules))
    with locked(FENCES / ".lock", lambda _: None, "another machine starts"):  # several do at once
        crossing.load(FENCES, table)  # the bridge is there only now


def listing(table: str) -> str:
    """Return a fence's rules as the kernel has them; empty where a part of it is missing."""
    try:
        return "".join(tool("nft", "list", "table", family, table) for family in ("bridge", "inet"))
    except ToolFailed:
        return ""


def remove(stack: str, owner: str, say: Say) -> None:
    """Remove a stack's fence and its claim; one of another owner stays."""
    with locked(FENCES / ".lock", say, "another run works on the fences"):
        found = claim(stack)
        if found.get("owner", owner) != owner:
            return
        if found.get("table"):
            _remove_rules(found["table"])
        (FENCES / f"{stack}.json").unlink(missing_ok=True)
        if not list(FENCES.glob("*.nft")):
            for name in _HOOK_FILES:
                (HOOKS / name).unlink(missing_ok=True)
                with suppress(OSError):  # somebody else's hooks are in there
                    (HOOKS / name).parent.rmdir()


def _put(inputs: Values, say: Say) -> Values:
    table = table_name(inputs["mirror_bridge"])
    ways = ways_of(inputs["ways"]) if inputs.get("ways") else None
    network, carrying = IPv4Network(inputs["control_network"]), _crossing(inputs)
    rules = ruleset(inputs["mirror_bridge"], inputs["control_bridge"], network, ways)
    with locked(FENCES / ".lock", say, "another run works on the fences"):
        check_claim(inputs["stack"], inputs["owner"])
        notes = {"owner": inputs["owner"], "table": table, "control_network": inputs["control_network"]}
        write_whole(FENCES / f"{inputs['stack']}.json", json.dumps(notes) + "\n")
        write_whole(FENCES / f"{table}.nft", rules)
        tool("nft", "-f", str(FENCES / f"{table}.nft"))
        crossing.put(FENCES, table, carrying)
        hook = files(__package__ or "").joinpath("fence-hook.sh").read_text(encoding="utf-8")
        for path in (HOOKS / name for name in _HOOK_FILES):
            if not (os.access(path, os.X_OK) and path.read_text(encoding="utf-8") == hook):
                write_whole(path, hook, mode=0o755)
    return {"ruleset": rules, "listing": listing(table)}


def _crossing(inputs: Values) -> str:
    """Return the rules that carry tunnels; empty where there are none."""
    if not inputs.get("ways"):
        return ""
    return crossing.rules(inputs["control_bridge"], IPv4Network(inputs["control_network"]), ways_of(inputs["ways"]))


def _crosses(inputs: Values) -> bool:
    """Return whether tunnels are carried as they were, or none where there are none."""
    try:
        return crossing.stand(FENCES, table_name(inputs["mirror_bridge"]), _crossing(inputs))
    except UnderstudyError:  # an update tells why it cannot be so any more
        return False


def _remove_rules(table: str) -> None:
    for family in ("bridge", "inet"):
        with suppress(ToolFailed):  # it is gone already
            tool("nft", "delete", "table", family, table)
    crossing.put(FENCES, table, "")
    (FENCES / f"{table}.nft").unlink(missing_ok=True)
