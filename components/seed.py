"""A store: its engine on the primary, filled from a snapshot or new, and its replicas."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi import Output, ResourceOptions

from components.machine import Machine
from components.resources import FilesStore, MariadbPrimary, Password, PostgresPrimary, PostgresReplica, Reached, Values
from components.site import Site
from model.placement import PinnedSeed
from model.topology import Store

Primary = PostgresPrimary | MariadbPrimary | FilesStore


class Seed(pulumi.ComponentResource):
    """One data set, checked.

    Args:
        machines: the environment's machines by name; all of the store's are among them.
        directory: the project's.

    Attributes:
        password: with which its owner logs in; empty for files.
        primary: what takes writes.
        servers: the resource of each of its machines, by the machine's name.
        restored: whether it was filled from a snapshot; otherwise it began empty.
        told: what is told of its filling.
    """

    password: Output[str]
    primary: Primary
    servers: Mapping[str, pulumi.Resource]
    restored: bool
    told: Mapping[str, Any]

    def __init__(
        self, store: Store, site: Site, machines: Mapping[str, Machine], directory: Path, opts: ResourceOptions
    ) -> None:
        super().__init__("understudy:components:Seed", store.name, None, opts)
        self._store, self._site, self._machines = store, site, machines
        filling = {**seed_inputs(store, site.placement.seed(store.name), directory), **self._place()}
        self.password = Output.from_input("")
        if store.engine != "files":
            self.password = Password(f"{store.name}-owner", opts=ResourceOptions(parent=self)).value
        if store.engine == "postgresql":
            self.primary, self.servers = self._build_postgresql(filling)
        elif store.engine == "mariadb":
            inputs = {**self._server(filling), "configuration": "its own"}
            self.primary = MariadbPrimary(store.name, self._at, inputs=inputs, opts=self._options())
        else:
            inputs = {**filling, "directory": store.database, "owner": store.owner}
            self.primary = FilesStore(store.name, self._at, inputs=inputs, opts=self._options())
        if store.engine != "postgresql":
            self.servers = {store.primary: self.primary}
        self.restored = site.placement.seed(store.name) is not None
        self.told = {"checks": self.primary.checks}
        if self.restored:  # what began empty has no snapshot, no age, and took no time
            self.told |= {
                "snapshot": self.primary.snapshot,
                "taken_at": self.primary.taken_at,
                "data_age_seconds": self.primary.data_age_seconds,
                "restore_seconds": self.primary.restore_seconds,
            }
        self.register_outputs({})

    @property
    def _at(self) -> Reached:
        return self._machines[self._store.primary].built.reached

    def _options(self, machine: str = "") -> ResourceOptions:
        on = self._machines[machine or self._store.primary]
        protect = ResourceOptions(protect=self._site.environment.settings.protect)
        return ResourceOptions.merge(on.built.reached.options(self, *on.ready), protect)

    def _place(self) -> dict[str, str]:
        """Return how a backup gets to the machine: as a disk of its own, where its host can attach one."""
        built = self._machines[self._store.primary].built
        return {"domain": built.domain, "host_uri": built.host_uri}

    def _server(self, filling: Values) -> dict[str, Any]:
        """Return the inputs of a database server."""
        store, engine = self._store, self._site.engines[self._store.name]
        beat = store.heartbeat
        return {
            **filling,
            "version": store.version,
            "database": store.database,
            "owner_role": store.owner,
            "owner_password": self.password,
            "settings": dict(engine.settings),
            "expected_tables": list(store.expected_tables),
            "heartbeat": {"table": beat.table, "column": beat.column} if beat else {},
            "init_sql": engine.init,
        }

    def _build_postgresql(self, filling: Values) -> tuple[PostgresPrimary, dict[str, pulumi.Resource]]:
        store, topology, password = self._store, self._site.environment.topology, Output.from_input("")
        if store.replicas:
            password = Password(f"{store.name}-replication", opts=ResourceOptions(parent=self)).value
        server = self._server(filling)
        own = {
            "port": server["settings"].get("port", "5432"),
            "configuration": "its own",
            "hba": list(self._site.engines[store.name].hba),
        }
        inputs = {
            **server,
            **own,
            "replication_password": password,
            "replica_addresses": [str(topology.machine(name).address) for name in store.replicas],
        }
        primary = PostgresPrimary(store.name, self._at, inputs=inputs, opts=self._options())
        following = {
            "store": store.name,
            "version": store.version,
            "primary": {
                "name": store.primary,
                "address": str(topology.machine(store.primary).address),
                "port": own["port"],
            },
            "primary_data_id": primary.data_id,
            "primary_system_identifier": primary.system_identifier,
            "replication_password": password,
            "settings": server["settings"],
            **own,
        }
        replicas = {
            name: PostgresReplica(
                f"{store.name}-{name}",
                self._machines[name].built.reached,
                inputs=following,
                opts=self._options(name),
            )
            for name in store.replicas
        }
        return primary, {store.primary: primary, **replicas}


def seed_inputs(store: Store, pinned: PinnedSeed | None, directory: Path) -> dict[str, Any]:
    """Return what a store is to be filled with: the pinned snapshot, or nothing.

    Args:
        store: the store.
        pinned: the snapshot; None for a store that begins empty.
        directory: the project's; the path of a local backup is relative to it.
    """
    backup, seed = store.backup, {"kind": "init"}
    if pinned and backup:
        seed = {"kind": backup.kind, "location": backup.location, "endpoint": backup.endpoint, "region": backup.region}
        seed |= {"stanza": backup.stanza} if backup.kind == "pgbackrest" else {}
        seed |= {"profile": backup.profile} if backup.profile else {}
        seed |= {"fetched_by": backup.fetched_by} if backup.fetched_by else {}
    drilled_at = getattr(pinned, "drilled_at", None)
    return {
        "store": store.name,
        "seed": seed,
        "snapshot": pinned.snapshot if pinned else "",
        "snapshot_digest": pinned.repository_digest if pinned else "",
        "drilled_at": f"{drilled_at:%Y-%m-%dT%H:%M:%SZ}" if drilled_at else "",
        "project_directory": str(directory),
    }
