"""A host that is gone: a stack's state and its lock file without it, and what is lost with it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from model.change.planned import BOOT
from model.host_uri import host_name
from model.placement import PinnedSeed, PlacedHost, Placement
from model.placing import built_machines
from model.state import uris_in
from model.topology import Store, Topology

_OWN_KEYS = ("host_private_key", "tunnel_key")
"""Inputs with which a machine is given a key of its own."""

Resource = Mapping[str, Any]


def without_host(deployment: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return a state that knows nothing of what is on a host; nothing in it refers to what is not there.

    With the host go its machines, all that is on them, and their keys: whatever still has these is refused.

    Args:
        deployment: what ``pulumi stack export`` printed, parsed.
        host: what the lock file calls it.

    Source: pulumi, pkg/resource/deploy/snapshot.go, VerifyIntegrity: what a resource refers to stands before it.
    """
    inner = deployment["deployment"]
    resources: list[Resource] = list(inner.get("resources") or ())
    pending: list[Mapping[str, Any]] = list(inner.get("pending_operations") or ())
    begun: list[Resource] = [each.get("resource") or {} for each in pending]
    uris = uris_in([*resources, *begun])
    left = [each for each, uri in zip(resources, uris, strict=False) if host_name(uri) != host]
    keys = _own_keys(resources) - _own_keys(left)
    left = _anchored(each for each in left if each["urn"] not in keys)
    there = {str(each["urn"]) for each in left}
    still = [
        {**operation, "resource": _valid(resource, there)}
        for operation, resource, uri in zip(pending, begun, uris[len(resources) :], strict=True)
        if host_name(uri) != host and resource.get("urn") not in keys and _stands(resource, there)
    ]
    kept = {**inner, "resources": list(_all_valid(left))}
    return {**deployment, "deployment": {**kept, "pending_operations": still} if pending else kept}


def _own_keys(resources: Iterable[Resource]) -> set[str]:
    """Return the keys whose private halves are on the machines to which these resources belong."""
    by_property = (each.get("propertyDependencies") or {} for each in resources)
    return {str(urn) for known in by_property for name in _OWN_KEYS for urn in known.get(name) or ()}


def _anchored(resources: Iterable[Resource]) -> list[Resource]:
    """Return those whose parent stands before them, and so does what they would be deleted with."""
    left, there = list[Resource](), set[str]()
    for each in resources:
        if _stands(each, there):
            left.append(each)
            there.add(str(each["urn"]))
    return left


def _stands(resource: Resource, there: AbstractSet[str]) -> bool:
    return {str(resource[key]) for key in ("parent", "deletedWith") if resource.get(key)} <= there


def _all_valid(resources: Iterable[Resource]) -> Iterator[Resource]:
    before: set[str] = set()
    for each in resources:
        yield _valid(each, before)
        before.add(str(each["urn"]))


def _valid(resource: Resource, there: AbstractSet[str]) -> Resource:
    """Return a resource that depends on nothing but what is there."""
    valid = dict(resource)
    for key in ("dependencies", "replaceWith"):
        if resource.get(key):
            valid[key] = [urn for urn in resource[key] if urn in there]
    if by_property := resource.get("propertyDependencies"):
        valid["propertyDependencies"] = {
            key: [urn for urn in urns or () if urn in there] for key, urns in by_property.items()
        }
    return valid


def machines_on(deployment: Mapping[str, Any], placement: Placement | None, hosts: Collection[str]) -> tuple[str, ...]:
    """Return the machines that are on some hosts by the lock file, or still by the state."""
    resources = deployment["deployment"].get("resources") or ()
    booted = (
        str(each["urn"]).rpartition("::")[2]
        for each, uri in zip(resources, uris_in(resources), strict=True)
        if each.get("type") == BOOT and not each.get("delete") and host_name(uri) in hosts
    )
    placed = (machine.name for machine in placement.machines if machine.host in hosts) if placement else ()
    return tuple(sorted({*booted, *placed}))


def placement_without(placement: Placement, lost: Sequence[PlacedHost]) -> Placement:
    """Return a lock file in which some hosts are lost: they have no machine any more, and are not chosen again."""
    names = {host.name for host in lost}
    marked = {host.name: host for host in (*placement.lost, *lost)}
    return replace(
        placement,
        machines=tuple(machine for machine in placement.machines if machine.host not in names),
        hosts=tuple(host for host in placement.hosts if host.name not in names),
        lost=tuple(marked[name] for name in sorted(marked)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LostData:
    """What a lost host does to one store.

    Args:
        store: its name.
        words: what is lost, and where its data comes from.
        last: whether what is left of its newest data, on a replica, would be lost with the next update.
    """

    store: str
    words: str
    last: bool = False


def lost_data(
    topology: Topology, lost: Collection[str], seeds: Collection[PinnedSeed], *, mirror: bool
) -> tuple[LostData, ...]:
    """Return what becomes of each store that had a machine among the lost ones.

    Args:
        topology: the stack's.
        lost: the machines that are lost.
        seeds: the snapshots that fill stores.
        mirror: whether the stack mirrors another: what it has is a copy.
    """
    built = {machine.name for machine in built_machines(topology.machines)}
    pins = {seed.store: seed for seed in seeds}
    stores = (store for store in topology.stores if store.primary in built)
    return tuple(
        _lost_data(store, lost, pins.get(store.name), mirror=mirror)
        for store in stores
        if {store.primary, *store.replicas} & set(lost)
    )


def _lost_data(store: Store, lost: Collection[str], pin: PinnedSeed | None, *, mirror: bool) -> LostData:
    replicas = [name for name in store.replicas if name in lost]
    left = [name for name in store.replicas if name not in lost]
    if store.primary not in lost:
        words = f"{', '.join(replicas)} follows {store.primary} anew; no data is lost"
        return LostData(store=store.name, words=words)
    source = f"filled anew from {pin.snapshot} of {pin.taken_at:%Y-%m-%d %H:%M} UTC" if pin else "it begins EMPTY"
    words = f"its data was on {store.primary}; {source}"
    if left:
        words += f"; {', '.join(left)}, which has it still, follows that"
    return LostData(store=store.name, words=words, last=bool(left) and not mirror)
