"""Machines of an image of the user's own: cloud-init tells them who they are at their first boot, and SSH the rest.

A NoCloud disk can be read by everybody on the machine. So its host key is good for the first contact alone: over that
connection the machine gets its real one, cloud-init is ended for good, and the disk is unplugged. The disk is plugged
into the running machine only, its file is gone as soon as qemu has it, and no configuration names it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from model.cloud_init import hosts_text, seed_files
from model.connection import Connection, connection_of
from provisioners.commands import scripted
from provisioners.hypervisor.door import door
from provisioners.hypervisor.identity import throwaway_key
from provisioners.outcome import Deadline, Say
from provisioners.provider.kinds import Values
from provisioners.shell import ConnectionLost, Shell, Unreachable, WrongHostKey, connect

_FIRST_BOOT_SECONDS = 600.0
_CLOUD_INIT_SECONDS = 1200.0
_GLANCE_SECONDS = 1.0
_AGAIN_SECONDS = 60.0
_KEY = "/etc/ssh/ssh_host_ed25519_key"
Way = tuple[Connection, str]
"""How a machine is reached, and the private key with which."""


def introduce(inputs: Values, say: Say) -> None:
    """Make a machine the one that it is to be: at the first boot of its disk through cloud-init, then over SSH.

    Raises:
        UnderstudyError: it does not come up, or is not what it was told to be.
    """
    host = door(inputs["host_uri"])
    usual: Way = (connection_of(inputs["connection"]), inputs["private_key"])
    ways = [usual]
    if inputs.get("untouched") and not answers(usual):
        private, public = throwaway_key()
        ways.insert(0, (replace(usual[0], host_key=public), usual[1]))
        say("its first boot, with cloud-init")
        files = seed_files(inputs["identity"], instance=str(uuid.uuid4()), private_key=private, public_key=public)
        host.call("start with cloud-init", inputs["domain"], files, say=say)
    settle_over_the_first(ways, inputs, say)
    host.call("unplug cloud-init", inputs["domain"], say=say)


def tell(old: Values, inputs: Values, say: Say) -> None:
    """Tell a machine that knows who it is what is new: names of others, and keys. It is still reached as before."""
    ways = [(connection_of(each["connection"]), each["private_key"]) for each in (old, inputs)]
    settle_over_the_first(ways, inputs, say)


def answers(way: Way) -> bool:
    """Whether it is the wanted machine already: an earlier run was cut off late."""
    with suppress(Unreachable, WrongHostKey), connect(*way, lambda _: None, _GLANCE_SECONDS):
        return True
    return False


def settle_over_the_first(ways: Sequence[Way], inputs: Values, say: Say) -> None:
    """Settle over the first way on which the machine that is expected there answers."""
    *others, last = dict.fromkeys(ways)
    for way in others:
        with suppress(WrongHostKey, Unreachable):
            _settle(way, _FIRST_BOOT_SECONDS, inputs, say)
            return
    _settle(last, _AGAIN_SECONDS if others else _FIRST_BOOT_SECONDS, inputs, say)


def _settle(way: Way, patience_seconds: float, inputs: Values, say: Say) -> None:
    waiting = Deadline(_CLOUD_INIT_SECONDS)
    with connect(*way, say, patience_seconds) as shell:
        while not _is_settled(shell, inputs, waiting, say):
            shell.reconnect(_AGAIN_SECONDS)


def _is_settled(shell: Shell, inputs: Values, waiting: Deadline, say: Say) -> bool:
    """Settle, and return whether the connection held that long: cloud-init may restart the SSH server."""
    try:
        _wait_for_cloud_init(shell, waiting, say)
        _hand_over(shell, inputs)
    except ConnectionLost:
        if waiting.left <= 0:
            raise
        return False
    return True


def _wait_for_cloud_init(shell: Shell, waiting: Deadline, say: Say) -> None:
    def show(_: str) -> None:
        say(f"waiting until cloud-init has finished ({waiting.elapsed:.0f} s)")

    shell.stream_lines(scripted("cloud_init_wait"), show, timeout_seconds=max(waiting.left, 1))


def _hand_over(shell: Shell, inputs: Values) -> None:
    """Give it its real host key, and end cloud-init."""
    identity: Mapping[str, Any] = inputs["identity"]
    shell.put(hosts_text(identity).encode(), "/etc/hosts", mode="0644")
    keys = "".join(f"{key}\n" for key in identity["authorized_keys"])
    shell.put(keys.encode(), "/root/.ssh/authorized_keys", mode="0600")
    shell.put(f"{inputs['host_private_key'].strip()}\n".encode(), _KEY, mode="0600")
    shell.put(f"{inputs['host_public_key'].strip()}\n".encode(), f"{_KEY}.pub", mode="0644")
    addresses = (f"{card['address']}/{int(card['prefix'])}" for card in identity["cards"].values())
    shell.run(scripted("own_image", identity["hostname"], *addresses))
