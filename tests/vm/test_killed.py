"""`up` is killed at random moments, again and again. Then one `up` finishes the work, and the next changes nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.site import Site

pytestmark = pytest.mark.vm

KILLS = 6


def processes_of(session: int) -> dict[int, str]:
    """Return the command lines of a session's processes, by their ids."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            stat = (directory / "stat").read_text()
            if int(stat.rpartition(")")[2].split()[3]) == session:
                found[int(directory.name)] = (directory / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def kill(session: int, victim: str) -> bool:
    """Kill the CLI, the provider, or both; return whether one was found."""
    signs = {
        "cli": ("pulumi up",),
        "provider": ("provisioners.provider",),
        "both": ("pulumi up", "provisioners.provider"),
    }
    victims = [
        process
        for process, line in processes_of(session).items()
        if any(sign in line for sign in signs[victim]) and not line.startswith(("bash", "/usr/bin/env bash"))
    ]
    for process in victims:
        os.kill(process, signal.SIGKILL)
    return bool(victims)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    machines = site.configuration(site.prod)["machines"]
    store = site.configuration(site.prod)["stores"]["shop"]
    store["replicas"] = []
    site.configure(
        site.prod,
        machines={name: machines[name] for name in ("app1", "db1")},
        services={"app": ["app1"]},
        stores={"shop": store},
        pages={},
    )
    yield site
    site.end(site.stage)


def test_whatever_is_killed_the_next_up_finishes_the_work(site: Site) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"random seed {seed}")
    chance = random.Random(seed)
    for turn in range(KILLS):
        up = site.start("pulumi", "up", "-s", site.stage, "--yes", "--skip-preview", "--non-interactive")
        deadline = time.monotonic() + chance.uniform(4, 40)
        while time.monotonic() < deadline and up.poll() is None:
            time.sleep(0.1)
        victim = chance.choice(("cli", "provider", "both"))
        found = kill(up.pid, victim)
        said, _ = up.communicate(timeout=300)
        print(f"turn {turn}: {victim} {'killed' if found else 'had ended'}; its last words:\n{said[-600:]}")
        until = time.monotonic() + 5
        while (left := [line for line in processes_of(up.pid).values() if "provisioners.provider" in line]) and (
            time.monotonic() < until
        ):
            time.sleep(0.2)
        assert not left, "a provider outlived its engine"
    site.pulumi("up", site.stage)
    site.pulumi("preview", site.stage, "--expect-no-changes")
    site.pulumi("preview", site.stage, "--refresh", "--expect-no-changes")
    listed = subprocess.run(["virsh", "-q", "list", "--all", "--name"], check=True, capture_output=True, text=True)
    mine = sorted(line for line in listed.stdout.split() if line.startswith(site.name))
    assert mine == [f"{site.stage}-app1", f"{site.stage}-db1"]
    volumes = sorted(
        path.name.split("-")[0] for path in Path(f"/var/lib/understudy/stacks/{site.stage}").glob("*.qcow2")
    )
    assert volumes.count("app1") <= 2
    assert volumes.count("db1") == 2
    query = ("runuser", "-u", "postgres", "--", "psql", "-XAtc", "SELECT count(*) FROM orders", "shop")
    assert int(site.ssh(site.stage, "db1", *query).split()[-1]) > 0
