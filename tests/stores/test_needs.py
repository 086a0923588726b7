"""A machine whose image lacks what a store needs: the Debian packages are named, and nothing was begun."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from model.errors import UnderstudyError
from provisioners.shell import close_all
from provisioners.stores import mariadb, postgresql
from provisioners.stores.kind import SeededStore
from provisioners.stores.postgresql_replica import PostgresReplica
from tests.stores.machines import PROJECT, StoreMachine, postgres_inputs
from tests.stores.test_postgresql import SEED, pinned

PROGRAMS = ("/usr/lib/postgresql/15/bin/postgres", "/usr/bin/pgbackrest", "/usr/sbin/mariadbd")


@pytest.fixture(scope="module")
def bare() -> Iterator[StoreMachine]:
    with StoreMachine("bare") as running:
        running.shell("rm", *PROGRAMS)
        yield running
    close_all()


def test_postgresql_and_pgbackrest(bare: StoreMachine) -> None:
    with pytest.raises(UnderstudyError) as refused:
        SeededStore(postgresql).create(postgres_inputs(bare, SEED, PROJECT, **pinned()), print)
    text = str(refused.value)
    assert "bare: store shop: the machine has no /usr/lib/postgresql/15/bin/postgres, pgbackrest" in text
    assert "wanted the Debian packages pgbackrest, postgresql-15 in its image" in text
    assert bare.shell("ls", "/srv/postgresql", check=False) == ""


def test_a_replica(bare: StoreMachine) -> None:
    inputs = {
        **bare.common,
        "store": "shop",
        "version": "15",
        "primary": {"name": "db1", "address": "10.20.0.31"},
        "primary_data_id": "a",
        "primary_system_identifier": "1",
        "replication_password": "x",
    }
    with pytest.raises(UnderstudyError, match="the Debian package postgresql-15 in its image"):
        PostgresReplica().create(inputs, print)


def test_mariadb(bare: StoreMachine) -> None:
    inputs = {
        **bare.common,
        "store": "wiki",
        "version": "10.11",
        "database": "wiki",
        "owner_role": "wiki",
        "owner_password": "x",
        "seed": {"kind": "init"},
        "snapshot": "",
        "snapshot_digest": "",
        "project_directory": str(PROJECT),
    }
    kind = SeededStore(mariadb)
    assert kind.check(inputs) == ()
    with pytest.raises(UnderstudyError, match="mariadbd; wanted the Debian package mariadb-server in its image"):
        kind.create(inputs, print)
