"""A project with signers of its own, by the real `ssh-keygen`."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model.evidence.chain import Record
from model.evidence.signers import ALLOWED_SIGNERS, allowing, key_of
from provisioners import evidence_log
from provisioners.signing import Signer, find_signer

NOW = datetime(2026, 11, 25, 13, 30, tzinfo=UTC)


def make_key(path: Path, passphrase: str = "") -> tuple[str, str]:
    """Make a key, and return its public half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", path), check=True)
    key = key_of(Path(f"{path}.pub").read_text())
    assert key is not None
    return key


def allow(directory: Path, who: str, key: tuple[str, str]) -> None:
    """Allow a key to sign."""
    path = directory / ALLOWED_SIGNERS
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(allowing(who, key, "understudy-evidence") + "\n")


def make_signer(directory: Path, who: str) -> Signer:
    """Return somebody who may sign."""
    path = directory / "keys" / who
    allow(directory, who, make_key(path))
    return find_signer(directory, file=str(path), asks=False)


def put(directory: Path, stack: str, signer: Signer, kind: str, body: Mapping[str, Any], at: datetime = NOW) -> Record:
    """Append one record that was made at that time."""
    record = evidence_log.append(directory, stack, signer, lambda _: (kind, body), clock=lambda: at)
    assert record is not None
    return record
