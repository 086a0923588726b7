"""Signs with the operator's own SSH key, and verifies: `ssh-keygen -Y` does both. No key is ever read by us."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from model.errors import UnderstudyError
from model.evidence.chain import NAMESPACE, WHO, Record, Verifier, signed_text
from model.evidence.signers import ALLOWED_SIGNERS, allowing, key_of, principal_of

_known_good: set[tuple[str, str, str]] = set()
"""Who may sign, signature and text: what this process has verified already."""
_SIGN_SECONDS, _VERIFY_SECONDS = 120.0, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Whoever signs, with which key.

    Args:
        who: the name in the list of allowed signers.
        file: the key's file; empty for a key that only an agent has.
        key: type and base64 text of the public key.
        asks: whether there is somebody who can be asked for a passphrase.
    """

    who: str
    file: str
    key: tuple[str, str]
    asks: bool


def find_signer(directory: Path, *, file: str = "", asks: bool = True) -> Signer:
    """Return with which key evidence is signed: the given one, else Git's `user.signingkey`, else the first that may.

    Args:
        directory: the project's.
        file: the file of a private key, or of the public key of one that an agent has.
        asks: whether there is somebody who can be asked for a passphrase.

    Raises:
        UnderstudyError: there is none, or it is not allowed to; says what to type.
    """
    allowed = _text(directory / ALLOWED_SIGNERS)
    found = _candidates(directory, file)
    for path, key in found:
        if who := principal_of(allowed, key):
            return Signer(who=who, file=path, key=key, asks=asks)
    if found:
        path, key = found[0]
        line = allowing(_who_you_are(directory), key, NAMESPACE)
        raise UnderstudyError(
            where=ALLOWED_SIGNERS,
            found=f"your key {path or 'of the agent'} is not in it",
            wanted="the keys of all who may sign evidence",
            todo=f"Have this line added and committed:\n  {line}",
        )
    raise UnderstudyError(
        where="your SSH key",
        found="neither in an agent, nor in ~/.ssh/id_ed25519, nor as git's user.signingkey",
        wanted="a key to sign evidence with",
        todo="Make one with `ssh-keygen -t ed25519`, or name one with --key FILE.",
    )


def sign(signer: Signer, text: str) -> str:
    """Return the signature over a text.

    Raises:
        UnderstudyError: the key cannot be used; `ssh-keygen`'s own words are in the text.
    """
    with _key_file(signer) as path:
        done = _keygen("-Y", "sign", "-f", path, "-n", NAMESPACE, text=text, asks=signer.asks, seconds=_SIGN_SECONDS)
    if done.returncode or not done.stdout:
        raise UnderstudyError(
            where=f"signing with {signer.file or 'the key of the agent'}",
            found=_last_line(done.stderr),
            todo="Load the key into your agent with `ssh-add`, or name another with --key FILE.",
        )
    return done.stdout


def verifier(directory: Path) -> Verifier:
    """Return what tells whether a record's signature is good, by the project's list of allowed signers.

    A key that was allowed when the record was made stays good for it.
    """
    allowed = directory / ALLOWED_SIGNERS
    listed = _text(allowed)

    def verify(record: Record) -> str:
        if not listed:
            return f"nobody is allowed to sign: there is no {ALLOWED_SIGNERS}"
        text = signed_text(record)
        if (listed, record.signature, text) in _known_good:
            return ""
        with TemporaryDirectory() as folder:
            signature = Path(folder, "signature")
            signature.write_text(record.signature, encoding="ascii")
            common = ("-n", NAMESPACE, "-s", str(signature))
            at = f"verify-time={record.moment:%Y%m%d%H%M%S}"
            known = ("-Y", "verify", "-f", str(allowed), "-I", record.who, "-O", at)
            if _keygen(*known, *common, text=text).returncode == 0:
                _known_good.add((listed, record.signature, text))
                return ""
            other = _keygen("-Y", "check-novalidate", *common, text=text).returncode == 0
        if other:
            return f"it is signed by a key that {ALLOWED_SIGNERS} does not allow {record.who} at that time"
        return "its signature is not of this text: something in it was changed"

    return verify


def _candidates(directory: Path, file: str) -> list[tuple[str, tuple[str, str]]]:
    """Return the keys that could be meant, the first choice first, each with its file and its public key."""
    if file:
        path = Path(file).expanduser()
        if not path.is_file():
            raise UnderstudyError(where=file, found="no such file", wanted="the file of an SSH key")
        return [(str(path), _public(path))]
    if configured := _git(directory, "user.signingkey"):
        literal = key_of(configured.removeprefix("key::"))
        path = Path(configured).expanduser()
        if literal:
            return [("", literal)]
        if path.is_file():
            return [(str(path), _public(path))]
    usual = [path for path in (Path.home() / ".ssh/id_ed25519",) if path.is_file()]
    return [*((str(path), _public(path)) for path in usual), *(("", key) for key in _agents_keys())]


def _public(path: Path) -> tuple[str, str]:
    """Return the public key of a file, which may be the private one."""
    beside = Path(f"{path}.pub")
    text = _text(beside) if beside.is_file() else _text(path)
    if "PRIVATE KEY" in text:
        text = _keygen("-y", "-f", str(path), asks=False).stdout
    key = key_of(text)
    if key is None:
        wanted = f"an SSH key, or its public one in {beside}"
        raise UnderstudyError(where=str(path), found="no key that can be read", wanted=wanted)
    return key


def _agents_keys() -> list[tuple[str, str]]:
    try:
        listed = _run("ssh-add", "-L")
    except UnderstudyError:
        return []
    keys = [key_of(line) for line in listed.stdout.splitlines()] if listed.returncode == 0 else []
    return [key for key in keys if key is not None]


def _git(directory: Path, name: str) -> str:
    try:
        return _run("git", "-C", str(directory), "config", "--get", name).stdout.strip()
    except UnderstudyError:
        return ""  # no git: no setting of it


def _who_you_are(directory: Path) -> str:
    name = _git(directory, "user.email")
    return name if WHO.fullmatch(name) else getpass.getuser()


@contextmanager
def _key_file(signer: Signer) -> Iterator[str]:
    if signer.file:
        yield signer.file
        return
    with TemporaryDirectory() as folder:
        path = Path(folder, "key.pub")
        path.write_text(" ".join(signer.key) + "\n", encoding="ascii")
        yield str(path)


def _keygen(
    *arguments: str, text: str = "", asks: bool = False, seconds: float = _VERIFY_SECONDS
) -> subprocess.CompletedProcess[str]:
    return _run("ssh-keygen", *arguments, text=text, asks=asks, seconds=seconds)


def _run(
    *command: str, text: str = "", asks: bool = False, seconds: float = _VERIFY_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run one program; without a terminal it asks nobody for a passphrase, and fails."""
    silent = {} if asks else {"SSH_ASKPASS_REQUIRE": "never"}
    try:
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
            start_new_session=not asks,
            env={**os.environ, "TZ": "UTC", "LC_ALL": "C", **silent},
        )
    except FileNotFoundError:
        todo = "Install OpenSSH's client." if command[0] != "git" else ""
        raise UnderstudyError(where=command[0], found="no such command", todo=todo) from None
    except subprocess.TimeoutExpired:
        raise UnderstudyError(where=command[0], found=f"no answer in {seconds:g} s") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UnderstudyError(where=str(path), found=f"cannot be read: {error.strerror}") from error


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing came"])[-1]
