"""A change whose copies a machine has: what can be taken back there, also a month later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptChange:
    """The copies of one change on one machine.

    Args:
        service: the service that it changed.
        directory: where the copies, their manifest and ``back-out.sh`` are.
        state: ``open``, ``kept`` or ``backed-out``.
        digest: of the service as Git had it then; empty where nobody knows, or it was never kept.
    """

    service: str
    directory: str
    state: str
    digest: str = ""

    @property
    def identifier(self) -> str:
        """Return the change's id on that machine.

        >>> KeptChange(service="web", directory="/a/20261125T131415Z-0123456789ab", state="kept").identifier
        '0123456789ab'
        """
        return PurePosixPath(self.directory).name.partition("-")[2]

    @property
    def at(self) -> datetime:
        """Return when it was opened.

        >>> KeptChange(service="web", directory="/a/20261125T131415Z-0123456789ab", state="kept").at.isoformat()
        '2026-11-25T13:14:15+00:00'
        """
        name = PurePosixPath(self.directory).name.partition("-")[0]
        return datetime.strptime(name, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def kept_changes(text: str) -> tuple[KeptChange, ...]:
    """Return the changes that a machine listed, the newest first; of each line service, directory, state, digest.

    >>> kept_changes("web\\t/a/20261125T131415Z-0123456789ab\\tkept\\t")[0].service
    'web'
    """
    rows = (line.split("\t") for line in text.splitlines())
    found = (
        KeptChange(service=service, directory=directory, state=state, digest=digest)
        for service, directory, state, digest in rows
    )
    return tuple(sorted(found, key=lambda change: change.directory.rpartition("/")[2], reverse=True))
