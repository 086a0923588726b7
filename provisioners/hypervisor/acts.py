"""All that can be done on a host of virtual machines, by name. Values in and out are as JSON has them.

What is imported here runs on hosts that have Python and nothing of this project's packages: the standard library only.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from model.state import Recorded
from provisioners import this_computer
from provisioners.hypervisor import cloud_init_disk, copies, sweep
from provisioners.hypervisor.data_disk import DataDisk
from provisioners.hypervisor.fence import Fence
from provisioners.hypervisor.running import Running
from provisioners.hypervisor.silent import look_at
from provisioners.hypervisor.template_kind import Template
from provisioners.hypervisor.virsh import Virsh
from provisioners.hypervisor.warm_start import WarmStart
from provisioners.outcome import Say
from provisioners.provider.kinds import Kind, Values

Act = Callable[..., Any]
_KINDS: tuple[Kind, ...] = (DataDisk(), Fence(), Running(), Template(), WarmStart())
_NOTES = Path("/var/lib/libvirt/dnsmasq")


def act(name: str, arguments: Sequence[Any], say: Say) -> Any:
    """Do what the name says and return what came of it.

    Raises:
        UnderstudyError: it cannot be done.
    """
    return _ACTS[name](*arguments, say)


def _acts_of(kind: Kind) -> dict[str, Act]:
    def read(identifier: str, inputs: Values, outputs: Values, say: Say) -> Values | None:
        real = kind.read(identifier, inputs, outputs, say)
        return None if real is None else {"inputs": real.inputs, "outputs": real.outputs}

    each: dict[str, Act] = {"create": kind.create, "read": read, "update": kind.update, "delete": kind.delete}
    return {f"{kind.token} {verb}": function for verb, function in each.items()}


def _sweep(stack: str, owner: str, known: Mapping[str, Any], go: bool, say: Say) -> list[str]:
    recorded = Recorded(
        domains=frozenset(known["domains"]),
        networks=frozenset(known["networks"]),
        pools=frozenset(known["pools"]),
        volumes=frozenset(known["volumes"]),
        fenced=known["fenced"],
    )
    return list(sweep.sweep(stack, owner, recorded, say, act=go))


def _networks(_: Say) -> list[tuple[str, str]]:
    return [(card, str(network)) for card, network in this_computer.networks()]


def _lacking_programs(names: Sequence[str], _: Say) -> tuple[list[str], str]:
    """Return those of these programs that are not there, and the distribution with its version.

    Libvirt makes the directory for its notes only for a network with DHCP, and ours have none.
    Source: libvirt 9.0, networkStartDhcpDaemon and networkAllocatePort.
    """
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    _NOTES.mkdir(mode=0o755, parents=True, exist_ok=True)
    told = f"{release.get('ID', '')} {release.get('VERSION_ID', '')}".strip()
    return [name for name in names if shutil.which(name) is None], told


_ACTS: Mapping[str, Act] = {
    **{name: each for kind in _KINDS for name, each in _acts_of(kind).items()},
    "copied image": copies.complete,
    "lacking of image": lambda name, record, _: copies.lacking(name, record),
    "lacking programs": _lacking_programs,
    "look at silent": lambda domain, resets, say: look_at(Virsh(say=say), domain, resets=resets),
    "networks": _networks,
    "start with cloud-init": cloud_init_disk.start_with,
    "state": lambda domain, say: Virsh(say=say).state(domain),
    "sweep": _sweep,
    "unplug cloud-init": cloud_init_disk.unplug,
    "version": lambda say: Virsh(say=say).version(),
}
