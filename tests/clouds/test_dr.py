"""Prod is gone: prod's copy is built in an EC2 on loopback whose machines have bodies, and filled from a bucket.

What is real: Pulumi, the project's program, Terraform's AWS provider, SSH and the change of host keys, pgBackRest's
restore from a bucket with TLS and rights, PostgreSQL with its replica, the application, HAProxy, and the rules of the
security groups, as packet filters. What is not: AWS itself, cloud-init, systemd, and whole machines.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.files import read_lock
from model.connection import Connection
from model.topology import Backup
from provisioners.outcome import WrongHostKey
from provisioners.shell import close_all, connect
from provisioners.stores.repository import open_repository
from tests.clouds.bodies import Bodies, Follower, as_values, switched
from tests.clouds.conftest import client_of, environment_of, serve_ec2
from tests.clouds.test_aws import left_over
from tests.doubles.pulumi import ROOT, Project, wait_until
from tests.doubles.s3 import BUCKET, REGION, OffsiteService, offsite_service
from tests.doubles.sshd import WORKER, keypair

HERE = Path(__file__).parent
NETWORK = f"198.19.{230 + (os.getppid() + WORKER) % 26}"
"""As each run, and each of its workers, has one of its own: others may run on this computer, too."""
NAME = "s3.offsite.example"
_LEFT_OUT = ("cron:", "sshd:", "sysctl:")
"""Services of the sample that would change this computer's kernel, or need packages of their own."""
_PROJECT = f"""
name: understudy
runtime: python
plugins:
  providers:
    - name: understudy
      path: {ROOT}/provisioners/provider
"""


class Dr(Project):
    """The stack dr on a computer that has the project's folder, two keys, and nothing else.

    Args:
        plugin: where Pulumi's plugin for AWS is, and ``provider`` the one of Terraform's in it.
        endpoint: AWS's address.
        offsite: the copy of prod's backups.
        here: this computer's address, as machines in the cloud see it; the copy's service listens there.
        left_out: how lines of the sample's description begin that are not taken.
    """

    patience_seconds = 900.0

    def __init__(
        self,
        directory: Path,
        plugin: Path,
        provider: str,
        endpoint: str,
        offsite: OffsiteService,
        here: str,
        left_out: tuple[str, ...] = (),
    ) -> None:
        self._hosts = directory / "hosts"
        self._hosts.write_text(f"127.0.0.1 localhost\n{here} {NAME}\n")
        super().__init__(directory)
        describe(directory, offsite, here, left_out)
        self.environment |= {
            "PATH": f"{plugin}:{self.environment['PATH']}",
            "PYTHONPATH": str(ROOT),
            **environment_of(endpoint, provider),
            "AWS_CA_BUNDLE": str(offsite.certificate),
            "AWS_SHARED_CREDENTIALS_FILE": str(offsite.credentials),
            "XDG_CACHE_HOME": str(directory / "cache"),
        }
        self.pulumi("stack", "init", "dr")

    def pulumi(self, *arguments: str) -> str:
        """Run Pulumi to its end, and return what it printed."""
        return self.command("pulumi", *arguments, "--non-interactive", "--color=never")

    def line(self, *argv: str) -> tuple[str, ...]:
        """Return a command that knows where the bucket is."""
        own = ("unshare", "--mount", "bash", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(self._hosts))
        return *own, *argv

    def preflight(self) -> str:
        """Have the copy chosen that fills it, as `./run` does; return what is said."""
        where = ("--cwd", str(self.directory))
        return self.command(sys.executable, "-m", "cli", "preflight", "--stack", "dr", "preview", *where)

    def command(self, *argv: str) -> str:
        """Run such a command to its end, and return what it printed."""
        done = subprocess.run(
            self.line(*argv),
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=self.patience_seconds,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


def describe(directory: Path, offsite: OffsiteService, here: str, left_out: tuple[str, ...]) -> None:
    """Write the project: the sample's prod with its own services, and a stack dr with two copies of its backups."""
    (directory / "Pulumi.yaml").write_text(_PROJECT)
    shutil.copy(ROOT / "__main__.py", directory / "program.py")
    shutil.copy(HERE / "dr" / "__main__.py", directory / "__main__.py")
    for name in ("services", "prices"):
        shutil.copytree(ROOT / name, directory / name)
    lines = (ROOT / "Pulumi.prod.yaml").read_text().splitlines(keepends=True)
    kept = (line for line in lines if not line.strip().startswith(left_out))
    (directory / "Pulumi.prod.yaml").write_text("".join(kept))
    shop = {"region": REGION, "endpoint": offsite.endpoint}
    networks = [f"{here}/32"]
    copies = [
        {
            "host": host,
            "profile": "reader",
            "networks": list(networks),
            "stores": {"shop": {**shop, "bucket": f"s3://{BUCKET}/{prefix}"}},
        }
        for host, prefix in (("ireland", "gone"), ("frankfurt", "prod"))
    ]
    config = {
        "mirror": "prod",
        "capacity": "hosts",
        "cloud": {"ssh_from": list(networks)},
        "offsite": copies,
    }
    values = {"config": {f"understudy:{key}": value for key, value in config.items()}}
    (directory / "Pulumi.dr.yaml").write_text(json.dumps(values))
    clouds = {
        host: {"kind": "aws", "region": region, "budget_per_month": 200, "stacks": ["dr"]}
        for host, region in (("ireland", "eu-west-1"), ("frankfurt", REGION))
    }
    (directory / "Capacity.yaml").write_text(json.dumps({"hosts": clouds}))


@contextmanager
def disaster(directory: Path, plugin: Path, provider: str) -> Iterator[tuple[Dr, Bodies]]:
    """Give the stack dr, not built yet, in a cloud that gives its machines bodies, beside a bucket with the backup."""
    for name in ("ec2", "offsite", "project", "disks"):
        (directory / name).mkdir()
    with serve_ec2(directory / "ec2", f"{NETWORK}.0/24") as endpoint:
        made = Bodies(client_of(endpoint), NETWORK, directory / "disks", directory / "offsite" / "ca.pem")
        with switched(made) as bodies, offsite_service(directory / "offsite", NAME, f"{NETWORK}.1") as offsite:
            offsite.store(ROOT / "samples" / "pgbackrest", "prod")
            here = f"{NETWORK}.1"
            yield Dr(directory / "project", plugin, provider, endpoint, offsite, here, _LEFT_OUT), bodies
    close_all()


@pytest.fixture
def dr(tmp_path: Path, aws_plugin: Path, aws_provider: str) -> Iterator[tuple[Dr, Bodies]]:
    with disaster(tmp_path, aws_plugin, aws_provider) as made:
        yield made


def test_from_nothing_but_a_bucket_to_the_page_behind_the_load_balancer(dr: tuple[Dr, Bodies]) -> None:
    stack, bodies = dr
    said = stack.preflight()
    assert "ireland: not taken: data: " in said
    assert "frankfurt: taken: the first of 2 with capacity, credentials and data; cost: " in said
    lock = read_lock(stack.directory, "dr")
    assert lock
    assert lock.offsite == "frankfurt"

    stack.pulumi("up", "--yes", "--skip-preview", "--stack", "dr")
    assert bodies.fault is None
    assert sorted(bodies.by_name) == ["app1", "app2", "db1", "db2", "lb"]
    told: dict[str, Any] = json.loads(stack.pulumi("stack", "output", "--json", "--stack", "dr"))
    check_pages(told, bodies)
    check_host_keys(told, bodies)
    check_fence(bodies)
    opened_for_everybody_then_gone(stack, told, bodies)


def opened_for_everybody_then_gone(stack: Dr, told: dict[str, Any], bodies: Follower) -> None:
    """Nothing is left to be done, the page is nobody's until its port is opened, and in the end all is gone."""
    assert stack.pulumi("preview", "--stack", "dr", "--expect-no-changes")
    front = told["names"]["lb.shop.example"]
    assert not asked_by_anybody(front)
    stack.pulumi("config", "set", "--stack", "dr", "--path", "understudy:cloud.open.lb[0]", "80")
    stack.pulumi("up", "--yes", "--skip-preview", "--stack", "dr")
    wait_until(lambda: "Brass lantern" in asked_by_anybody(front))
    assert bodies.fault is None

    stack.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dr")
    assert left_over(bodies.ec2) == []


def page_of(bodies: Bodies) -> str:
    """Return what the load balancer answers within its own network; nothing where it does not yet."""
    words = ("curl", "--silent", "--max-time", "10", "http://lb.shop.example/")
    return bodies.by_name["lb"].inside(*words, code=None) if "lb" in bodies.by_name else ""


def asked_by_anybody(address: str) -> str:
    """Return the page as this computer sees it, which is nobody special to the machines at that port."""
    words = ("curl", "--silent", "--max-time", "2", "--noproxy", "*", f"http://{address}/")
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def check_pages(told: dict[str, Any], bodies: Bodies) -> None:
    """The page with what is in the database alone comes out of the load balancer, of the newest backup's data."""
    assert all(line.startswith("ok") for lines in told["checks"].values() for line in lines.values()), told["checks"]
    newest = open_repository(Backup(kind="pgbackrest", location="samples/pgbackrest", stanza="shop"), ROOT).newest()
    assert told["seeds"]["shop"]["snapshot"] == newest.label
    page = page_of(bodies)
    assert "Brass lantern" in page
    assert "Read only" not in page
    assert told["names"]["lb.shop.example"] == told["machines"]["lb"]["control_address"]


def check_host_keys(told: dict[str, Any], bodies: Follower) -> None:
    """What anybody reads in the cloud's records opens no machine, and is no machine's key any more."""
    assert bodies.user_data.keys() == told["machines"].keys()
    for name, text in bodies.user_data.items():
        first = as_values(text)["ssh_keys"]["ed25519_public"]
        address = told["machines"][name]["control_address"]
        way = Connection(name=name, address=address, host_key=" ".join(first.split()[:2]))
        with pytest.raises(WrongHostKey), connect(way, keypair()[0], lambda _: None, 5):
            pass


def check_fence(bodies: Bodies) -> None:
    """A machine reaches the bucket's service at its port, and nothing else of the same computer."""
    with socket.create_server((f"{NETWORK}.1", 0)) as other:
        port = other.getsockname()[1]
        asked = f"timeout 2 bash -c '</dev/tcp/{NETWORK}.1/{port}'"
        assert bodies.by_name["db1"].inside("bash", "-c", f"{asked}; echo $?", code=None).strip().endswith("124")
