"""What disturbs an `up` disturbs one whose machines are rented: killed, cut off, a second one beside it, a full disk.

Each time the next one goes on, and the last finishes the work, by Terraform's real AWS provider in an EC2 on loopback
whose machines have bodies. What does not depend on where machines are, such as a passphrase that is gone, is shown by
``tests/run``.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.site import Site
from tests.clouds.bodies import Bodies, switched
from tests.clouds.conftest import client_of, environment_of, serve_ec2
from tests.clouds.test_dr import NETWORK
from tests.doubles.pulumi import ROOT
from tests.doubles.s3 import REGION
from tests.vm.test_killed import begin, killed, processes_of, wait_for, with_two_machines

COUNT = ("runuser", "-u", "postgres", "--", "psql", "-XAtc", "SELECT count(*) FROM orders", "shop")
BALLAST = "/srv/ballast"
CUTS = 4


@pytest.fixture
def bodies(tmp_path: Path, aws_plugin: Path, aws_provider: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bodies]:
    """Give a cloud, which is what Pulumi finds from now on, and its machines."""
    for name in ("ec2", "disks"):
        (tmp_path / name).mkdir()
    with serve_ec2(tmp_path / "ec2", f"{NETWORK}.0/24") as endpoint:
        for name, value in environment_of(endpoint, aws_provider).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PATH", str(aws_plugin), prepend=":")
        with switched(Bodies(client_of(endpoint), NETWORK, tmp_path / "disks")) as made:
            yield made


@pytest.fixture
def site(tmp_path: Path, bodies: Bodies) -> Site:
    """Give the site; what it builds goes with the cloud."""
    site = Site(tmp_path / "site")
    site.environment |= {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "TF_AWS"))}
    site.environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    (site.directory / "__main__.py").rename(site.directory / "program.py")
    shutil.copy(ROOT / "tests/clouds/dr/__main__.py", site.directory)
    rented = {"kind": "aws", "region": REGION, "budget_per_month": 100}
    (site.directory / "Capacity.yaml").write_text(yaml.safe_dump({"hosts": {"rented": rented}}))
    with_two_machines(site)
    site.configure(site.stage, capacity="hosts", cloud={"ssh_from": [f"{NETWORK}.1/32"]})
    return site


def test_whatever_happens_the_next_up_goes_on(site: Site, bodies: Bodies) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"random seed {seed}")
    chance = random.Random(seed)
    left = of_aws(killed(site, chance, "Updating", 15)) + of_aws(killed(site, chance, "PostgresPrimary", 1))
    its_disk_is_full(site, bodies)
    assert not [each for each in left if Path(f"/proc/{each}/exe").exists()], "what was begun went on beside the next"
    disturbed(site, bodies)
    site.pulumi("up", site.stage)
    assert bodies.fault is None
    site.pulumi("preview", site.stage, "--expect-no-changes")
    nothing_is_there_twice(site, bodies)
    assert int(site.ssh(site.stage, "db1", *COUNT).split()[-1]) > 0


def of_aws(session: int) -> list[int]:
    """Return the processes of AWS's plugin that a killed `up` has left, which would go on for minutes."""
    return [process for process, line in processes_of(session).items() if "pulumi-resource-aws" in line]


def its_disk_is_full(site: Site, bodies: Bodies) -> None:
    """The restore that was cut off is begun again, and finds no room."""
    machine = bodies.by_name["db1"]
    machine.inside("dd", "if=/dev/zero", f"of={BALLAST}", "bs=1M", code=1)
    full = site.pulumi("up", site.stage, code=1)
    assert re.search(r"error: db1: .*(No space left on device|\b0 MiB are free)", full, re.DOTALL), full
    machine.inside("rm", BALLAST)


def disturbed(site: Site, bodies: Bodies) -> None:
    """Beside it a second one is begun, which is refused; and each SSH session is killed, again and again."""
    up, said, reader = begin(site)
    wait_for(up, said, "Updating", 0)
    assert re.search(rf"stack {site.stage} is being changed by process \d+", site.pulumi("up", site.stage, code=1))
    wait_for(up, said, "PostgresPrimary", 0)
    cuts = 0
    while cuts < CUTS and up.poll() is None:
        cuts += cut(bodies)
        time.sleep(0.7)
    up.wait(300)
    reader.join(30)
    print(f"{cuts} cuts, then it ended with {up.returncode}:\n{''.join(said)[-3000:]}")
    assert cuts, "no session was there to be killed"
    if up.returncode:
        assert re.search(r"connection was lost.*Run it again", "".join(said), re.DOTALL), "".join(said)


def cut(bodies: Bodies) -> bool:
    """Kill all SSH sessions of all machines, and return whether there were any."""
    there = [body for body in bodies.by_name.values() if body.sessions()]
    for body in there:
        body.drop_sessions()
    return bool(there)


def nothing_is_there_twice(site: Site, bodies: Bodies) -> None:
    """Compare what the cloud has with the state, and with what two machines need; and what the store has."""
    printed = site.run("pulumi", "stack", "export", "-s", site.stage)
    resources = json.JSONDecoder().raw_decode(printed[printed.index("{\n") :])[0]["deployment"]["resources"]
    known: dict[str, list[str]] = {}
    for each in resources:
        assert not each.get("delete"), each["urn"]
        known.setdefault(each["type"].rpartition(":")[2], []).append(each.get("id", ""))
    there = there_is(bodies.ec2)
    assert {kind: sorted(known[kind]) for kind in ("Instance", "Vpc", "Subnet")} == there
    assert {kind: len(each) for kind, each in there.items()} == {"Instance": 2, "Vpc": 1, "Subnet": 1}
    assert len(bodies.ec2.describe_volumes()["Volumes"]) == 3, "two of the systems, one of the data"
    places = site.ssh(site.stage, "db1", "ls", "/srv/postgresql").split()
    assert "current" in places
    assert len(places) == 2, "another filling than the one that serves was left"


def there_is(ec2: Any) -> dict[str, list[str]]:
    """Return the names of what the cloud has, beside what every region has by itself."""
    reserved = ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running", "stopped"]}])
    return {
        "Instance": sorted(one["InstanceId"] for group in reserved["Reservations"] for one in group["Instances"]),
        "Vpc": [each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"] if not each["IsDefault"]],
        "Subnet": [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"] if not each["DefaultForAz"]],
    }
