"""A store: its engine on the primary, filled from a snapshot or new, and its replicas."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi import Output, ResourceOptions

from components.machine import Machine
from components.resources import Password, PostgresPrimary, PostgresReplica
from components.site import Site
from model.topology import Store


class Seed(pulumi.ComponentResource):
    """One data set, checked.

    Args:
        machines: the environment's machines by name; all of the store's are among them.
        directory: the project's; a backup's path is relative to it.

    Attributes:
        password: the owner's.
        servers: the resource of each of its machines, by the machine's name.
        restore: what the report says of it.
    """

    password: Output[str]
    servers: Mapping[str, pulumi.Resource]
    primary: PostgresPrimary
    restore: Mapping[str, Any]

    def __init__(
        self, store: Store, site: Site, machines: Mapping[str, Machine], directory: Path, opts: ResourceOptions
    ) -> None:
        super().__init__("understudy:components:Seed", store.name, None, opts)
        inside = ResourceOptions(parent=self)
        owner = Password(f"{store.name}-owner", opts=inside)
        replication = Password(f"{store.name}-replication", opts=inside) if store.replicas else None
        self.password = owner.value
        primary = machines[store.primary]
        inputs = primary_inputs(store, site, directory)
        inputs |= {"owner_password": owner.value, "domain": primary.built.domain, "host_uri": primary.built.host_uri}
        self.primary = PostgresPrimary(
            store.name, primary.built.reached, inputs=inputs, opts=self._options(primary, site)
        )
        self.servers = {store.primary: self.primary}
        if replication is not None:
            self.servers |= {
                name: self._build_replica(store, site, machines[name], primary, replication) for name in store.replicas
            }
        self.restore = {
            "snapshot": self.primary.snapshot,
            "taken_at": self.primary.taken_at,
            "data_age_seconds": self.primary.data_age_seconds,
            "restore_seconds": self.primary.restore_seconds,
            "checks": self.primary.checks,
            "system_identifier": self.primary.system_identifier,
        }
        self.register_outputs({})

    def _build_replica(
        self, store: Store, site: Site, machine: Machine, primary: Machine, replication: Password
    ) -> PostgresReplica:
        engine = site.engines[store.name]
        return PostgresReplica(
            f"{store.name}-{machine.built.reached.name}",
            machine.built.reached,
            inputs={
                "store": store.name,
                "version": store.version,
                "primary": {
                    "address": str(site.environment.topology.machine(store.primary).address),
                    "connection": primary.built.reached.connection,
                },
                "primary_system_identifier": self.primary.system_identifier,
                "replication_password": replication.value,
                "settings": dict(engine.settings),
                "hba": list(engine.hba),
            },
            opts=self._options(machine, site),
        )

    def _options(self, machine: Machine, site: Site) -> ResourceOptions:
        return ResourceOptions.merge(
            machine.built.reached.options(self, *machine.ready),
            ResourceOptions(protect=site.environment.settings.protect),
        )


def primary_inputs(store: Store, site: Site, directory: Path) -> dict[str, Any]:
    """Return what the primary is to be, without its secrets and its machine."""
    engine, pinned = site.engines[store.name], site.placement.seed(store.name)
    heartbeat = store.heartbeat
    return {
        "store": store.name,
        "version": store.version,
        "database": store.database,
        "owner_role": store.owner,
        "settings": dict(engine.settings),
        "hba": list(engine.hba),
        "seed": seed_source(store, directory) if pinned else {"kind": "init"},
        "snapshot": pinned.snapshot if pinned else "",
        "expected_tables": list(store.expected_tables) if pinned else [],
        "heartbeat": {"table": heartbeat.table, "column": heartbeat.column} if heartbeat else None,
        "init_sql": "" if pinned else engine.init,
    }


def seed_source(store: Store, directory: Path) -> dict[str, str]:
    """Return where a store's snapshots are, with the path of a local repository made absolute."""
    backup = store.backup
    if backup is None:
        return {"kind": "init"}
    remote = "://" in backup.location
    return {
        "kind": backup.kind,
        "location": backup.location if remote else str(directory / backup.location),
        "stanza": backup.stanza,
        "endpoint": backup.endpoint,
        "region": backup.region,
    }
