"""Tells a libvirt guest of our image who it is, over its identity channel: the by-hand equivalent of its first start.

Standard input is what a change document has: its host name, addresses and who may log in, as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from model.change.foreseen import FILL_IN
from model.errors import UnderstudyError
from provisioners.hypervisor.identity import plug_in, tell
from provisioners.hypervisor.virsh import LOCAL, Virsh

_NEEDED = frozenset({"hostname", "hosts", "authorized_keys", "cards"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy introduce`."""
    parser.add_argument("domain", help="the guest, as `virsh list` names it")
    parser.add_argument("--uuid", required=True, help="its UUID; the machine id follows from it")
    parser.add_argument("--host-key", required=True, type=Path, metavar="FILE", help="its SSH host key, ed25519")
    parser.add_argument("--connect", default=LOCAL, metavar="URI", help="default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Tell it, plug its cables in, and return once it has said that it knows."""
    virsh, identity = Virsh(uri=arguments.connect, say=print), read_identity(sys.stdin.read())
    private, public = (_key(path) for path in (arguments.host_key, Path(f"{arguments.host_key}.pub")))
    tell(
        virsh,
        arguments.domain,
        identity,
        print,
        private_key=private,
        public_key=public.strip(),
        domain_uuid=arguments.uuid,
    )
    plug_in(virsh, arguments.domain, identity)
    print(f"{arguments.domain} knows that it is {identity['hostname']}")
    return 0


def read_identity(text: str) -> dict[str, Any]:
    """Return who a machine is, out of standard input.

    Raises:
        UnderstudyError: it is none, or something in it is still to be filled in.
    """
    try:
        identity = json.loads(text)
    except ValueError:
        identity = None
    if not isinstance(identity, dict) or not identity.keys() >= _NEEDED:
        raise UnderstudyError(
            where="standard input", found="no identity", wanted=f"JSON with {', '.join(sorted(_NEEDED))}"
        )
    if FILL_IN in text:
        raise UnderstudyError(where="standard input", found=f"a place that is still {FILL_IN}", wanted="your own key")
    return identity


def _key(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        todo = "Make both halves: ssh-keygen -t ed25519 -N '' -f FILE"
        raise UnderstudyError(where=str(path), found=error.strerror or "it cannot be read", todo=todo) from None
