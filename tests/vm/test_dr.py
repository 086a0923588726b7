"""Prod is gone, with whole machines: an EC2 on loopback whose machines are guests, up to the page from outside.

What is real beside what `tests/clouds/test_dr.py` says: the machines, with kernels, systemd and disks of their own, all
services of the sample company, and the cloud's rules and translation of addresses as packet filters on the way to them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioners.shell import close_all
from tests.clouds.bodies import switched
from tests.clouds.conftest import aws_plugin, aws_provider, client_of, serve_ec2
from tests.clouds.guests import Guests
from tests.clouds.test_dr import NAME, Dr, check_host_keys, opened_for_everybody_then_gone
from tests.doubles.pulumi import ROOT
from tests.doubles.s3 import offsite_service

pytestmark = pytest.mark.vm
__all__ = ["aws_plugin", "aws_provider"]


@pytest.fixture
def dr(tmp_path: Path, aws_plugin: Path, aws_provider: str) -> Iterator[tuple[Dr, Guests]]:
    for name in ("ec2", "offsite", "project", "disks"):
        (tmp_path / name).mkdir()
    made = Guests(tmp_path / "disks", ours=True, memory_mib=1024)
    with serve_ec2(tmp_path / "ec2", str(made.public)) as endpoint:
        made.ec2 = client_of(endpoint)
        with switched(made) as guests, offsite_service(tmp_path / "offsite", NAME, guests.here) as offsite:
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
    check_host_keys(told, guests)
    opened_for_everybody_then_gone(stack, told, guests)
