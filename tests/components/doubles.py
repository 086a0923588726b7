"""A Pulumi engine's double that is as strict as the real one: unknown kinds, inputs and missing inputs are errors."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pulumi
import pulumi_libvirt as libvirt
from pulumi._types import input_type_py_to_pulumi_names
from pulumi.runtime import mocks, stack
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.proto.source_pb2 import StackTrace
from pulumi.runtime.settings import set_root_resource

from components.environment import Environment
from components.site import Site
from provisioners.provider.registry import kinds
from provisioners.provider.wire import SIGNATURE, message, plain

ROOT = Path(__file__).resolve().parents[2]
OUTPUTS: Mapping[str, Mapping[str, Any]] = {
    "SshKeypair": {"public_key": "ssh-ed25519 AAAAkey comment", "private_key": "PRIVATE"},
    "Tunnel": {},
    "TunnelCheck": {},
    "WireguardKeypair": {"public_key": "A" * 43 + "=", "private_key": "PRIVATE"},
    "Password": {"value": "hunter2secret"},
    "Fence": {"ruleset": "table"},
    "Template": {"key": "k1", "disk_path": "/templates/k1/disk.qcow2", "warm": True, "reason": ""},
    "DataDisk": {},
    "WarmStart": {"placed": True, "reason": "", "untouched": False},
    "Boot": {"generation": "g1", "started": "warm", "reason": "", "boot_seconds": 7.5},
    "Filesystem": {},
    "FirstContact": {"generation": "g1", "started": "cold", "reason": "a cloud", "boot_seconds": 60.0},
    "Gate": {"let_through": {}, "seen": {}, "note": ""},
    "Service": {"change": "0123456789ab", "backup": "/root/configs/a/20261124T010000Z-0123456789ab", "steps_done": 7},
    "PostgresPrimary": {
        "data_id": "20261124-a1",
        "snapshot": "20261123-010000F",
        "taken_at": "2026-11-23T01:00:00Z",
        "data_age_seconds": 93.0,
        "restore_seconds": 12.5,
        "checks": [{"name": "accepts connections", "ok": True, "detail": "", "seconds": 0.1}],
        "system_identifier": "7300000000000000000",
    },
    "MariadbPrimary": {
        "data_id": "20261124-a2",
        "snapshot": "shop.sql.zst",
        "taken_at": "2026-11-23T01:00:00Z",
        "data_age_seconds": 93.0,
        "restore_seconds": 12.5,
        "checks": [],
    },
    "FilesStore": {
        "data_id": "20261124-a3",
        "snapshot": "20261123",
        "taken_at": "2026-11-23T01:00:00Z",
        "data_age_seconds": 93.0,
        "restore_seconds": 12.5,
        "checks": [],
    },
    "PostgresReplica": {"lag_bytes": 0, "checks": []},
    "HttpCheck": {"ok": True, "detail": "200", "seconds": 0.2},
    "Report": {"digest": "d2"},
}
"""What each kind of ours puts out beside its inputs."""


_NETWORK = "libvirt:index/network:Network"


LIBVIRT: Mapping[str, type] = {
    "libvirt:index/domain:Domain": libvirt.DomainArgs,
    "libvirt:index/network:Network": libvirt.NetworkArgs,
    "libvirt:index/pool:Pool": libvirt.PoolArgs,
    "libvirt:index/volume:Volume": libvirt.VolumeArgs,
    "pulumi:providers:libvirt": libvirt.ProviderArgs,
}
NESTED: Mapping[str, type] = {
    "disks": libvirt.DomainDiskArgs,
    "networkInterfaces": libvirt.DomainNetworkInterfaceArgs,
    "target": libvirt.PoolTargetArgs,
    "xml": libvirt.DomainXmlArgs,
}
"""Inputs that have inputs of their own."""


CLOUDS = ("aws:", "azure:", "gcp:", *(f"pulumi:providers:{name}" for name in ("aws", "azure", "gcp")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """One resource as the program registered it."""

    urn: str
    type: str
    name: str
    parent: str
    inputs: Mapping[str, Any]
    secret: frozenset[str]
    dependencies: frozenset[str]
    protected: bool
    retained: bool
    deleted_with: str
    ignored: frozenset[str]
    aliases: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """All resources of a run, and the stack's outputs."""

    resources: tuple[Registered, ...]
    outputs: Mapping[str, Any]

    def of(self, kind: str) -> dict[str, Registered]:
        """Return the resources whose type ends with ``:kind``, by name; no components."""
        found = (item for item in self.resources if not item.type.startswith("understudy:components:"))
        return {item.name: item for item in found if item.type.split(":")[-1] == kind}

    def one(self, kind: str, name: str) -> Registered:
        """Return one resource."""
        return self.of(kind)[name]

    def libvirt_network(self, name: str) -> Registered:
        """Return one of libvirt's networks."""
        return next(item for item in self.resources if (item.type, item.name) == (_NETWORK, name))

    def before(self, item: Registered) -> set[str]:
        """Return ``Kind name`` of everything that must be there before it, however far away."""
        known, found, waiting = {one.urn: one for one in self.resources}, set[str](), set(item.dependencies)
        while waiting:
            urn = waiting.pop()
            if urn in known and urn not in found:
                found.add(urn)
                waiting |= known[urn].dependencies
        return {f"{known[urn].type.split(':')[-1]} {known[urn].name}" for urn in found}


CALLS: Mapping[str, Mapping[str, Any]] = {
    "aws:index/getAvailabilityZones:getAvailabilityZones": {"names": ["eu-central-1b", "eu-central-1a"]},
    "aws:ec2/getAmi:getAmi": {"id": "ami-debian"},
    "gcp:compute/getZones:getZones": {"names": ["europe-west3-b", "europe-west3-a"]},
    "gcp:compute/getImage:getImage": {"selfLink": "debian-12"},
    "azure:compute/getPlatformImage:getPlatformImage": {"version": "0.20261101.2265"},
    "azure:compute/getImage:getImage": {"id": "/images/shop-7"},
}
"""What clouds answer when they are asked for something that is there."""
MADE: Mapping[str, Mapping[str, Any]] = {
    "aws:ec2/instance:Instance": {"publicIp": "203.0.113.99"},
    "aws:ec2/subnet:Subnet": {"availabilityZone": "eu-central-1a"},
    "aws:ec2/vpc:Vpc": {"mainRouteTableId": "rtb-1"},
    "aws:ec2/vpcEndpoint:VpcEndpoint": {"prefixListId": "pl-1"},
    "gcp:compute/instance:Instance": {
        "instanceId": "4711",
        "networkInterfaces": [{"accessConfigs": [{"natIp": "203.0.113.98"}]}],
    },
    "gcp:compute/disk:Disk": {"diskId": "4712"},
    "azure:compute/linuxVirtualMachine:LinuxVirtualMachine": {"virtualMachineId": "4713"},
}
"""What clouds put out beside their inputs."""
_PUBLIC: Mapping[str, str] = {
    "aws:ec2/eip:Eip": "publicIp",
    "gcp:compute/address:Address": "address",
    "azure:network/publicIp:PublicIp": "ipAddress",
}
"""The kinds that are a public address, and what they call it."""


class _Refusing(pulumi.runtime.Mocks):
    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        if args.token not in CALLS:
            raise AssertionError(f"the program calls {args.token}")
        return dict(CALLS[args.token]), []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        raise AssertionError(f"the program reads {args.typ}")


class Monitor(mocks.MockMonitor):
    """Records what is registered, and checks it as the providers would."""

    def __init__(self) -> None:
        super().__init__(_Refusing())
        self.seen: list[Registered] = []
        self.outputs: dict[str, Any] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == "pulumi:pulumi:Stack":
            return resource_pb2.RegisterResourceResponse(urn=urn)
        inputs = plain(request.object)
        if request.custom:
            check(request.type, inputs)
        elif not request.type.startswith("understudy:components:"):
            raise AssertionError(f"an unknown component: {request.type}")
        found = _registered(urn, request, inputs)
        assert urn not in {item.urn for item in self.seen}, f"{urn} twice"
        self.seen.append(found)
        outputs = (
            self._public(request.type) or MADE.get(request.type) or OUTPUTS.get(request.type.split(":")[-1], {})
            if request.custom
            else {}
        )
        secret = found.secret
        if request.type in kinds():
            secret |= kinds()[request.type].secret_outputs
        state = message({**inputs, **outputs}, secret)
        return resource_pb2.RegisterResourceResponse(urn=urn, id=f"{request.name}-id", object=state)

    def _public(self, kind: str) -> dict[str, Any]:
        """Return a public address that no other thing has."""
        if kind not in _PUBLIC:
            return {}
        return {_PUBLIC[kind]: f"203.0.113.{90 + sum(one.type in _PUBLIC for one in self.seen)}"}

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        if "pulumi:pulumi:Stack" in request.urn.split("::")[2].split("$")[-1]:
            self.outputs = plain(request.outputs)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]  # Pulumi has no types here


def _registered(urn: str, request: Any, inputs: Mapping[str, Any]) -> Registered:
    secret = {key for key, value in request.object.fields.items() if SIGNATURE in str(value)}
    return Registered(
        urn=urn,
        type=request.type,
        name=request.name,
        parent=request.parent,
        inputs=inputs,
        secret=frozenset(secret),
        dependencies=frozenset(request.dependencies),
        protected=request.protect,
        retained=request.retainOnDelete,
        deleted_with=request.deletedWith,
        ignored=frozenset(request.ignoreChanges),
        aliases=frozenset(alias.urn for alias in request.aliases),
    )


def differing(before: Graph, after: Graph) -> set[str]:
    """Return in which inputs the same resources differ, the report aside: ``Kind name: input``."""
    others = {item.urn: item for item in before.resources}
    assert others.keys() == {item.urn for item in after.resources}
    return {
        f"{item.type.split(':')[-1]} {item.name}: {key}"
        for item in after.resources
        for key in {*item.inputs, *others[item.urn].inputs} - item.ignored
        if item.inputs.get(key) != others[item.urn].inputs.get(key) and item.name != "report"
    }


def check(token: str, inputs: Mapping[str, Any]) -> None:
    """Refuse what the real provider would refuse.

    Raises:
        AssertionError: the kind or an input is unknown, an input is missing, or a value is not allowed.
    """
    if token.startswith("understudy:"):
        assert token in kinds(), f"an unknown kind: {token}"
        failures = kinds()[token].check(inputs)
        assert not failures, f"{token}: {failures}"
        return
    if token.startswith(CLOUDS):
        check_by_sdk(token, inputs)
        return
    assert token in LIBVIRT, f"an unknown type: {token}"
    _check_keys(token, LIBVIRT[token], inputs)


def _check_keys(where: str, arguments: type, values: Mapping[str, Any]) -> None:
    known = set(input_type_py_to_pulumi_names(arguments).values()) | {"version"}
    assert set(values) <= known, f"{where}: unknown inputs {set(values) - known}"
    for key, value in values.items():
        if key in NESTED:
            for item in value if isinstance(value, list) else [value]:
                _check_keys(f"{where} {key}", NESTED[key], item)


def check_by_sdk(token: str, inputs: Mapping[str, Any]) -> None:
    """Refuse what is no input of the SDK's own class, or lacks one that it needs, however deep."""
    package, module, name = (
        token.partition(":")[0],
        token.split(":")[1].partition("/")[0],
        token.rsplit(":", maxsplit=1)[-1],
    )
    if package == "pulumi":
        package, module, name = name, "", "Provider"
    found = importlib.import_module(f"pulumi_{package}.{module}".rstrip("."))
    assert hasattr(found, name), f"an unknown type: {token}"
    _check_by_class(token, getattr(found, f"{name}Args"), inputs)


def _check_by_class(where: str, arguments: type, values: Mapping[str, Any]) -> None:
    names = {theirs: mine for mine, theirs in input_type_py_to_pulumi_names(arguments).items()}
    assert set(values) <= {*names, "version", "pluginDownloadURL"}, f"{where}: unknown {set(values) - set(names)}"
    parameters = inspect.signature(arguments).parameters
    needed = {theirs for theirs, mine in names.items() if parameters[mine].default is inspect.Parameter.empty}
    assert needed <= set(values), f"{where}: missing {needed - set(values)}"
    for key, value in values.items():
        inner = _nested(arguments, names.get(key, ""))
        for item in value if isinstance(value, list) else [value]:
            if inner and isinstance(item, Mapping):
                _check_by_class(f"{where} {key}", inner, item)


def _nested(arguments: type, name: str) -> type | None:
    """Return the SDK's class of an input that has inputs of its own."""
    hint = str(inspect.signature(arguments).parameters[name].annotation) if name else ""
    found = re.search(r"'?(\w+Args)\b(?!Dict)", hint)
    module = importlib.import_module(arguments.__module__.rpartition(".")[0])
    return getattr(module, found[1], None) if found else None


def run(site: Site, directory: Path) -> Graph:
    """Run the program on a site and return what it registered."""
    monitor = Monitor()

    def program() -> None:
        for name, value in Environment(site, directory).outputs.items():
            pulumi.export(name, value)

    async def in_stack() -> None:
        mocks.set_mocks(monitor.mocks, project="understudy", stack=site.environment.stack, monitor=monitor)
        set_root_resource(None)  # type: ignore[arg-type]  # the one that `set_mocks` made is not ours
        await stack.run_in_stack(program)

    with patch("pulumi.runtime.resource._get_stack_trace", StackTrace):  # a fifth of the time, and nobody reads it
        asyncio.run(in_stack())
    return Graph(resources=tuple(monitor.seen), outputs=monitor.outputs)
