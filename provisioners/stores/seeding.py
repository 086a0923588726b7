"""What a store is to be filled with, and whether what came of it counts. The same for all engines."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model.errors import UnderstudyError
from model.evidence import Check
from model.snapshot import BadBackup, Flaw, Snapshot, check_version
from model.topology import Backup
from provisioners.provider.inputs import COMMON, FLAG, PATH, TEXT, Rule, optional
from provisioners.shell import Shell
from provisioners.stores.landing import BORN_EMPTY, Lie
from provisioners.stores.pgbackrest_repository import PgBackRest
from provisioners.stores.repository import Repository, open_repository
from provisioners.stores.story import Story, check_values
from provisioners.stores.transfer import Way

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_SPARE_BYTES = 256 << 20
_CLOCK_SLACK_SECONDS = 120.0
"""Two computers' clocks may differ this much before a heartbeat counts as coming from the future."""


class ChecksFailed(UnderstudyError):
    """The data was restored, and is not good."""

    def __init__(self, where: str, checks: list[Check], serves: bool) -> None:
        self.checks = tuple(checks)
        bad = [check for check in checks if not check.green]
        named = "; ".join(f"{check.name}: {check.detail or 'failed'}" for check in bad)
        old = "The old data still serves." if serves else "Nothing serves; the data was removed again."
        super().__init__(where=where, found=f"{len(bad)} of {len(checks)} checks failed: {named}", todo=old)


def _mapping_of_text(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(each, str) for key, each in value.items()
    )


def seed_rule(*kinds: str) -> Rule:
    """Return the rule for the input ``seed``, whose kind is one of these."""
    return Rule(
        good=lambda value: _mapping_of_text(value) and value.get("kind") in kinds,
        allowed=f"a mapping of texts whose `kind` is {' or '.join(kinds)}",
    )


HEARTBEAT = Rule(
    good=lambda value: _mapping_of_text(value) and set(value) in (set(), {"table", "column"}),
    allowed="`table` and `column`, or nothing",
    optional=True,
)
SETTINGS = Rule(good=_mapping_of_text, allowed="a mapping of texts", optional=True)
RULES: Mapping[str, Rule] = {
    **COMMON,
    "store": TEXT,
    "snapshot": TEXT,
    "snapshot_digest": TEXT,
    "project_directory": PATH,
    "drilled_at": optional(TEXT),
    "running": optional(FLAG),
    "domain": optional(TEXT),
    "host_uri": optional(TEXT),
}
"""Inputs of every store that can be filled from a backup."""
OTHER_PASSWORD = "(another one)"
"""What is read back as a password that somebody changed."""
WAYS = frozenset({"project_directory", "domain", "host_uri"})
"""Inputs that only say how a backup gets to the machine; their change alone is no difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """What a store is to be filled with.

    Args:
        kind: ``init`` for nothing, or the backup's kind.
        version: the engine's major version; empty where it has none.
        digest: of the snapshot, as the lock file has it.
        drilled_at: when a drill asked for it; a new moment fills it anew.
    """

    store: str
    kind: str
    version: str
    snapshot: str
    digest: str
    drilled_at: str
    backup: Backup | None
    project_directory: Path
    way: Way

    @property
    def key(self) -> str:
        """Return what identifies the data that is wanted; data with another key is replaced."""
        if self.kind == BORN_EMPTY:
            return BORN_EMPTY
        words = (self.kind, self.version, self.snapshot, self.digest, self.drilled_at)
        return hashlib.sha256("\0".join(words).encode()).hexdigest()[:24]

    @property
    def by_machine(self) -> bool:
        """Return whether the machine itself fetches the backup."""
        return self.backup is not None and self.backup.fetched_by == "machine"

    def is_in(self, lie: Lie) -> bool:
        """Return whether the data that serves is what is wanted."""
        return lie.current is not None and lie.current.has_data and lie.current.seed.get("key") == self.key


def seed_of(inputs: Mapping[str, Any]) -> Seed:
    """Return the seed that a resource's inputs describe."""
    given = inputs["seed"]
    backup = None
    if given["kind"] != BORN_EMPTY:
        words = {
            name: given.get(name, "") for name in ("location", "stanza", "endpoint", "region", "profile", "fetched_by")
        }
        backup = Backup(kind=given["kind"], **words)
    return Seed(
        store=inputs["store"],
        kind=given["kind"],
        version=inputs.get("version") or "",
        snapshot=inputs["snapshot"],
        digest=inputs["snapshot_digest"],
        drilled_at=inputs.get("drilled_at") or "",
        backup=backup,
        project_directory=Path(inputs["project_directory"]),
        way=Way(domain=inputs.get("domain") or "", host_uri=inputs.get("host_uri") or "qemu:///system"),
    )


def open_pinned(seed: Seed, lie: Lie) -> tuple[Repository, Snapshot]:
    """Return the repository and the pinned snapshot, after all that can be checked before the machine is touched.

    Raises:
        BadBackup: it is damaged, empty, of another version or cluster, or not the one that was pinned.
    """
    assert seed.backup is not None
    repository = open_repository(seed.backup, seed.project_directory)
    snapshot = repository.inspect(seed.snapshot)
    if seed.version:
        check_version(snapshot, seed.version, repository.where)
    _check_cluster(repository, snapshot, lie)
    digest = repository.digest(seed.snapshot)
    if not seed.digest or not digest.startswith(seed.digest):
        raise BadBackup(
            Flaw.DAMAGED,
            where=f"{repository.where}: {seed.snapshot}",
            found=f"it is not the one that was pinned: its digest is {digest[:16]}…",
            wanted=f"{seed.digest[:16]}…",
            todo="If it was changed on purpose, pin it again with `understudy seed --newest`.",
        )
    return repository, snapshot


def _check_cluster(repository: Repository, snapshot: Snapshot, lie: Lie) -> None:
    """The data that serves came from a cluster; other data must come from it, or from one that it has become."""
    known = str(lie.current.seed.get("system_identifier", "")) if lie.current else ""
    if not known or not snapshot.system_identifier or not isinstance(repository, PgBackRest):
        return
    if lie.current is not None and lie.current.seed.get("kind") != "pgbackrest":
        return
    if known not in repository.clusters():
        raise BadBackup(
            Flaw.OTHER_CLUSTER,
            where=f"{repository.where}: {snapshot.label}",
            found=f"it is of the cluster with the system identifier {snapshot.system_identifier}",
            wanted=f"{known}, of which the data is that serves now",
            todo="If that is meant, remove the old data on the machine first (`understudy ssh`), or destroy the stack.",
        )


def check_space(shell: Shell, snapshot: Snapshot, sent_bytes: int, lie: Lie, root: str) -> None:
    """Check that the disk has room for the new data beside the old.

    Raises:
        UnderstudyError: it has not.
    """
    needed = snapshot.size_bytes + sent_bytes + _SPARE_BYTES
    if lie.free_bytes < needed:
        raise UnderstudyError(
            where=f"{shell.connection.name}: {root}",
            found=f"{lie.free_bytes >> 20} MiB are free",
            wanted=f"{needed >> 20} MiB: the new data is restored beside the old, which serves until all is checked",
            todo="Give the machine a larger `data_disk`.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """How old restored data is, and the check of that."""

    seconds: float | None
    check: Check | None


def judge_age(story: Story, heartbeat: Mapping[str, str], snapshot: Snapshot | None) -> Age:
    """Return how old the data is: by its newest heartbeat, or where it has none, by the time of its backup.

    Args:
        story: with the newest heartbeat as a fact, in seconds since 1970.
        heartbeat: its table and column; empty where the store has none.
        snapshot: what was restored; None for data that began empty, which has no age.
    """
    now = time.time()
    if snapshot is None:
        return Age(seconds=None, check=None)
    if not heartbeat:
        return Age(seconds=round(now - snapshot.taken_at.timestamp(), 1), check=None)
    name = f"heartbeat in {heartbeat['table']}"
    beat = story.facts.get("heartbeat")
    if beat is None:
        fault = story.facts.get("heartbeat fault") or "it could not be asked for"
        return Age(seconds=None, check=Check(name=name, ok=False, detail=fault, ran="heartbeat fault" in story.facts))
    if not _NUMBER.fullmatch(beat) and beat:
        return Age(seconds=None, check=Check(name=name, ok=False, detail=f"the newest one is no time: {beat[:60]}"))
    if not beat:
        return Age(seconds=None, check=Check(name=name, ok=False, detail="there is no heartbeat: the table is empty"))
    age = now - float(beat)
    if age < -_CLOCK_SLACK_SECONDS:
        detail = f"the newest one is {-age:.0f} s in the future: a clock is wrong"
        return Age(seconds=None, check=Check(name=name, ok=False, detail=detail))
    seconds = round(max(age, 0.0), 1)
    moment = datetime.fromtimestamp(float(beat), UTC)
    return Age(
        seconds=seconds, check=Check(name=name, ok=True, detail=f"the newest one is of {moment:%Y-%m-%d %H:%M:%S} UTC")
    )


def missing_checks(story: Story, wanted: tuple[str, ...]) -> list[Check]:
    """Return a red check for each that did not run."""
    have = {check.name for check in story.checks}
    return [Check(name=name, ok=False, detail="it could not run", ran=False) for name in wanted if name not in have]


def note_attempt(record: Mapping[str, Any]) -> None:
    """Note a filling that was refused where a drill looks for it: in the file that ``UNDERSTUDY_ATTEMPTS`` names."""
    path = os.environ.get("UNDERSTUDY_ATTEMPTS", "")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(record)}\n")


def seed_record(
    seed: Seed, name: str, story: Story, snapshot: Snapshot | None, age: Age, restore_seconds: float | None
) -> dict[str, Any]:
    """Return what is remembered of a filling on the machine, and what the resource's outputs are."""
    return {
        "key": seed.key,
        "kind": seed.kind,
        "store": seed.store,
        "data_id": name,
        "snapshot": snapshot.label if snapshot else "",
        "taken_at": f"{snapshot.taken_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if snapshot else "",
        "data_age_seconds": age.seconds,
        "restore_seconds": restore_seconds,
        "timings": story.timings(),
        "checks": check_values(story.checks),
        "system_identifier": story.facts.get("system_identifier", ""),
    }
