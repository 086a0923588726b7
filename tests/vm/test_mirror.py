"""A real prod and its real stage, compared: alike as built, each made difference named, and prod only read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.site import Site
from model.postgresql import REPLICATION_ROLE
from tests.vm.adopting import home, running

pytestmark = pytest.mark.vm

PSQL = ("runuser", "-u", "postgres", "--", "psql", "-X")
MACHINES = ("app1", "db1")
# Each on stage's db1: how it is made, and the area and key under which it must be named.
MADE = (
    (("sysctl", "-w", "vm.swappiness=11"), "kernel settings", "vm.swappiness"),
    (("systemctl", "enable", "--now", "fstrim.timer"), "units", "fstrim.timer"),
    (("dpkg", "--purge", "--force-depends", "rsync"), "packages", "rsync"),
    (("chmod", "0600", "/etc/issue"), "files", "/etc/issue"),
    (("cp", "/etc/hostname", "/etc/cron.d/odd name"), "files", "/etc/cron.d/odd name"),
    (("systemd-run", "--unit=odd", "python3", "-m", "http.server", "8099"), "ports", "tcp *:8099"),
    (
        (*PSQL, "-c", "CREATE EXTENSION pg_trgm", "shop"),
        "databases",
        "postgresql 5432 shop extension pg_trgm",
    ),
    (
        (*PSQL, "-c", "ALTER SYSTEM SET work_mem = '9MB'", "-c", "SELECT pg_reload_conf()"),
        "database settings",
        "postgresql 5432 work_mem",
    ),
)

# What comes of these by itself.
FOLLOWS = (
    ("files", "/etc/default/rsync"),
    ("files", "/etc/init.d/rsync"),
    ("units", "odd.service"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    values = site.configuration(site.prod)
    machines = {name: values["machines"][name] for name in MACHINES}
    services = {"app": ["app1"], "heartbeat": ["db1"], "pgbackrest": ["db1"]}
    stores = {"shop": {**values["stores"]["shop"], "replicas": []}}
    site.configure(site.prod, machines=machines, services=services, stores=stores, pages={})
    try:
        site.pulumi("up", site.prod)
        # The prod of which the sample is a backup has a replica, which logs in as this one.
        site.ssh(site.prod, "db1", *PSQL, "-c", f"CREATE ROLE {REPLICATION_ROLE} LOGIN REPLICATION")
        site.pulumi("up", site.stage)
        yield site
    finally:
        site.configure(site.prod, machines=machines)
        site.end(site.stage, site.prod)


def compared(site: Site) -> dict[str, Any]:
    printed = site.run("understudy", "mirror", "-s", site.stage, "--json")
    found: dict[str, Any] = json.loads(printed[printed.index("{\n") :])
    return found


def named(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(each["machine"], each["area"], each["key"]) for each in found["unexcused"]]


def test_a_stage_is_like_its_prod(site: Site) -> None:
    found = compared(site)
    assert named(found) == [], site.run("understudy", "mirror", "-s", site.stage)
    assert (found["faithful"], found["complete"]) == (1.0, True)
    reasons = {each["reason"] for each in found["excused"] if each["machine"] == "db1"}
    assert "services/heartbeat is not mirrored" in reasons
    assert "each machine has an identity of its own" in reasons
    areas = found["machines"]["db1"]["areas"]
    assert set(areas) == {
        *("system", "packages", "files", "kernel settings", "units", "ports", "databases", "database settings")
    }


def test_ansible_reaches_every_machine(site: Site) -> None:
    script = site.directory / "inventory" / site.stage
    script.symlink_to("stage")
    said = site.run("ansible", "-i", str(script), "all", "-a", "hostname", "-f", "4")
    assert said.count("| CHANGED | rc=0 >>") == len(MACHINES)
    assert {line for line in said.splitlines() if line in MACHINES} == set(MACHINES)
    assert "db1 | SUCCESS" in site.run("ansible", "-i", str(script), "primary", "-m", "ping")


def test_each_made_difference_is_named_and_nothing_else(site: Site) -> None:
    for argv, _, _ in MADE:
        site.ssh(site.stage, "db1", *argv)
    found = compared(site)
    made = {("db1", area, key) for _, area, key in MADE}
    assert set(named(found)) == made | {("db1", area, key) for area, key in FOLLOWS}
    assert found["faithful"] < 1
    assert found["complete"]


def test_a_prod_that_somebody_else_built_is_read_by_its_address(site: Site, tmp_path: Path) -> None:
    ways = running(site, site.prod)
    before = compared(site)
    machines = site.configuration(site.prod)["machines"]
    for way in ways.connections:
        machines[way.name] = {**machines[way.name], "existing": {"host": way.address}}
    site.configure(site.prod, machines=machines)
    kept = dict(site.environment)
    site.environment |= {
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": kept.get("XDG_CACHE_HOME", f"{kept['HOME']}/.cache"),
    }
    try:
        with home(ways, tmp_path / "home"):
            after = compared(site)
    finally:
        site.environment = kept
    assert after["complete"]
    assert named(after) == named(before)
