"""What a drill reads out of a stack's state, and out of what Pulumi printed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from model.evidence import Check, Drill, Restore
from model.evidence.values import from_values
from model.placement import PinnedSeed
from model.snapshot import BadBackup, Flaw
from model.topology import Store

STORES = tuple(f"understudy:index:{kind}" for kind in ("PostgresPrimary", "MariadbPrimary", "FilesStore"))
_REPLICA, _PAGE = "understudy:index:PostgresReplica", "understudy:index:HttpCheck"
_RESTORED = (
    *("snapshot", "snapshot_digest", "taken_at", "data_age_seconds", "restore_seconds"),
    *("checks", "system_identifier"),
)


def in_utc(moment: datetime) -> str:
    """Return a moment as records and resources have it.

    >>> in_utc(datetime(2026, 11, 23, 2, tzinfo=UTC))
    '2026-11-23T02:00:00Z'
    """
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _resources(deployment: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = (deployment.get("deployment") or {}).get("resources") or ()
    return found


def _holder(deployment: Mapping[str, Any], store: str) -> Mapping[str, Any]:
    """Return the resource that holds a store's data; nothing where there is none."""
    mine = (each for each in _resources(deployment) if each.get("type") in STORES)
    return next((each for each in mine if (each.get("inputs") or {}).get("store") == store), {})


def holds(deployment: Mapping[str, Any], pin: PinnedSeed) -> bool:
    """Return whether the state says that a store was filled from this pin, at this drill."""
    inputs = _holder(deployment, pin.store).get("inputs") or {}
    drilled_at = in_utc(pin.drilled_at) if pin.drilled_at else ""
    wanted = (pin.snapshot, pin.repository_digest, drilled_at)
    return (inputs.get("snapshot"), inputs.get("snapshot_digest"), inputs.get("drilled_at") or "") == wanted


def held_pin(deployment: Mapping[str, Any], store: str) -> PinnedSeed | None:
    """Return the pin from which a store was last filled, as the state says it; None where it does not."""
    holder = _holder(deployment, store)
    inputs, taken_at = holder.get("inputs") or {}, (holder.get("outputs") or {}).get("taken_at")
    if not (inputs.get("snapshot") and taken_at):
        return None
    drilled_at = inputs.get("drilled_at")
    return PinnedSeed(
        store=store,
        snapshot=inputs["snapshot"],
        taken_at=datetime.fromisoformat(taken_at),
        repository_digest=inputs.get("snapshot_digest") or "",
        drilled_at=datetime.fromisoformat(drilled_at) if drilled_at else None,
    )


def refuse_changed(pin: PinnedSeed, pinned: Iterable[PinnedSeed], drills: Sequence[Drill]) -> None:
    """Refuse a snapshot whose content is no longer what it was: a snapshot is written once.

    What was changed before anybody looked at it, checksums and all, cannot be told from what was written.

    Args:
        pin: what would be restored.
        pinned: what the lock file pins; a person's word that the present content is meant.
        drills: the history, oldest first; looked at where the lock file pins another snapshot.

    Raises:
        BadBackup: it was pinned or drilled before, with other content.
    """
    same = (pin.store, pin.snapshot, in_utc(pin.taken_at))
    known = [each.repository_digest for each in pinned if (each.store, each.snapshot, in_utc(each.taken_at)) == same]
    known += [
        each.snapshot_digest
        for drill in reversed(drills)
        for each in drill.restores
        if (each.store, each.snapshot, each.taken_at) == same and each.snapshot_digest
    ]
    if known and not pin.repository_digest.startswith(known[0]):
        raise BadBackup(
            Flaw.DAMAGED,
            where=f"store {pin.store}: {pin.snapshot}",
            found=f"it is not the one that was pinned or drilled before: its digest is {pin.repository_digest[:16]}…",
            wanted=f"{known[0][:16]}…",
            todo="If it was changed on purpose, pin it again with `understudy seed --newest`.",
        )


def restore_of(deployment: Mapping[str, Any], store: Store) -> Restore | None:
    """Return how a store was last filled, as the state says it; None where it is not in the state."""
    outputs = _holder(deployment, store.name).get("outputs") or {}
    return _restore(store, outputs) if outputs.get("snapshot") else None


def attempted(store: Store, values: Mapping[str, Any]) -> Restore:
    """Return a restore that was refused, as the provider noted it."""
    return _restore(store, values)


def _restore(store: Store, values: Mapping[str, Any]) -> Restore:
    known = {name: values[name] for name in _RESTORED if name in values}
    usual = {"snapshot": "", "taken_at": "", "data_age_seconds": None, "restore_seconds": None}
    about = {"store": store.name, "engine": store.engine, "version": store.version, "machine": store.primary}
    return from_values(Restore, {**usual, **known, **about}, f"store {store.name}")


def environment_checks(deployment: Mapping[str, Any]) -> tuple[Check, ...]:
    """Return the checks of replicas and pages, as the state says them."""
    found: list[Check] = []
    for resource in _resources(deployment):
        outputs, name = resource.get("outputs") or {}, str(resource.get("urn", "")).rpartition("::")[2]
        if resource.get("type") == _PAGE:
            page = {key: outputs.get(key) for key in ("ok", "detail", "seconds")}
            found.append(from_values(Check, {"name": name, **page, "ok": bool(page["ok"])}, name))
        elif resource.get("type") == _REPLICA:
            machine = (outputs.get("connection") or {}).get("name", name)
            checks = (from_values(Check, check, name) for check in outputs.get("checks") or ())
            found += [
                Check(
                    name=f"{machine}: {each.name}", ok=each.ok, detail=each.detail, seconds=each.seconds, ran=each.ran
                )
                for each in checks
            ]
    return tuple(found)


def fault_in(printed: str) -> str:
    """Return why Pulumi failed, out of what it printed: its errors, each in one line.

    >>> fault_in("Diagnostics:\\n  a:b:C (shop):\\n    error: db1: bad\\n      page 1\\n\\nResources:\\n")
    'db1: bad page 1'
    """
    lines = printed.splitlines()
    starts = [index for index, line in enumerate(lines) if line.strip().startswith("error: ")]
    errors: list[str] = []
    for index in starts:
        words = [lines[index].strip().removeprefix("error: ")]
        for line in lines[index + 1 :]:
            if not line.strip() or line.strip().startswith(("error: ", "warning: ")) or line.endswith("):"):
                break
            words.append(line.strip())
        text = " ".join(words)
        if text not in ("update failed", "preview failed") and text not in errors:
            errors.append(text)
    return "; ".join(errors)[:4000] or " ".join(line.strip() for line in lines[-5:])[:4000]
