"""A store that is filled from a bucket, and what is wrong with an object there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model.errors import UnderstudyError
from model.topology import Backup
from provisioners.shell import close_all
from provisioners.stores import postgresql
from provisioners.stores.kind import SeededStore
from provisioners.stores.repository import open_repository
from tests.damage.ways import largest_bundle
from tests.stores.machines import SAMPLE, Said, StoreMachine, postgres_inputs

KIND = SeededStore(postgresql)


def test_from_a_bucket_to_a_database(endpoint: str, bucket: Any, tmp_path: Path) -> None:
    seed = {"kind": "pgbackrest", "location": "s3://backups/prod", "stanza": "shop"}
    seed |= {"endpoint": endpoint, "region": "us-east-1"}
    repository = open_repository(Backup(**seed), tmp_path)
    first, *_, last = (snapshot.label for snapshot in repository.snapshots())
    said = Said()
    with StoreMachine("db1") as machine:
        inputs = postgres_inputs(machine, seed, tmp_path, snapshot=first, snapshot_digest=repository.digest(first))
        assert KIND.check(inputs) == ()
        outputs = KIND.create(inputs, said)[1]
        assert all(check["ok"] for check in outputs["checks"])
        assert any(line.startswith("fetching the backup from s3://backups/prod") for line in said.lines)
        rows = int(machine.sql("SELECT count(*) FROM orders"))
        assert rows > 0
        newer = {**inputs, "snapshot": last, "snapshot_digest": repository.digest(last)}
        key = _damaged(bucket, last)
        with pytest.raises(UnderstudyError) as caught:
            KIND.update("db1:shop", inputs, newer, outputs, Said())
        assert f"{Path(key).parts[-3]}/bundle/{Path(key).name}" in str(caught.value), "the object is named"
        assert "The old data still serves." in str(caught.value)
        bucket.delete_object(Bucket="backups", Key=key)
        with pytest.raises(UnderstudyError, match="the backup is incomplete"):
            KIND.update("db1:shop", inputs, newer, outputs, Said())
        assert int(machine.sql("SELECT count(*) FROM orders")) == rows
    close_all()


def _damaged(bucket: Any, label: str) -> str:
    """Flip a byte of the largest object that a snapshot needs, and return its key."""
    path = largest_bundle(SAMPLE, label)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    key = f"prod/{path.relative_to(SAMPLE)}"
    bucket.put_object(Bucket="backups", Key=key, Body=bytes(content))
    return key
