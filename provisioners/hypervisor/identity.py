"""Talks with the service in our image that gives a machine its identity, over a channel that is not the network.

The host's end is a socket in libvirt's own directory, open to root alone: what goes through it lies on no disk. One
line of JSON there, one line back; every request may be sent again. ``images/README.md`` describes the messages.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import tempfile
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from model.errors import UnderstudyError
from model.libvirt_xml import IDENTITY_PORT, parsed
from provisioners.hypervisor.host import tool
from provisioners.hypervisor.silent import look_at
from provisioners.hypervisor.virsh import Absent, Virsh
from provisioners.outcome import Deadline, Say, pause

PATIENCE_SECONDS = 600.0
"""How long a machine may take to boot and answer."""
_SILENCE_SECONDS = 60.0
"""After so long without an answer the line is taken for lost, and the request is sent again."""
_SILENCES = 3
"""After so many a machine that was never told anything is held for dead, if it does nothing."""
_LARGEST_REPLY = 1 << 20


class IdentityFailed(UnderstudyError):
    """The machine gave no answer, or refused what it was sent."""


def identity_message(
    identity: Mapping[str, Any], *, private_key: str, public_key: str, domain_uuid: str, template: bool = False
) -> dict[str, Any]:
    """Return the message that makes a machine the one that it is to be. All that must be fresh is drawn here.

    Args:
        identity: hostname, domain, hosts, authorized_keys and cards.
        private_key: the machine's host key for SSH, ed25519, in OpenSSH's form.
        public_key: its public half, one line.
        domain_uuid: the domain's UUID; the machine id follows from it, and so stays over boots.
        template: whether nothing of it is to be kept.
    """
    cards = {
        name: {"mac": card["mac"].lower(), "address": card["address"], "prefix": int(card["prefix"])}
        for name, card in identity["cards"].items()
        if card
    }
    return {
        "version": 1,
        "template": template,
        "hostname": identity["hostname"],
        "domain": identity.get("domain") or "",
        "hosts": [{"address": host["address"], "names": list(host["names"])} for host in identity["hosts"]],
        "host_key_private": private_key,
        "host_key_public": public_key,
        "authorized_keys": list(identity["authorized_keys"]),
        "machine_id": uuid.UUID(domain_uuid).hex,
        "boot_id": str(uuid.uuid4()),
        "seed": base64.b64encode(os.urandom(512)).decode(),
        "now": round(time.time(), 3),
        "cards": cards,
    }


def tell(
    virsh: Virsh,
    domain: str,
    identity: Mapping[str, Any],
    say: Say,
    *,
    private_key: str,
    public_key: str,
    domain_uuid: str,
    unborn: bool = False,
) -> None:
    """Tell a machine of our image who it is.

    Args:
        virsh: where the machine is.
        domain: the domain's name.
        identity: as for `identity_message`, like the keys and the UUID.
        say: is told every few seconds that it still takes.
        private_key: the machine's host key for SSH.
        public_key: its public half.
        domain_uuid: the domain's UUID.
        unborn: as for `ask`.

    Raises:
        IdentityFailed, Stalled, Stopped: as `ask`.
    """
    message = identity_message(identity, private_key=private_key, public_key=public_key, domain_uuid=domain_uuid)
    ask(virsh, domain, message, seconds=PATIENCE_SECONDS, say=say, doing="telling it who it is", unborn=unborn)


def plug_in(virsh: Virsh, domain: str, identity: Mapping[str, Any]) -> None:
    """Plug a machine's cables in."""
    cards = filter(None, identity["cards"].values())
    virsh.run_all(*(("domif-setlink", domain, card["mac"], "up") for card in cards))


def throwaway_key() -> tuple[str, str]:
    """Return a new SSH key pair, ed25519, in OpenSSH's forms: private and public."""
    with tempfile.TemporaryDirectory(prefix="understudy-key-") as place:
        key = Path(place, "key")
        tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key))
        return key.read_text(), key.with_suffix(".pub").read_text().strip()


def socket_path(xml: str) -> str:
    """Return the host's end of the channel, out of a domain's XML; empty where it has none, or does not run."""
    for channel in parsed(xml).iterfind("devices/channel"):
        target, source = channel.find("target"), channel.find("source")
        if target is not None and source is not None and target.get("name") == IDENTITY_PORT:
            return source.get("path", "")
    return ""


def ask(
    virsh: Virsh,
    domain: str,
    request: Mapping[str, Any],
    *,
    seconds: float,
    say: Say,
    doing: str,
    resets: bool = True,
    unborn: bool = False,
) -> dict[str, Any]:
    """Send one request and return the reply. The machine may still be booting: what is sent waits for it.

    Args:
        virsh: where the machine is.
        domain: the domain's name.
        request: the message, without its id.
        seconds: how long it may take altogether.
        say: is told every few seconds that it still takes.
        doing: what is being waited for, in a few words.
        resets: whether it may be reset, once, where it never would answer.
        unborn: whether it was never told anything: then it is enough that it does nothing for long.

    Raises:
        IdentityFailed: no answer in time, the machine is off, or it refused.
        Stalled: the machine stands still, because this host's disk is full.
        Stopped: the user asked to stop.
    """
    deadline, silences = Deadline(seconds), 0
    while True:
        try:
            reply = _exchange(_socket_of(virsh, domain), domain, request, deadline, say, doing)
        except OSError:  # the machine, or qemu, went away in the middle; the next look says what has become of it
            reply = None
        if reply is None:
            silences += 1
            resets &= not look_at(virsh, domain, resets=resets, unborn=unborn and silences >= _SILENCES)
        elif reply.get("ok") is True:
            return reply
        if reply is not None:
            raise IdentityFailed(
                where=domain, found=f"it refuses what it was sent: {reply.get('error') or 'no reason'}"
            )
        if deadline.left <= 0:
            raise IdentityFailed(
                where=domain,
                found=f"no answer in {seconds:.0f} s ({doing})",
                todo=f"See what it says: `virsh console {domain}`. Then run it again.",
            )
        pause(0.5, domain)


def _socket_of(virsh: Virsh, domain: str) -> str:
    with suppress(Absent):
        if path := socket_path(virsh.run("dumpxml", domain)):
            return path
    state = virsh.state(domain)
    raise IdentityFailed(
        where=domain,
        found=f"it is {state or 'gone'}" if state != "running" else "it has no identity channel",
        wanted="a running machine with an identity channel",
        todo="See why: `virsh list --all`, and /var/log/libvirt/qemu. Then run it again.",
    )


def _exchange(
    path: str, where: str, request: Mapping[str, Any], deadline: Deadline, say: Say, doing: str
) -> dict[str, Any] | None:
    """Return the reply to this request; None where the line went dead."""
    identifier = str(uuid.uuid4())
    message = {**request, "id": identifier}
    if "now" in message:  # a clone's clock is set to it
        message["now"] = round(time.time(), 3)
    silence = Deadline(min(_SILENCE_SECONDS, max(deadline.left, 1.0)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(min(2.0, silence.left))
        line.connect(path)
        line.sendall(json.dumps(message).encode() + b"\n")
        received = b""
        while silence.left > 0:
            pause(0, where)
            try:
                piece = line.recv(65536)
            except TimeoutError:
                say(f"{doing} ({deadline.elapsed:.0f} s)")
                continue
            received += piece
            *whole, received = received.split(b"\n")
            for text in whole:
                reply = _reply(text)
                if reply.get("id") == identifier:
                    return reply
            if not piece or len(received) > _LARGEST_REPLY:
                return None
    return None


def _reply(text: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(text)
    except ValueError:
        return {}
    return reply if isinstance(reply, dict) else {}
