"""The list of those who may sign evidence, as `ssh-keygen` reads it. Pure."""

from __future__ import annotations

import itertools
import re

ALLOWED_SIGNERS = "evidence/allowed_signers"
"""Where it is, within the project; it is in Git."""


def key_of(text: str) -> tuple[str, str] | None:
    """Return the type and the base64 text of the first public key in a text; None where there is none.

    >>> key_of("ssh-ed25519 AAAAC3 anna@desk")
    ('ssh-ed25519', 'AAAAC3')
    """
    found = re.search(r"(?:^|\s)((?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+)\s+([A-Za-z0-9+/]+=*)", text)
    return (found[1], found[2]) if found else None


def principal_of(allowed: str, key: tuple[str, str]) -> str:
    """Return the name under which a key stands in the list; empty where it does not, or has only patterns for names.

    Source: ssh-keygen(1), "ALLOWED SIGNERS".

    >>> principal_of('# ours\\n"anna@x.example,*" namespaces="a b" ssh-ed25519 AAAA anna\\n', ("ssh-ed25519", "AAAA"))
    'anna@x.example'
    """
    for line in allowed.splitlines():
        words = line.split()
        if line.lstrip().startswith("#") or key not in itertools.pairwise(words):
            continue
        names = words[0].strip('"').split(",")
        if plain := [name for name in names if name and not set(name) & set("*?!")]:
            return plain[0]
    return ""


def allowing(who: str, key: tuple[str, str], namespace: str) -> str:
    """Return the line that allows a key.

    >>> allowing("anna", ("ssh-ed25519", "AAAA"), "paint")
    'anna namespaces="paint" ssh-ed25519 AAAA'
    """
    return f'{who} namespaces="{namespace}" {key[0]} {key[1]}'
