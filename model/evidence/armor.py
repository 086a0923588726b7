"""OpenSSH's signatures as text. Pure; whether one is good only `ssh-keygen` can tell."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MAGIC = b"SSHSIG"
_WIDTH = 70


def armored(blob: bytes) -> str:
    r"""Return a signature's bytes as `ssh-keygen` writes them.

    Source: openssh, PROTOCOL.sshsig, "Armored format"; sshbuf_dtob64 breaks lines after 70 characters.

    >>> armored(b"SSHSIG")
    '-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n'
    """
    text = base64.b64encode(blob).decode("ascii")
    lines = [text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH)]
    return "\n".join([_BEGIN, *lines, _END]) + "\n"


def namespace_of(signature: str) -> str | None:
    """Return what a signature was made for; None where the text is not exactly as `ssh-keygen` writes one.

    Only one text stands for a signature: base64 alone would allow several, which no signature tells apart.

    Source: openssh, PROTOCOL.sshsig, "Blob format".
    """
    try:
        blob = base64.b64decode("".join(signature.split("\n")[1:-2]), validate=True)
    except (binascii.Error, ValueError):
        return None
    if armored(blob) != signature or blob[:6] != _MAGIC or blob[6:10] != b"\0\0\0\1":
        return None
    parts = list(_strings(blob[10:]))
    if len(parts) != 5 or None in parts:  # the key, the namespace, what is reserved, the hash, the signature
        return None
    try:
        return (parts[1] or b"").decode("ascii")
    except UnicodeDecodeError:
        return None


def _strings(data: bytes) -> Iterator[bytes | None]:
    while data:
        length = int.from_bytes(data[:4], "big")
        yield data[4 : 4 + length] if len(data) >= 4 + length else None
        data = data[4 + length :]
