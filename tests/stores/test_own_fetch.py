"""A machine that fetches its backup itself: a real pgBackRest, a bucket with TLS and rights."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.errors import UnderstudyError
from model.topology import Backup
from provisioners.shell import close_all
from provisioners.stores import postgresql
from provisioners.stores.bucket import Bucket
from provisioners.stores.kind import SeededStore
from provisioners.stores.own_fetch import variables
from provisioners.stores.repository import open_repository
from tests.doubles.s3 import BUCKET, REGION, OffsiteService, offsite_service
from tests.stores.machines import SAMPLE, Said, StoreMachine, postgres_inputs

KIND = SeededStore(postgresql)
NAME = "s3.offsite.example"


class TrustingMachine(StoreMachine):
    """A machine that knows the service's certificate, and none of its names."""

    certificate: Path

    def _seed(self, seed: Path) -> None:
        super()._seed(seed)
        trust(seed, self.certificate)


def trust(seed: Path, certificate: Path) -> None:
    """Let a machine's programs take a certificate for good, as Debian's update-ca-certificates does."""
    words = ("openssl", "x509", "-hash", "-noout", "-in", str(certificate))
    known = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    (seed / "etc/ssl/certs").mkdir(parents=True)
    shutil.copy(certificate, seed / "etc/ssl/certs" / f"{known}.0")


@pytest.fixture(scope="module")
def offsite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OffsiteService]:
    with offsite_service(tmp_path_factory.mktemp("offsite"), NAME) as service, pytest.MonkeyPatch.context() as patch:
        service.known_here(NAME, patch)
        service.store(SAMPLE, "prod")
        yield service


@pytest.fixture
def seed(offsite: OffsiteService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seed = {"kind": "pgbackrest", "location": f"s3://{BUCKET}/prod", "stanza": "shop", "region": REGION}
    return seed | {"endpoint": offsite.endpoint, "profile": "reader", "fetched_by": "machine"}


def test_the_machine_fetches_it_and_keeps_nothing_that_opens_the_bucket(
    offsite: OffsiteService, seed: dict[str, str], tmp_path: Path
) -> None:
    repository = open_repository(Backup(**seed), tmp_path)
    label = repository.newest().label
    TrustingMachine.certificate = offsite.certificate
    with TrustingMachine("db1") as machine:
        pinned = {"snapshot": label, "snapshot_digest": repository.digest(label)}
        inputs = postgres_inputs(machine, seed, tmp_path, **pinned)
        before = machine.inside("cat", "/etc/hosts")
        said = Said()
        outputs = KIND.create(inputs, said)[1]
        assert all(check["ok"] for check in outputs["checks"])
        assert int(machine.sql("SELECT count(*) FROM orders")) > 0
        assert "the machine fetches the backup itself" in said.lines
        assert not any("fetching the backup from" in line or "sending the backup" in line for line in said.lines)
        assert not (tmp_path / "cache").exists(), "what the backup holds did not come through this computer"
        secret = variables(Backup(**seed))["PGBACKREST_REPO1_S3_KEY_SECRET"]
        places = ("/srv", "/etc", "/var/lib/understudy-jobs", "/var/lib/postgresql", "/tmp")
        found = machine.inside("grep", "-rlF", "-e", secret, "-e", NAME, *places, code=None)
        assert [line for line in found.splitlines() if not line.startswith("grep: ")] == []
        assert machine.inside("cat", "/etc/hosts") == before
    close_all()


@pytest.mark.parametrize(
    ("profile", "told"), [("writer", "not refused to write"), ("nobody", "aws configure --profile")]
)
def test_credentials_that_can_write_or_are_none(
    offsite: OffsiteService, profile: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    Bucket(f"s3://{BUCKET}/prod", offsite.endpoint, REGION, tmp_path, "reader").refuse_writing()
    with pytest.raises(UnderstudyError, match=told):
        Bucket(f"s3://{BUCKET}/prod", offsite.endpoint, REGION, tmp_path, profile).refuse_writing()
    client: Any = offsite.client("reader")
    assert not any("understudy" in each["Key"] for each in client.list_objects_v2(Bucket=BUCKET)["Contents"])
