"""What a stack's state says: which objects of the host it knows, and which operations were cut off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from model.capacity import HERE
from model.errors import UnderstudyError
from model.host_uri import LOCAL, host_name


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """An operation that a killed Pulumi had begun: ``creating``, ``updating``, ``deleting`` or ``reading``."""

    operation: str
    urn: str

    @property
    def name(self) -> str:
        """Return the resource's own name.

        >>> CutOff(operation="creating", urn="urn:pulumi:stage::understudy::libvirt:index/domain:Domain::db1").name
        'db1'
        """
        return self.urn.rpartition("::")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the state knows of a host. What was being created when Pulumi was killed is not in it.

    Args:
        domains: names of libvirt domains; ``networks`` and ``pools`` likewise.
        volumes: paths of volumes.
        fenced: whether it knows the stack's fence.
        resources: the number of all resources, those elsewhere too.
        cut_off: the operations that have neither succeeded nor failed.
    """

    domains: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    pools: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()
    fenced: bool = False
    resources: int = 0
    cut_off: tuple[CutOff, ...] = ()


def recorded(deployment: object, host: str = HERE) -> Recorded:
    """Return what ``pulumi stack export`` printed, parsed, says of a host.

    Args:
        deployment: the state.
        host: what the lock file calls it.

    Raises:
        UnderstudyError: it is no deployment.
    """
    inner = deployment.get("deployment") if isinstance(deployment, Mapping) else None
    if not isinstance(inner, Mapping):
        raise UnderstudyError(where="pulumi stack export", found="no deployment", wanted="the stack's state")
    resources: list[Mapping[str, Any]] = inner.get("resources") or []
    pending: list[Mapping[str, Any]] = inner.get("pending_operations") or []
    there = [each for each, uri in zip(resources, uris_in(resources), strict=True) if host_name(uri) == host]
    return Recorded(
        domains=_names(there, "domain:Domain"),
        networks=_names(there, "network:Network"),
        pools=_names(there, "pool:Pool"),
        volumes=frozenset(str(each["id"]) for each in there if _is(each, "volume:Volume") and "id" in each),
        fenced=any(each.get("type") == "understudy:index:Fence" for each in there),
        resources=len(resources),
        cut_off=tuple(
            CutOff(operation=str(each.get("type", "")), urn=str(each.get("resource", {}).get("urn", "")))
            for each in pending
        ),
    )


def sizes_here(deployment: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return what the machines on this computer have, in MiB, by their domains' names; of what was being made, too.

    >>> domain = {"type": "libvirt:index/domain:Domain", "inputs": {"name": "stage-db1", "memory": 1024}}
    >>> boot = {"type": "understudy:index:Boot", "inputs": {"domain": "stage-db1", "data_disk_mib": 2048}}
    >>> making = [{"type": "creating", "resource": boot}]
    >>> sizes_here({"deployment": {"resources": [domain], "pending_operations": making}})
    {'stage-db1': {'memory_mib': 1024, 'data_disk_mib': 2048}}
    """
    inner = deployment.get("deployment") or {}
    pending = (each.get("resource") or {} for each in inner.get("pending_operations") or ())
    resources = [*(inner.get("resources") or ()), *pending]
    found: dict[str, dict[str, int]] = {}
    for resource, uri in zip(resources, uris_in(resources), strict=True):
        inputs = resource.get("inputs") or {}
        if host_name(uri) != HERE:
            continue
        if _is(resource, "domain:Domain") and "memory" in inputs:
            found.setdefault(str(inputs["name"]), {})["memory_mib"] = int(inputs["memory"])
        elif resource.get("type") == "understudy:index:Boot" and "data_disk_mib" in inputs:
            found.setdefault(str(inputs["domain"]), {})["data_disk_mib"] = int(inputs["data_disk_mib"])
    return found


def hosts_in(deployment: Mapping[str, Any]) -> dict[str, str]:
    """Return libvirt's addresses of the hosts other than this computer on which a state has something, by their names.

    >>> fence = {"type": "understudy:index:Fence", "inputs": {"host_uri": "qemu+ssh://root@10.0.0.2:22/system?as=rack1"}}
    >>> sorted(hosts_in({"deployment": {"resources": [fence, {"type": "understudy:index:Fence"}]}}))
    ['rack1']
    """
    resources = (deployment.get("deployment") or {}).get("resources") or ()
    return {host_name(uri): uri for uri in uris_in(resources) if uri != LOCAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class RentedThere:
    """What a state knows in one kind of cloud.

    Args:
        regions: where its providers work.
        accounts: which of Google's projects pay for it.
        identifiers: of all things, also of those that a cloud calls otherwise than the state does.
        names: of all things that have one.
        begun: the names in what was being made there when a run was cut off.
    """

    regions: frozenset[str]
    accounts: frozenset[str]
    identifiers: frozenset[str]
    names: frozenset[str]
    begun: frozenset[str]


def rented(deployment: Mapping[str, Any], kind: str) -> RentedThere:
    """Return what a state knows in a kind of cloud.

    >>> rule = {"type": "aws:ec2/securityGroupRule:SecurityGroupRule", "id": "sgrule-1"}
    >>> provider = {"type": "pulumi:providers:aws", "id": "u", "inputs": {"region": "eu-central-1"}}
    >>> known = {**rule, "outputs": {"securityGroupRuleId": "sgr-1"}}
    >>> found = rented({"deployment": {"resources": [known, provider]}}, "aws")
    >>> sorted(found.regions), sorted(found.identifiers)
    (['eu-central-1'], ['sgr-1', 'sgrule-1'])
    >>> making = {"type": "aws:ec2/instance:Instance", "inputs": {"tags": {"Name": "dr-db1"}}}
    >>> cut_off = {"pending_operations": [{"type": "creating", "resource": making}]}
    >>> rented({"deployment": cut_off}, "aws").begun
    frozenset({'dr-db1'})
    """
    inner = deployment.get("deployment") or {}
    resources = inner.get("resources") or ()
    there = [each for each in resources if str(each.get("type")).startswith(f"{kind}:")]
    pending = [each.get("resource") or {} for each in inner.get("pending_operations") or ()]
    making = [each.get("inputs") or {} for each in pending if str(each.get("type")).startswith(f"{kind}:")]
    also = ((each.get("outputs") or {}).get("securityGroupRuleId") for each in there)
    providers = [each.get("inputs") or {} for each in resources if each.get("type") == f"pulumi:providers:{kind}"]
    return RentedThere(
        regions=frozenset(str(each["region"]) for each in providers if each.get("region")),
        accounts=frozenset(str(each["project"]) for each in providers if each.get("project")),
        identifiers=frozenset(str(each) for each in (*(one.get("id") for one in there), *also) if each),
        names=frozenset(
            str(told["name"])
            for each in there
            for told in (each.get("inputs") or {}, each.get("outputs") or {})
            if told.get("name")
        ),
        begun=frozenset(
            str(value).rpartition("/")[2]
            for told in making
            for value in (*told.values(), (told.get("tags") or {}).get("Name"))
            if isinstance(value, str)
        ),
    )


def uris_in(resources: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return libvirt's address of the host that each resource is on; this computer's for what is on none.

    >>> reached = {"connection": {"name": "db1", "domain": "qemu+ssh://root@10.0.0.2:22/system?as=rack1#stage-db1"}}
    >>> uris_in([{"type": "understudy:index:Service", "inputs": reached}, {"type": "understudy:index:Password"}])
    ['qemu+ssh://root@10.0.0.2:22/system?as=rack1', 'qemu:///system']
    """
    resources = list(resources)
    found = (each for each in resources if each.get("type") == "pulumi:providers:libvirt")
    dialled = {_reference(each): str((each.get("inputs") or {}).get("uri") or LOCAL) for each in found}
    return [_uri_of(each, dialled) for each in resources]


def _uri_of(resource: Mapping[str, Any], dialled: Mapping[str, str]) -> str:
    inputs = resource.get("inputs") or {}
    connection = inputs.get("connection")
    domain = str(connection.get("domain") or "") if isinstance(connection, Mapping) else ""
    named = inputs.get("host_uri") or domain.rpartition("#")[0] or dialled.get(_reference(resource))
    return str(named or dialled.get(str(resource.get("provider", "")), LOCAL))


def _reference(provider: Mapping[str, Any]) -> str:
    """Return what resources call their provider: two of one URN differ by it."""
    return f"{provider.get('urn')}::{provider.get('id')}"


def left_alone(deployment: Mapping[str, Any]) -> frozenset[str]:
    """Return the machines that existed before us, as the stack's outputs said at its last update.

    >>> stack = {"type": "pulumi:pulumi:Stack", "outputs": {"machines": {"db1": {"existing": "left alone"}, "lb": {}}}}
    >>> left_alone({"deployment": {"resources": [stack]}})
    frozenset({'db1'})
    """
    resources = (deployment.get("deployment") or {}).get("resources") or ()
    stacks = (each for each in resources if each.get("type") == "pulumi:pulumi:Stack")
    machines = next(((each.get("outputs") or {}).get("machines") or {} for each in stacks), {})
    return frozenset(name for name, told in machines.items() if isinstance(told, Mapping) and told.get("existing"))


def without_cut_off(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deployment in which nothing is cut off.

    >>> without_cut_off({"version": 3, "deployment": {"resources": [], "pending_operations": [{}]}})
    {'version': 3, 'deployment': {'resources': []}}
    """
    inner = {key: value for key, value in deployment["deployment"].items() if key != "pending_operations"}
    return {**deployment, "deployment": inner}


def _is(resource: Mapping[str, Any], kind: str) -> bool:
    return resource.get("type") == f"libvirt:index/{kind}"


def _names(resources: Iterable[Mapping[str, Any]], kind: str) -> frozenset[str]:
    """The name that the object has, or was to have where the state holds no outputs yet."""
    values = [{**each.get("inputs", {}), **each.get("outputs", {})} for each in resources if _is(each, kind)]
    return frozenset(str(each["name"]) for each in values if "name" in each)


def half_made(deployment: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the pools and volumes whose creation failed half way: Pulumi would update them, which none can be.

    >>> pool = {"type": "libvirt:index/pool:Pool", "urn": "a::pool", "initErrors": ["the daemon is gone"]}
    >>> disk = {"type": "libvirt:index/volume:Volume", "urn": "a::disk", "initErrors": ["the daemon is gone"]}
    >>> half_made({"deployment": {"resources": [pool, disk, {**pool, "initErrors": []}]}})
    ('pool', 'disk')
    """
    resources = (deployment.get("deployment") or {}).get("resources") or ()
    return tuple(str(each["urn"]).rpartition("::")[2] for each in resources if _half_made(each))


def without_half_made(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deployment that does not know them; nothing can stand on them yet."""
    inner = deployment["deployment"]
    kept = [each for each in inner.get("resources") or () if not _half_made(each)]
    return {**deployment, "deployment": {**inner, "resources": kept}}


def _half_made(resource: Mapping[str, Any]) -> bool:
    made_at_once = _is(resource, "pool:Pool") or _is(resource, "volume:Volume")
    return bool(made_at_once and resource.get("initErrors"))
