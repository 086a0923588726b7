"""A snapshot: one backup of one store, as its repository describes it; and what can be wrong with a repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from model.errors import UnderstudyError


class Flaw(Enum):
    """What is wrong with a repository or a snapshot. Each is told apart, because each wants something else done."""

    ABSENT = "not there"
    EMPTY = "empty"
    DAMAGED = "damaged"
    INCOMPLETE = "incomplete"
    OTHER_VERSION = "of another version"
    OTHER_CLUSTER = "of another cluster"
    UNKNOWN_STANZA = "without that stanza"
    UNKNOWN_SNAPSHOT = "without that snapshot"
    UNREADABLE = "unreadable"


class BadBackup(UnderstudyError):
    """A backup that cannot be used.

    Args:
        flaw: what is wrong with it, in kind.
        where: the repository's location, or a file in it.
        found: what is wrong with it, in words.
    """

    def __init__(self, flaw: Flaw, *, where: str, found: str, wanted: str = "", todo: str = "") -> None:
        self.flaw = flaw
        super().__init__(where=where, found=f"the backup is {flaw.value}: {found}", wanted=wanted, todo=todo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One backup of one store.

    Args:
        label: its name in the repository.
        kind: ``full``, ``diff``, ``incr``, ``dump`` or ``files``.
        taken_at: when it was complete, with a time zone.
        size_bytes: of the data that it restores to; for dumps, of the file.
        version: the engine's version that wrote it, such as ``15``; empty where it does not tell.
        system_identifier: the cluster's own number; empty where there is none.
        chain: labels of the snapshots that it builds on and its own, oldest first.
        wal_start: name of the first WAL segment that it needs; empty where there is none.
        wal_stop: name of the last one.
        wal_segment_bytes: the size of a segment.
        fault: why it is not good, in words; empty where it is.
    """

    label: str
    kind: str
    taken_at: datetime
    size_bytes: int
    version: str = ""
    system_identifier: str = ""
    chain: tuple[str, ...] = ()
    wal_start: str = ""
    wal_stop: str = ""
    wal_segment_bytes: int = 16 << 20
    fault: str = ""


def newest_good(snapshots: Sequence[Snapshot], where: str) -> Snapshot:
    """Return the newest snapshot that is good.

    Args:
        snapshots: all of a repository.
        where: the repository's location, for the error.

    Raises:
        BadBackup: there is none, or none of them is good.
    """
    good = [snapshot for snapshot in snapshots if not snapshot.fault]
    if good:
        return max(good, key=lambda snapshot: snapshot.taken_at)
    if not snapshots:
        raise BadBackup(Flaw.EMPTY, where=where, found="it holds no snapshot", todo="Take a backup first.")
    worst = max(snapshots, key=lambda snapshot: snapshot.taken_at)
    raise BadBackup(Flaw.DAMAGED, where=where, found=f"none of its snapshots is good; {worst.label}: {worst.fault}")


def named(snapshots: Sequence[Snapshot], label: str, where: str) -> Snapshot:
    """Return the snapshot with that label.

    Raises:
        BadBackup: it is not there, or is not good.
    """
    found = next((snapshot for snapshot in snapshots if snapshot.label == label), None)
    if found is None:
        have = ", ".join(snapshot.label for snapshot in snapshots[-4:]) or "none"
        raise BadBackup(
            Flaw.UNKNOWN_SNAPSHOT,
            where=where,
            found=f"{label} is not in it any more; the newest are: {have}",
            todo="Move the pin with `understudy seed --newest`.",
        )
    if found.fault:
        raise BadBackup(Flaw.DAMAGED, where=f"{where}: {label}", found=found.fault)
    return found


def check_version(snapshot: Snapshot, version: str, where: str) -> None:
    """Check that a snapshot is of the major version that the store has; a dump may also be of an older one.

    Raises:
        BadBackup: it is of another one.
    """
    found = major(snapshot.version, version)
    older = snapshot.kind == "dump" and _numbers(found) < _numbers(version)
    if snapshot.version and found != version and not older:
        raise BadBackup(
            Flaw.OTHER_VERSION,
            where=f"{where}: {snapshot.label}",
            found=f"it was taken of version {snapshot.version}",
            wanted=version,
            todo="Name the store's real version in the stack's file, or another backup.",
        )


def major(version: str, like: str) -> str:
    """Return as many parts of a version as another has.

    >>> major("15.18", "15"), major("10.11.6", "10.11")
    ('15', '10.11')
    """
    return ".".join(version.split(".")[: like.count(".") + 1])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
