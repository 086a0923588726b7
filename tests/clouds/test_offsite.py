"""Which off-site copy is taken: the first with capacity, credentials and data, of an EC2 and an S3 on loopback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from cli.__main__ import main
from cli.drill import refuse_live
from cli.files import load_environment, read_lock, write_lock
from cli.place import place
from model.errors import UnderstudyError
from model.topology import Backup
from provisioners.stores.repository import open_repository
from tests.doubles.s3 import BUCKET, REGION, OffsiteService, offsite_service

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples" / "pgbackrest"
NAME = "s3.offsite.example"
REGIONS = {"paris": "us-east-1", "ireland": "eu-west-1", "stockholm": "eu-north-1", "frankfurt": REGION}


@pytest.fixture(scope="module")
def offsite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OffsiteService]:
    with offsite_service(tmp_path_factory.mktemp("offsite"), NAME) as service:
        service.store(SAMPLE, "prod")
        yield service


@pytest.fixture
def project(tmp_path: Path, offsite: OffsiteService, ec2: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project on a computer that has nothing else of prod's: no lock file, no state, no backup."""
    offsite.known_here(NAME, monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL", ec2)
    monkeypatch.setenv("AWS_PROFILE", "builder")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    credentials = tmp_path / "credentials"
    credentials.write_text(f"{offsite.credentials.read_text()}[builder]\naws_access_key_id = test\n")
    with credentials.open("a") as file:
        file.write("aws_secret_access_key = test\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    plugin = tmp_path / "bin" / "pulumi-resource-aws"
    plugin.parent.mkdir()
    plugin.write_text("#!/bin/sh\n")
    plugin.chmod(0o755)
    monkeypatch.setenv("PATH", str(plugin.parent), prepend=":")
    directory = tmp_path / "project"
    directory.mkdir()
    for name in ("Pulumi.yaml", "Pulumi.prod.yaml"):
        shutil.copy(ROOT / name, directory)
    for name in ("prices", "services"):
        shutil.copytree(ROOT / name, directory / name)
    clouds = {
        name: {"kind": "aws", "region": region, "budget_per_month": 1 if name == "paris" else 500}
        for name, region in REGIONS.items()
    }
    (directory / "Capacity.yaml").write_text(json.dumps({"hosts": clouds}))
    return directory


def describe(project: Path, offsite: OffsiteService, *copies: dict[str, Any]) -> None:
    usual = {"profile": "reader", "networks": ["127.0.0.1/32"]}
    listed = []
    for copy in copies:
        prefix = copy.pop("prefix", "prod")
        shop = {"bucket": f"s3://{BUCKET}/{prefix}", "region": REGION, "endpoint": offsite.endpoint}
        listed.append({**usual, "stores": {"shop": shop}, **copy})
    config = {
        "understudy:mirror": "prod",
        "understudy:capacity": "hosts",
        "understudy:cloud": {"ssh_from": ["203.0.113.7/32"]},
        "understudy:offsite": listed,
    }
    (project / "Pulumi.dr.yaml").write_text(json.dumps({"config": config}))


def test_the_first_whole_copy_is_taken_and_stays(
    project: Path, offsite: OffsiteService, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(
        project,
        offsite,
        {"host": "paris", "prefix": "elsewhere"},
        {"host": "ireland", "profile": "writer"},
        {"host": "stockholm", "networks": ["203.0.113.0/28"]},
        {"host": "frankfurt"},
        {"host": "tokyo"},
    )
    environment = load_environment(project, "dr")
    found = place(project, environment, None)
    assert found.offsite == "frankfurt"
    assert {machine.host for machine in found.machines} == {"frankfurt"}
    assert [host.region for host in found.hosts] == [REGION]
    (pin,) = found.seeds
    newest = open_repository(Backup(kind="pgbackrest", location=str(SAMPLE), stanza="shop"), ROOT).newest()
    assert (pin.store, pin.snapshot) == ("shop", newest.label)
    said = capsys.readouterr().err
    paris, ireland, stockholm, frankfurt = (line for line in said.splitlines() if "taken: " in line)
    assert "paris: not taken: capacity: " in paris
    assert "; data: " in paris
    assert "ireland: not taken: credentials: " in ireland
    assert "not refused to write" in ireland
    assert "127.0.0.1; wanted an address in 203.0.113.0/28" in stockholm
    assert "frankfurt: taken: the first of 5 with capacity, credentials and data; cost: " in frankfurt
    assert f"shop {newest.label} of {newest.taken_at.astimezone(UTC):%Y-%m-%d}" in frankfurt
    assert "tokyo" not in said

    write_lock(project, "dr", found)
    assert main(["seed", "--list", "-s", "dr", "--cwd", str(project)]) == 0
    assert f"{newest.label} of {newest.taken_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC (incr, pinned)" in (
        capsys.readouterr().out
    )
    assert read_lock(project, "dr") == found
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody is asked again
    assert place(project, environment, found) == found
    (store,) = environment.at_copy(found.offsite).topology.stores
    assert store.backup
    assert store.backup.endpoint == offsite.endpoint


def test_it_is_explained_where_the_machines_of_the_first_copy_would_be(
    project: Path, offsite: OffsiteService, capsys: pytest.CaptureFixture[str]
) -> None:
    describe(project, offsite, {"host": "stockholm"}, {"host": "frankfurt"})
    assert main(["place", "--explain", "-s", "dr", "--cwd", str(project)]) == 0
    told = capsys.readouterr().out
    assert "db1: on stockholm" in told
    assert "frankfurt" not in told


def test_where_users_write_nothing_is_filled_anew(project: Path, offsite: OffsiteService) -> None:
    describe(project, offsite, {"host": "frankfurt"})
    file = project / "Pulumi.dr.yaml"
    opened = '"ssh_from": ["203.0.113.7/32"], "open": {"lb": [80]}'
    file.write_text(file.read_text().replace('"ssh_from": ["203.0.113.7/32"]', opened))
    with pytest.raises(UnderstudyError, match=r"users reach lb.*Nothing was done"):
        refuse_live(load_environment(project, "dr"))
    assert main(["seed", "--newest", "-s", "dr", "--cwd", str(project)]) == 1


def test_without_a_whole_copy_each_says_what_it_lacks(project: Path, offsite: OffsiteService) -> None:
    describe(project, offsite, {"host": "paris"}, {"host": "tokyo", "profile": "nobody"})
    with pytest.raises(UnderstudyError) as caught:
        place(project, load_environment(project, "dr"), None)
    told = str(caught.value)
    assert "paris: not taken: capacity: " in told
    assert "tokyo: not taken: capacity: host tokyo: Capacity.yaml has no host tokyo" in told
    assert "credentials: credentials: The config profile (nobody) could not be found" in told
    assert told.count("nobody) could not be found") == 1, "and not once more as data that is missing"
    assert told.endswith("Mend what one of them lacks.")
    assert not (project / "Placement.dr.lock.yaml").exists()
