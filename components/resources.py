"""Our own provider's kinds, as the program sees them: each only names its inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi import Input, Output, ResourceOptions

Values = Mapping[str, Any]
"""Plain values as JSON has them, with outputs anywhere inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A machine that things can be done on.

    Args:
        connection: as ``model.connection.Connection.values`` has it.
        private_key: with which the controller logs in; a secret.
        generation: new whenever one of its disks is new.
        anchor: the resource with which all that is on the machine goes; None where the machine is not ours.
    """

    name: str
    connection: Input[Values]
    private_key: Input[str]
    generation: Input[str]
    anchor: pulumi.Resource | None

    def inputs(self) -> dict[str, Any]:
        """Return the inputs that every kind on a machine has."""
        return {"connection": self.connection, "private_key": self.private_key, "generation": self.generation}

    def options(self, parent: pulumi.Resource, *after: pulumi.Resource) -> ResourceOptions:
        """Return the options of something on this machine that is made after ``after``."""
        return ResourceOptions(parent=parent, deleted_with=self.anchor, depends_on=list(after))


class _Kind(pulumi.CustomResource):
    """A resource whose kind is the class's name and whose outputs are the class's annotations."""

    def __init__(self, name: str, inputs: Values, opts: ResourceOptions) -> None:
        outputs = dict.fromkeys(type(self).__annotations__)
        super().__init__(f"understudy:index:{type(self).__name__}", name, {**outputs, **inputs}, opts)


class SshKeypair(_Kind):
    """A pair of SSH keys."""

    public_key: Output[str]
    private_key: Output[str]

    def __init__(self, name: str, *, comment: str, opts: ResourceOptions) -> None:
        super().__init__(name, {"comment": comment}, opts)


class Password(_Kind):
    """A random password of letters and digits."""

    value: Output[str]

    def __init__(self, name: str, *, length: int = 32, opts: ResourceOptions) -> None:
        super().__init__(name, {"length": length}, opts)


class WireguardKeypair(_Kind):
    """A pair of WireGuard's keys."""

    public_key: Output[str]
    private_key: Output[str]

    def __init__(self, name: str, *, comment: str, opts: ResourceOptions) -> None:
        super().__init__(name, {"comment": comment}, opts)


class Tunnel(_Kind):
    """The tunnel of a machine to those in other places."""

    def __init__(self, name: str, at: Reached, *, inputs: Values, opts: ResourceOptions) -> None:
        super().__init__(name, {**at.inputs(), **inputs}, opts)


class TunnelCheck(_Kind):
    """Whether the machines on all computers answer each other."""

    def __init__(self, name: str, *, inputs: Values, opts: ResourceOptions) -> None:
        super().__init__(name, inputs, opts)


class Fence(_Kind):
    """The host's packet filter around a stack: nothing gets out, and only the controller in."""

    ruleset: Output[str]

    def __init__(
        self,
        name: str,
        *,
        stack: str,
        owner: str,
        mirror_bridge: str,
        control_bridge: str,
        control_network: str,
        ways: Output[Any] | None,
        where: Values,
        opts: ResourceOptions,
    ) -> None:
        inputs = {"mirror_bridge": mirror_bridge, "control_bridge": control_bridge, "control_network": control_network}
        passing = {"ways": ways} if ways else {}
        super().__init__(name, {"stack": stack, "owner": owner, **inputs, **passing, **where}, opts)


class Template(_Kind):
    """A machine of a given size that was booted once, and whose memory was saved."""

    key: Output[str]
    disk_path: Output[str]
    warm: Output[bool]
    reason: Output[str]

    def __init__(
        self,
        name: str,
        *,
        image: str,
        accelerator: str,
        vcpus: int,
        memory_mib: int,
        system_disk_mib: int,
        data_disk: bool,
        warm: bool,
        cmdline: str,
        where: Values,
        opts: ResourceOptions,
    ) -> None:
        size = {"vcpus": vcpus, "memory_mib": memory_mib, "system_disk_mib": system_disk_mib}
        how = {"image": image, "accelerator": accelerator, "cmdline": cmdline, "warm": warm}
        super().__init__(name, {**how, **size, "data_disk": data_disk, **where}, opts)


class WarmStart(_Kind):
    """The template's memory, placed where the machine's first start finds it."""

    placed: Output[bool]
    reason: Output[str]
    untouched: Output[bool]

    def __init__(
        self,
        name: str,
        *,
        domain: str,
        uuid: str,
        domain_xml: Input[str],
        template_key: Input[str],
        system_disk_path: str,
        volume_id: Input[str],
        where: Values,
        opts: ResourceOptions,
    ) -> None:
        machine = {"domain": domain, "uuid": uuid, "domain_xml": domain_xml}
        disk = {"system_disk_path": system_disk_path, "volume_id": volume_id}
        super().__init__(name, {**machine, "template_key": template_key, **disk, **where}, opts)


class DataDisk(_Kind):
    """The size of a machine's data disk, which is made bigger where it is."""

    def __init__(
        self,
        name: str,
        *,
        domain: Input[str],
        path: str,
        pool: Input[str],
        size_mib: int,
        key: str,
        where: Values,
        opts: ResourceOptions,
    ) -> None:
        disk = {"domain": domain, "path": path, "pool": pool, "size_mib": size_mib}
        super().__init__(name, {**disk, "key": key, **where}, opts)


class Boot(_Kind):
    """A machine that runs, knows who it is, and answers over SSH; its deletion is a clean shutdown."""

    connection: Output[dict[str, Any]]
    private_key: Output[str]
    generation: Output[str]
    started: Output[str]
    reason: Output[str]
    boot_seconds: Output[float]

    def __init__(self, name: str, *, inputs: Values, opts: ResourceOptions) -> None:
        super().__init__(name, inputs, opts)


class FirstContact(_Kind):
    """A machine in a cloud that runs, has its own host key, and answers over SSH."""

    generation: Output[str]
    started: Output[str]
    reason: Output[str]
    boot_seconds: Output[float]

    def __init__(self, name: str, *, inputs: Values, opts: ResourceOptions) -> None:
        super().__init__(name, inputs, opts)


class Gate(_Kind):
    """Lets through the changes that a stage has shown to work, and no others."""

    let_through: Output[dict[str, str]]
    seen: Output[dict[str, Any]]
    note: Output[str]

    def __init__(self, name: str, *, inputs: Values, opts: ResourceOptions) -> None:
        super().__init__(name, inputs, opts)


class Filesystem(_Kind):
    """A file system on a disk of a machine, mounted."""

    def __init__(
        self,
        name: str,
        at: Reached,
        *,
        device: Input[str],
        label: str,
        mount: str,
        disk_mib: int,
        opts: ResourceOptions,
    ) -> None:
        disk = {"device": device, "disk_mib": disk_mib}
        super().__init__(name, {**at.inputs(), **disk, "label": label, "mount": mount}, opts)


class Service(_Kind):
    """A service on a machine: its packages, files, units and checks, changed as one."""

    change: Output[str]
    backup: Output[str]

    def __init__(self, name: str, at: Reached, *, inputs: Values, opts: ResourceOptions) -> None:
        super().__init__(name, {**at.inputs(), **inputs}, opts)


class _Store(_Kind):
    """An engine with one data set: new, or restored from a backup and checked."""

    def __init__(self, name: str, at: Reached, *, inputs: Values, opts: ResourceOptions) -> None:
        super().__init__(name, {**at.inputs(), **inputs, "running": True}, opts)


class PostgresPrimary(_Store):
    """A PostgreSQL server that takes writes."""

    data_id: Output[str]
    snapshot: Output[str]
    taken_at: Output[str]
    data_age_seconds: Output[float | None]
    restore_seconds: Output[float | None]
    checks: Output[list[dict[str, Any]]]
    system_identifier: Output[str]


class PostgresReplica(_Store):
    """A PostgreSQL server that follows a primary."""

    lag_bytes: Output[float]
    checks: Output[list[dict[str, Any]]]


class MariadbPrimary(_Store):
    """A MariaDB server that takes writes."""

    data_id: Output[str]
    snapshot: Output[str]
    taken_at: Output[str]
    data_age_seconds: Output[float | None]
    restore_seconds: Output[float | None]
    checks: Output[list[dict[str, Any]]]


class FilesStore(_Store):
    """A directory of files."""

    data_id: Output[str]
    snapshot: Output[str]
    taken_at: Output[str]
    data_age_seconds: Output[float | None]
    restore_seconds: Output[float | None]
    checks: Output[list[dict[str, Any]]]


class HttpCheck(_Kind):
    """A page that must come, asked for from a machine."""

    ok: Output[bool]
    detail: Output[str]
    seconds: Output[float]
    recheck_on: Output[list[str]]

    def __init__(self, name: str, at: Reached, *, inputs: Values, opts: ResourceOptions) -> None:
        super().__init__(name, {**at.inputs(), **inputs}, opts)


class Report(_Kind):
    """The page that shows the whole environment."""

    path: Output[str]
    digest: Output[str]

    def __init__(self, name: str, *, path: str, document: Values, drills_path: str, opts: ResourceOptions) -> None:
        super().__init__(name, {"path": path, "document": document, "drills_path": drills_path}, opts)
