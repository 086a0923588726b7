"""Which kinds of resources there are, by token."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from provisioners.provider.kinds import Kind


@cache
def kinds() -> Mapping[str, Kind]:
    """Return every kind by its token, such as ``understudy:index:Service``."""
    from provisioners.hypervisor.boot import Boot
    from provisioners.hypervisor.data_disk import DataDisk
    from provisioners.hypervisor.fence import Fence
    from provisioners.hypervisor.on_its_host import OnItsHost
    from provisioners.hypervisor.template_kind import Template
    from provisioners.hypervisor.warm_start import WarmStart
    from provisioners.provider.filesystem import Filesystem
    from provisioners.provider.first_contact import FirstContact
    from provisioners.provider.gate import Gate
    from provisioners.provider.http_check import HttpCheck
    from provisioners.provider.retired import RETIRED
    from provisioners.provider.secrets import Password, SshKeypair, WireguardKeypair
    from provisioners.provider.service import Service
    from provisioners.provider.tunnel import TunnelCheck, TunnelKind
    from provisioners.report.kind import Report
    from provisioners.stores import files, mariadb, postgresql
    from provisioners.stores.kind import SeededStore
    from provisioners.stores.postgresql_replica import PostgresReplica

    every: tuple[Kind, ...] = (
        Boot(),
        OnItsHost(DataDisk()),
        OnItsHost(Fence()),
        Filesystem(),
        FirstContact(),
        Gate(),
        HttpCheck(),
        Password(),
        PostgresReplica(),
        *(SeededStore(engine) for engine in (postgresql, mariadb, files)),
        Report(),
        *RETIRED,
        Service(),
        SshKeypair(),
        OnItsHost(Template()),
        TunnelCheck(),
        TunnelKind(),
        OnItsHost(WarmStart()),
        WireguardKeypair(),
    )
    return MappingProxyType({kind.token: kind for kind in every})
