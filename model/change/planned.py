"""What a preview found that would be done, read out of ``pulumi preview --json``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SERVICE, BOOT = "understudy:index:Service", "understudy:index:Boot"
FIRST_CONTACT = "understudy:index:FirstContact"
DATA_DISK, FILESYSTEM = "understudy:index:DataDisk", "understudy:index:Filesystem"
VOLUME = "libvirt:index/volume:Volume"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Stands in a preview for a text that is not known yet. Source: pulumi, sdk/go/common/resource/plugin/rpc.go."""
_DOING = ("create", "update", "replace", "delete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """A resource of which another one takes an output.

    Args:
        kind: its type.
        name: its name in the program.
        inputs: its inputs.
        identifier: its provider's name of it; empty where it is yet to be made.
        provider: the inputs of its provider.
    """

    kind: str
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    identifier: str = ""
    provider: Mapping[str, Any] = field(default_factory=dict)


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
        identifier: its provider's name of it; empty where it is new.
        needs: for each input that another resource's outputs are in, these resources.
        provider: the inputs of its provider, such as where that works.
    """

    operation: str
    kind: str
    name: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    differing: tuple[str, ...] = ()
    identifier: str = ""
    needs: Mapping[str, tuple[Needed, ...]] = field(default_factory=dict)
    provider: Mapping[str, Any] = field(default_factory=dict)


def planned(preview: Mapping[str, Any], deployment: Mapping[str, Any] | None = None) -> tuple[Planned, ...]:
    """Return what a preview would do, in its own order; what stays the same and mere containers are left out.

    Args:
        preview: what ``pulumi preview --json`` printed, parsed.
        deployment: the stack's state: a preview does not tell of every resource that stays.

    Source: pulumi, pkg/backend/display/json.go (previewDigest, previewStep).
    """
    found = []
    there = ((deployment or {}).get("deployment") or {}).get("resources") or ()
    states = {str(each["urn"]): each for each in there}
    states |= {str(step["urn"]): _state(step) for step in preview.get("steps") or ()}
    inputs = {urn: state.get("inputs") or {} for urn, state in states.items()}
    providers = {
        urn: inputs.get(str(state.get("provider") or "").rpartition("::")[0]) or {} for urn, state in states.items()
    }
    anew = {
        str(step["urn"]) for step in preview.get("steps") or () if "create" in step["op"] or step["op"] == "replace"
    }
    ids = {str(each["urn"]): str(each.get("id") or "") for each in there if str(each["urn"]) not in anew}
    for step in preview.get("steps") or ():
        kind, name = _named(str(step["urn"]))
        if step["op"] not in _DOING or not _custom(step):
            continue
        found.append(
            Planned(
                operation=step["op"],
                kind=kind,
                name=name,
                before=(step.get("oldState") or {}).get("inputs") or {},
                after=(step.get("newState") or {}).get("inputs") or {} if step["op"] != "delete" else {},
                differing=tuple(sorted(step.get("detailedDiff") or {})),
                identifier=str((step.get("oldState") or {}).get("id") or ""),
                needs=_needs(_state(step), inputs, ids, providers),
                provider=providers[str(step["urn"])],
            )
        )
    return tuple(found)


def _state(step: Mapping[str, Any]) -> Mapping[str, Any]:
    state: Mapping[str, Any] = step.get("newState") or step.get("oldState") or {}
    return state


def _named(urn: str) -> tuple[str, str]:
    _, _, kinds, name = urn.split("::", 3)
    return kinds.rpartition("$")[2], name


def _needs(
    state: Mapping[str, Any],
    inputs: Mapping[str, Mapping[str, Any]],
    ids: Mapping[str, str],
    providers: Mapping[str, Mapping[str, Any]],
) -> dict[str, tuple[Needed, ...]]:
    def needed(urn: str) -> Needed:
        kind, name = _named(urn)
        return Needed(
            kind=kind,
            name=name,
            inputs=inputs.get(urn) or {},
            identifier=ids.get(urn, ""),
            provider=providers.get(urn) or {},
        )

    every = (state.get("propertyDependencies") or {}).items()
    return {str(key): tuple(map(needed, urns)) for key, urns in every if urns}


def _custom(step: Mapping[str, Any]) -> bool:
    state = _state(step)
    return bool(state.get("custom")) and not str(state.get("type", "")).startswith("pulumi:")


def messages(preview: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the preview said of errors and warnings, each once, but for where its plugins lie on this computer.

    >>> said = {"severity": "warning", "message": "warning: REFUSED in an update"}
    >>> messages({"diagnostics": [said, said]})
    ('REFUSED in an update',)
    """
    said = (each for each in preview.get("diagnostics") or () if each.get("severity") in ("error", "warning"))
    words = (str(each.get("message", "")).strip().removeprefix(f"{each['severity']}: ") for each in said)
    return tuple(dict.fromkeys(each for each in words if each and not each.startswith("using pulumi-")))
