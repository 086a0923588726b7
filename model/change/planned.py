"""What a preview found that would be done, read out of ``pulumi preview --json``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SERVICE, BOOT = "understudy:index:Service", "understudy:index:Boot"
FIRST_CONTACT = "understudy:index:FirstContact"
VOLUME = "libvirt:index/volume:Volume"
_DOING = ("create", "update", "replace", "delete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One resource that an update would touch.

    Args:
        operation: ``create``, ``update``, ``replace`` or ``delete``.
        kind: its type, such as ``understudy:index:Service``.
        name: its name in the program.
        before: its inputs in the state; empty where it is new.
        after: its inputs in the program; empty where it goes.
        differing: the paths of the inputs that differ.
    """

    operation: str
    kind: str
    name: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    differing: tuple[str, ...] = ()


def planned(preview: Mapping[str, Any]) -> tuple[Planned, ...]:
    """Return what a preview would do, in its own order; what stays the same and mere containers are left out.

    Args:
        preview: what ``pulumi preview --json`` printed, parsed.

    Source: pulumi, pkg/backend/display/json.go (previewDigest, previewStep).
    """
    found = []
    for step in preview.get("steps") or ():
        _, _, kinds, name = str(step["urn"]).split("::", 3)
        if step["op"] not in _DOING or not _custom(step):
            continue
        found.append(
            Planned(
                operation=step["op"],
                kind=kinds.rpartition("$")[2],
                name=name,
                before=(step.get("oldState") or {}).get("inputs") or {},
                after=(step.get("newState") or {}).get("inputs") or {} if step["op"] != "delete" else {},
                differing=tuple(sorted(step.get("detailedDiff") or {})),
            )
        )
    return tuple(found)


def _custom(step: Mapping[str, Any]) -> bool:
    state = step.get("newState") or step.get("oldState") or {}
    return bool(state.get("custom")) and not str(state.get("type", "")).startswith("pulumi:")


def messages(preview: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the preview said of errors and warnings, each once.

    >>> said = {"severity": "warning", "message": "warning: REFUSED in an update"}
    >>> messages({"diagnostics": [said, said]})
    ('REFUSED in an update',)
    """
    said = (each for each in preview.get("diagnostics") or () if each.get("severity") in ("error", "warning"))
    words = (str(each.get("message", "")).strip().removeprefix(f"{each['severity']}: ") for each in said)
    return tuple(dict.fromkeys(filter(None, words)))
