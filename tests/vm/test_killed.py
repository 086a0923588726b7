"""`up` is killed at random moments, again and again. Then one `up` finishes the work, and the next changes nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.site import Site, on_host
from cli._beside import PROVIDER_NAME
from model import names
from model.state import recorded
from provisioners.hypervisor.fence_rules import table_name

pytestmark = pytest.mark.vm

KILLS = 6
PLACES = (("before the build", "", 3), ("in the build", "Updating", 15), ("in the restore", "PostgresPrimary", 5))
"""Where it is killed: after which word, and within how many seconds."""


def processes_of(session: int) -> dict[int, str]:
    """Return the names and command lines of a session's processes, by their ids."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            stat = (directory / "stat").read_text()
            if int(stat.rpartition(")")[2].split()[3]) == session:
                line = (directory / "cmdline").read_text().replace("\0", " ")
                found[int(directory.name)] = f"{line} [{(directory / 'comm').read_text().strip()}]"
        except OSError:
            continue
    return found


def kill(session: int, victim: str) -> bool:
    """Kill the CLI, the provider, or both; return whether one was found."""
    signs = {
        "cli": ("pulumi up",),
        "provider": (f"[{PROVIDER_NAME}]",),
        "both": ("pulumi up", f"[{PROVIDER_NAME}]"),
    }
    victims = [
        process
        for process, line in processes_of(session).items()
        if any(sign in line for sign in signs[victim]) and not line.startswith(("bash", "/usr/bin/env bash"))
    ]
    for process in victims:
        os.kill(process, signal.SIGKILL)
    return bool(victims)


def with_two_machines(site: Site) -> None:
    """Leave the company its database and one application server, and no page."""
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


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    with_two_machines(site)
    yield site
    site.end(site.stage)


def begin(site: Site) -> tuple[subprocess.Popen[str], list[str], threading.Thread]:
    """Start `up`; what it says is collected while it runs."""
    up = site.start("pulumi", "up", "-s", site.stage, "--yes", "--skip-preview", "--non-interactive")
    said: list[str] = []
    assert up.stdout is not None
    reader = threading.Thread(target=said.extend, args=(up.stdout,))
    reader.start()
    return up, said, reader


def wait_for(up: subprocess.Popen[str], said: list[str], sign: str, seconds: float) -> None:
    """Wait until the sign was said and that many seconds more have passed, or `up` has ended."""
    while up.poll() is None and not any(sign in line for line in said):
        time.sleep(0.05)
    deadline = time.monotonic() + seconds
    while up.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


def killed(site: Site, chance: random.Random, sign: str, most_seconds: float) -> int:
    """Kill an `up` within that time after the sign was said, and return its session."""
    up, said, reader = begin(site)
    wait_for(up, said, sign, chance.uniform(0.2, most_seconds))
    victim = chance.choice(("cli", "provider", "both"))
    while not kill(up.pid, victim):  # it is not there yet
        assert up.poll() is None, "".join(said)
        time.sleep(0.05)
    up.wait(timeout=300)
    reader.join(timeout=30)
    print(f"killed {victim} after {sign}; last words: {''.join(said)[-600:]}")
    assert up.returncode
    return up.pid


def gone(session: int) -> bool:
    """Return whether the session's provider and plugins end by themselves."""
    deadline, signs = time.monotonic() + 30, (f"[{PROVIDER_NAME}]", "[pulumi-program]", "pulumi-resource-")
    while any(sign in line for line in processes_of(session).values() for sign in signs):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def nothing_is_left_twice(site: Site) -> None:
    """Compare everything on the host that has the stage's name with the state, and with what two machines need."""
    printed = site.run("pulumi", "stack", "export", "-s", site.stage)
    exported = json.JSONDecoder().raw_decode(printed[printed.index("{\n") :])[0]
    known, kinds = recorded(exported), [each["type"] for each in exported["deployment"]["resources"]]
    assert known.cut_off == ()
    assert not [each["urn"] for each in exported["deployment"]["resources"] if each.get("delete")]
    assert [kinds.count(f"libvirt:index/{kind}") for kind in ("domain:Domain", "volume:Volume")] == [2, 3]
    found, control = on_host(site.stage), names.bridge(site.stage, "control")
    table = table_name(names.bridge(site.stage, "mirror"))
    assert found["machines"] == known.domains == {f"{site.stage}-app1", f"{site.stage}-db1"}
    assert found["networks"] == known.networks == {f"{site.stage}-mirror", f"{site.stage}-control"}
    assert found["pools"] == known.pools == {site.stage}
    assert found["disks"] == known.volumes
    assert sorted(Path(disk).name.split("-")[0] for disk in found["disks"]) == ["app1", "db1", "db1"]
    assert found["fences"] == {f"{table}.nft", f"{site.stage}.json"}
    assert found["tables"] == {f"bridge {table}", f"inet {table}"}
    taps = {names.tap(site.stage, name, card) for name in ("app1", "db1") for card in ("control", "mirror")}
    assert found["links"] == {control, names.bridge(site.stage, "mirror")} | taps
    assert found["saved memories"] == set()
    places = site.ssh(site.stage, "db1", "ls", "/srv/postgresql").split()
    assert "current" in places
    assert len(places) == 2, "another filling than the one that serves was left"


def test_whatever_is_killed_the_next_up_finishes_the_work(site: Site) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"random seed {seed}")
    chance = random.Random(seed)
    killed: list[str] = []
    for _ in range(3 * KILLS):
        where, sign, most_seconds = PLACES[len(killed) % len(PLACES)]
        up, said, reader = begin(site)
        if sign:
            wait_for(up, said, sign, chance.uniform(0.2, most_seconds))
        else:
            time.sleep(chance.uniform(0.2, most_seconds))
        victim = chance.choice(("cli", "provider", "both")) if sign else "cli"
        hit = up.poll() is None and kill(up.pid, victim)
        if hit:
            killed.append(f"{victim} {where}")
        up.wait(timeout=300)
        reader.join(timeout=30)
        print(f"{killed[-1:]}; last words: {''.join(said)[-300:]}")
        assert gone(up.pid), f"they outlived their engine: {processes_of(up.pid)}"
        if len(killed) == KILLS:
            break
        assert hit or up.returncode == 0, f"after {killed}: {''.join(said)[-3000:]}"
        if up.returncode == 0:
            site.pulumi("destroy", site.stage)
    assert len(killed) == KILLS, killed
    site.pulumi("up", site.stage)
    site.pulumi("preview", site.stage, "--expect-no-changes")
    site.pulumi("preview", site.stage, "--refresh", "--expect-no-changes")
    nothing_is_left_twice(site)
    query = ("runuser", "-u", "postgres", "--", "psql", "-XAtc", "SELECT count(*) FROM orders", "shop")
    assert int(site.ssh(site.stage, "db1", *query).split()[-1]) > 0
