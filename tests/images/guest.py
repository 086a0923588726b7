"""The guest's Perl program run on this computer, in a scratch directory, with the kernel left alone."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

from images.recipe import HERE

GUEST = HERE / "guest"
ANSWERS = Path(__file__).parent / "answers.pl"
BODY = "".join("A" * 70 + "\n" for _ in range(5))
PRIVATE = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY}-----END OPENSSH PRIVATE KEY-----\n"
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFbWmGf0OyZ4mCq8Wf0F1zO0y0qv1c0hZr0r0a0a0a0a host"


def identity(**changed: Any) -> dict[str, Any]:
    """Return a good identity message with these keys changed; a value of None takes the key out."""
    message: dict[str, Any] = {
        "version": 1,
        "id": "a-1",
        "hostname": "db1",
        "domain": "shop.example",
        "hosts": [{"address": "10.20.0.31", "names": ["db1.shop.example", "db1"]}],
        "host_key_private": PRIVATE,
        "host_key_public": PUBLIC,
        "authorized_keys": [PUBLIC],
        "machine_id": "0123456789abcdef0123456789abcdef",
        "boot_id": "01234567-89ab-cdef-0123-456789abcdef",
        "seed": base64.b64encode(bytes(64)).decode(),
        "now": 1764000000.123,
        "cards": {
            "control": {"mac": "52:54:00:00:00:01", "address": "198.18.7.10", "prefix": 24},
            "mirror": {"mac": "52:54:00:00:00:02", "address": "10.20.0.31", "prefix": 24},
        },
    }
    return {key: value for key, value in (message | changed).items() if value is not None}


def scratch_root(directory: Path) -> Path:
    """Make the directories that the image has, and return their root."""
    for name in ("etc/ssh", "root", "run"):
        (directory / name).mkdir(parents=True)
    return directory


def answers(root: Path, *lines: str | bytes, started: str = "cold") -> list[dict[str, Any]]:
    """Return what the guest's program answers to these lines."""
    sent = b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)
    argv = ("perl", f"-I{GUEST}", str(ANSWERS), str(root), started)
    done = subprocess.run(argv, input=sent, capture_output=True, check=True, timeout=60)
    assert not done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def answer(root: Path, message: Any, started: str = "cold") -> dict[str, Any]:
    """Return what it answers to this message."""
    return answers(root, json.dumps(message), started=started)[0]


def perl(program: str, *arguments: str, modules: str = "Kernel") -> str:
    """Return what a piece of Perl prints that uses one of the guest's modules."""
    argv = ("perl", f"-I{GUEST}", f"-MUnderstudy::{modules}", "-e", program, *arguments)
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
