"""What the verbs that sign a record share."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from components.files import stack_files
from model import rules
from model.errors import UnderstudyError
from model.evidence.chain import Log, Record, file_name
from model.readers import is_secret_text, one_of
from provisioners import evidence_log
from provisioners.signing import find_signer

_DIGEST, _BEGINNING = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{8,63}")


def add_key(parser: argparse.ArgumentParser) -> None:
    """Add `--key`."""
    usual = "git's user.signingkey, ~/.ssh/id_ed25519, or one that your agent has"
    parser.add_argument("--key", default="", metavar="FILE", help=f"the SSH key to sign with; default: {usual}")


def add_digest(parser: argparse.ArgumentParser) -> None:
    """Add what says which change is meant, and why."""
    parser.add_argument("digest", help="the change's digest, as the gate gives it, or its first 8 digits")
    parser.add_argument("--why", required=True, help="in your own words, one line")


def record_of_change(arguments: argparse.Namespace, directory: Path, stack: str, kind: str) -> Record:
    """Append a record about one change, and return it.

    Raises:
        UnderstudyError: the digest or the words are none, or it cannot be signed or written.
    """
    digest = whole_digest(arguments.digest, evidence_log.read(directory, stack))
    if not rules.is_line(arguments.why) or is_secret_text(arguments.why):
        raise UnderstudyError(where="--why", found="no reason", wanted=f"{rules.LINE_ALLOWED}, and no secret")
    body = {"change": digest, "why": arguments.why}
    signer = find_signer(directory, file=arguments.key)
    record = evidence_log.append(directory, stack, signer, lambda _: (kind, body), say=print)
    assert record is not None
    return record


def whole_digest(given: str, log: Log) -> str:
    """Return the digest of the change that a person means; its beginning is enough where a log tells of it.

    Raises:
        UnderstudyError: it is none, or tells of no change, or of several.
    """
    if _DIGEST.fullmatch(given):
        return given
    told = (each for record in log.records for each in record.body.get("changes") or {})
    known = sorted({digest for digest in told if _BEGINNING.fullmatch(given) and digest.startswith(given)})
    if len(known) != 1:
        raise UnderstudyError(
            where="the change's digest",
            found=f"{given[:80]!r}{', which may be ' + ' or '.join(known) if known else ''}",
            wanted="the 64 characters 0-9 and a-f that the gate gives in `pulumi preview`, or the first 8 or more of a "
            f"change that {file_name(log.stack)} tells of",
        )
    return str(known[0])


def refuse_other_stack(directory: Path, stack: str, *, mirror: bool) -> None:
    """See that a stack is one that mirrors another, or one that does not.

    Raises:
        UnderstudyError: it is not, or has no file.
    """
    known = {name for name, file in stack_files(directory).items() if ("mirror" in file.config) == mirror}
    if stack not in known:
        what = "that mirrors another" if mirror else "that mirrors nothing"
        raise UnderstudyError(where="--stack", found=stack, wanted=f"a stack {what}: {one_of(sorted(known))}")


def told(record: Record) -> str:
    """Return what to say of a new record."""
    name = file_name(record.stack)
    return f"record {record.n} of {name}, signed by {record.who}. Commit it: git add {name}"
