"""Secrets that the state keeps: key pairs of SSH and of WireGuard, and a password."""

from __future__ import annotations

import base64
import hashlib
import secrets
import string
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from model.errors import UnderstudyError
from provisioners.outcome import Say
from provisioners.provider.inputs import Rule, failures, number, optional, text
from provisioners.provider.kinds import Failure, Real, Values

_COMMENT = Rule(good=lambda value: text(value) and value.isprintable(), allowed="one line of text")
_LETTERS = string.ascii_letters + string.digits


class _Kept:
    """What all secrets share: the state is the only place where one is."""

    ignored: frozenset[str] = frozenset()

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return what the state has."""
        if not outputs:
            raise UnderstudyError(where=identifier, found="a secret cannot be imported", todo="Let a new one be made.")
        return Real(inputs=inputs, outputs=outputs)

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Return what the state has."""
        return outputs

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Nothing to do: what a machine has of it goes with what brought it there."""


class _Keypair(_Kept):
    """What key pairs share."""

    secret_outputs = frozenset({"private_key"})
    replace_on = frozenset({"comment"})

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        return failures(inputs, {"comment": _COMMENT})


class SshKeypair(_Keypair):
    """Kind ``understudy:index:SshKeypair``: an Ed25519 key pair, in OpenSSH's formats."""

    token = "understudy:index:SshKeypair"

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Make a key pair."""
        private = Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        kept = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        line = f"{public} {inputs['comment']}".strip()
        return hashlib.sha256(public.encode()).hexdigest()[:16], {"public_key": line, "private_key": kept}


class WireguardKeypair(_Keypair):
    """Kind ``understudy:index:WireguardKeypair``: a Curve25519 key pair, in base64 as WireGuard has it."""

    token = "understudy:index:WireguardKeypair"

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Make a key pair."""
        private = X25519PrivateKey.generate()
        kept, public = private.private_bytes_raw(), private.public_key().public_bytes_raw()
        keys = {"public_key": base64.b64encode(public).decode(), "private_key": base64.b64encode(kept).decode()}
        return hashlib.sha256(public).hexdigest()[:16], keys


class Password(_Kept):
    """Kind ``understudy:index:Password``: letters and digits, so that no place where it is used has to quote it."""

    token = "understudy:index:Password"
    secret_outputs = frozenset({"value"})
    replace_on = frozenset({"length"})

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        return failures(inputs, {"length": optional(number(16, 128))})

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Make a password; its identifier says nothing about it."""
        value = "".join(secrets.choice(_LETTERS) for _ in range(inputs.get("length") or 32))
        return secrets.token_hex(8), {"value": value}
