"""What disturbs an `up`: a second one beside it, and cut connections. The work is finished all the same."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator

import pytest
import yaml

from bench.site import Site
from tests.vm.test_killed import with_two_machines

pytestmark = pytest.mark.vm

STATE = ".local"
COUNT = ("runuser", "-u", "postgres", "--", "psql", "-XAtc", "SELECT count(*) FROM orders", "shop")
CUTS = 4


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    site.environment["XDG_STATE_HOME"] = str(site.directory / STATE)  # a state and passphrase that are this test's own
    with_two_machines(site)
    yield site
    site.end(site.stage)


@pytest.fixture(scope="module")
def stage(site: Site) -> str:
    """Make the stage by an `up` that another one disturbs; return what that other one said."""
    first = site.start("pulumi", "up", "-s", site.stage, "--yes", "--skip-preview", "--non-interactive")
    locks = site.directory / STATE / "understudy/state/.pulumi/locks"
    deadline = time.monotonic() + 120
    while not list(locks.rglob("*.json")) and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    said = site.pulumi("up", site.stage, code=None)
    printed, _ = first.communicate(timeout=600)
    assert first.returncode == 0, printed
    return said


def labels(site: Site) -> list[str]:
    """Return the snapshots that there are, oldest first."""
    listed = site.run("understudy", "seed", "-s", site.stage, "--list")
    return re.findall(r"^  (\d{8}-\d{6}F\S*) of", listed, re.MULTILINE)


def move_pin(site: Site, label: str) -> None:
    site.run("understudy", "seed", "-s", site.stage, "--snapshot", label)


def restored(site: Site) -> str:
    """Return the snapshot that serves, as the stack says it, after a look that it has rows."""
    assert int(site.ssh(site.stage, "db1", *COUNT).split()[-1]) > 0
    return str(site.outputs(site.stage)["seeds"]["shop"]["snapshot"])


def cut_connections(site: Site) -> int:
    """Reset every SSH connection from this computer into the stack's own network; return how many there were."""
    lock = yaml.safe_load((site.directory / f"Placement.{site.stage}.lock.yaml").read_text(encoding="utf-8"))
    where = ["dst", lock["control_network"], "dport", "=", ":22"]
    argv = ["ss", "-K", "-H", "-t", "-n", "state", "established", *where]
    return len(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines())


def test_the_second_of_two_ups_is_refused_and_the_first_finishes(site: Site, stage: str) -> None:
    assert re.search(rf"stack {site.stage} is being changed by process \d+", stage), stage
    assert "Wait for it to end" in stage
    assert restored(site) == labels(site)[-1]


def test_cut_ssh_connections_are_made_again_or_the_next_up_finishes(site: Site, stage: str) -> None:
    move_pin(site, labels(site)[0])
    up = site.start("pulumi", "up", "-s", site.stage, "--yes", "--skip-preview", "--non-interactive")
    cuts, deadline = 0, time.monotonic() + 120
    while cuts < CUTS and up.poll() is None and time.monotonic() < deadline:
        cuts += cut_connections(site) > 0
        time.sleep(0.7)
    printed, _ = up.communicate(timeout=600)
    print(f"{cuts} cuts, then it ended with {up.returncode}:\n{printed[-1500:]}")
    assert cuts, "no connection was there to be cut"
    if up.returncode:
        assert re.search(r"connection was lost.*Run it again", printed, re.DOTALL), printed
    site.pulumi("up", site.stage)
    assert restored(site) == labels(site)[0]
    site.pulumi("preview", site.stage, "--expect-no-changes")
