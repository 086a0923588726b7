"""Prod is gone, with whole machines: an EC2 on loopback whose machines are guests, up to the page from outside.

What is real beside what `tests/clouds/test_dr.py` says: the machines, with kernels, systemd and disks of their own, all
services of the sample company, and the cloud's rules and translation of addresses as packet filters on the way to them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from model.connection import Connection
from provisioners.outcome import WrongHostKey
from provisioners.shell import close_all, connect
from tests.clouds.conftest import aws_plugin, aws_provider, serve_ec2
from tests.clouds.guests import Guests, embodied
from tests.clouds.test_aws import left_over
from tests.clouds.test_dr import NAME, Dr, asked_by_anybody
from tests.doubles.pulumi import ROOT, wait_until
from tests.doubles.s3 import REGION, offsite_service
from tests.doubles.sshd import keypair

pytestmark = pytest.mark.vm
__all__ = ["aws_plugin", "aws_provider"]


@pytest.fixture
def dr(tmp_path: Path, aws_plugin: Path, aws_provider: str) -> Iterator[tuple[Dr, Guests]]:
    for name in ("ec2", "offsite", "project", "disks"):
        (tmp_path / name).mkdir()
    made = Guests(tmp_path / "disks", ours=True, memory_mib=1024)
    with serve_ec2(tmp_path / "ec2", str(made.public)) as endpoint:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        made.ec2 = boto3.client("ec2", endpoint_url=endpoint, region_name=REGION, **keys)
        with embodied(made) as guests, offsite_service(tmp_path / "offsite", NAME, guests.here) as offsite:
            guests.trusted = offsite.certificate
            offsite.store(ROOT / "samples" / "pgbackrest", "prod")
            stack = Dr(tmp_path / "project", aws_plugin, aws_provider, endpoint, offsite, guests.here)
            stack.patience_seconds = 900
            yield stack, guests
    close_all()


def test_from_nothing_but_a_bucket_to_the_page_with_whole_machines(dr: tuple[Dr, Guests]) -> None:
    stack, guests = dr
    assert "frankfurt: taken: the first of 2" in stack.preflight()
    stack.pulumi("up", "--yes", "--skip-preview", "--stack", "dr")
    assert guests.fault is None
    told: dict[str, Any] = json.loads(stack.pulumi("stack", "output", "--json", "--stack", "dr"))
    assert {"front", "front-without-app1"} <= set(told["checks"]["pages"])
    assert [line for each in told["checks"].values() for line in each.values() if not line.startswith("ok")] == []
    what_anybody_reads_in_the_clouds_records_opens_nothing(told, guests)
    assert stack.pulumi("preview", "--stack", "dr", "--expect-no-changes")

    front = told["names"]["lb.shop.example"]
    assert not asked_by_anybody(front)
    stack.pulumi("config", "set", "--stack", "dr", "--path", "understudy:cloud.open.lb[0]", "80")
    stack.pulumi("up", "--yes", "--skip-preview", "--stack", "dr")
    wait_until(lambda: "Brass lantern" in asked_by_anybody(front))
    assert guests.fault is None

    stack.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dr")
    assert left_over(guests.ec2) == []


def what_anybody_reads_in_the_clouds_records_opens_nothing(told: dict[str, Any], guests: Guests) -> None:
    for name, each in told["machines"].items():
        first = guests.user_data[name]["ssh_keys"]["ed25519_public"]
        way = Connection(name=name, address=each["control_address"], host_key=" ".join(first.split()[:2]))
        with pytest.raises(WrongHostKey), connect(way, keypair()[0], lambda _: None, 5):
            pass
