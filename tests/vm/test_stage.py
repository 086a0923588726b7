"""One stage, from nothing to nothing: what a user does with it, in the order in which it is done."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.site import Site

pytestmark = pytest.mark.vm


def host_has(name: str) -> list[str]:
    """Return everything on this computer that has a stack's name: domains, networks, pools, files."""
    listed = [
        subprocess.run(["virsh", "-q", *argv, "--all", "--name"], check=True, capture_output=True, text=True).stdout
        for argv in (["list"], ["net-list"], ["pool-list"])
    ]
    files = [str(path) for path in Path("/var/lib/understudy/stacks").glob(f"{name}*")]
    saves = [str(path) for path in Path("/var/lib/libvirt/qemu/save").glob(f"{name}*")]
    return [line.strip() for text in listed for line in text.splitlines() if name in line] + files + saves


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.end(site.stage)


@pytest.fixture(scope="module")
def stage(site: Site) -> dict[str, Any]:
    site.pulumi("up", site.stage)
    return site.outputs(site.stage)


def test_every_machine_is_there_with_its_address_and_role(stage: dict[str, Any]) -> None:
    machines = stage["machines"]
    assert {name: machine["address"] for name, machine in machines.items()} == {
        "lb": "10.20.0.10",
        "app1": "10.20.0.21",
        "app2": "10.20.0.22",
        "db1": "10.20.0.31",
        "db2": "10.20.0.32",
    }
    assert all(machine["role"] for machine in machines.values())


def test_the_restore_tells_what_it_restored_and_how_old_it_is(stage: dict[str, Any]) -> None:
    restore = stage["seeds"]["shop"]
    assert re.fullmatch(r"\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?", restore["snapshot"])
    assert restore["data_age_seconds"] > 0
    assert restore["restore_seconds"] > 0
    assert len(stage["checks"]["shop"]) >= 5
    assert all(told.startswith("ok") for told in stage["checks"]["shop"].values())


def test_the_pages_came_also_without_app1(stage: dict[str, Any]) -> None:
    pages = stage["checks"]["pages"]
    assert set(pages) >= {"front", "front-without-app1"}
    assert all(told.startswith("ok") for told in pages.values())


def test_the_report_is_where_the_outputs_say(stage: dict[str, Any]) -> None:
    assert "<svg" in Path(stage["report"]).read_text(encoding="utf-8")


def test_the_data_is_what_the_backup_holds(site: Site, stage: dict[str, Any]) -> None:
    query = ("runuser", "-u", "postgres", "--", "psql", "-XAtc", "SELECT count(*) FROM orders", "shop")
    primary, replica = (site.ssh(site.stage, name, *query).split()[-1] for name in ("db1", "db2"))
    assert int(primary) > 0
    assert primary == replica


def test_a_second_up_would_change_nothing(site: Site, stage: dict[str, Any]) -> None:
    site.pulumi("preview", site.stage, "--expect-no-changes")


def test_what_a_hand_changed_shows_line_by_line_and_is_put_right(site: Site, stage: dict[str, Any]) -> None:
    site.ssh(site.stage, "lb", "sed", "-i", "s/maxconn .*/maxconn 17 # by hand/", "/etc/haproxy/haproxy.cfg")
    drift = site.pulumi("preview", site.stage, "--refresh", "--diff")
    assert re.search(r"^\s*[-+].*by hand", drift, re.MULTILINE), drift
    site.pulumi("up", site.stage, "--refresh")
    assert "by hand" not in site.ssh(site.stage, "lb", "cat", "/etc/haproxy/haproxy.cfg")


def test_a_changed_configuration_file_is_one_update_in_place(site: Site, stage: dict[str, Any]) -> None:
    template = site.directory / "services/haproxy/haproxy.cfg.j2"
    template.write_text(template.read_text(encoding="utf-8") + "\n# a line more\n", encoding="utf-8")
    printed = site.pulumi("preview", site.stage, "--json")
    plan, _ = json.JSONDecoder().raw_decode(printed[printed.index("{\n") :])
    changed = [step for step in plan["steps"] if step["op"] != "same"]
    files = [step for step in changed if step["urn"].split("::")[2].endswith("understudy:index:File")]
    assert [step["op"] for step in files] == ["update"]
    assert {step["op"] for step in changed} <= {"update"}
    site.pulumi("up", site.stage)
    assert "a line more" in site.ssh(site.stage, "lb", "cat", "/etc/haproxy/haproxy.cfg")


def test_a_machine_that_somebody_destroyed_comes_back_with_its_data(site: Site, stage: dict[str, Any]) -> None:
    domain = f"{site.stage}-app2"
    subprocess.run(["virsh", "-q", "destroy", domain], check=True)
    subprocess.run(["virsh", "-q", "undefine", domain], check=True)
    site.pulumi("refresh", site.stage)
    site.pulumi("up", site.stage)
    assert "active" in site.ssh(site.stage, "app2", "systemctl", "is-active", "app.service")
    site.pulumi("preview", site.stage, "--expect-no-changes")


def test_a_larger_memory_keeps_the_data_and_says_what_it_does(site: Site, stage: dict[str, Any]) -> None:
    before = site.outputs(site.stage)["seeds"]["shop"]
    machines = site.configuration(site.prod)["machines"]
    machines["db1"]["memory"] = "1280MiB"
    site.configure(site.prod, machines=machines)
    assert "replace" in site.pulumi("preview", site.stage, "--diff")
    site.pulumi("up", site.stage)
    after = site.outputs(site.stage)["seeds"]["shop"]
    assert (after["snapshot"], after["restore_seconds"]) == (before["snapshot"], before["restore_seconds"])
    (kibibytes,) = re.findall(r"MemTotal:\s+(\d+)", site.ssh(site.stage, "db1", "cat", "/proc/meminfo"))
    assert int(kibibytes) > 1_150_000


def test_a_drill_is_green_and_leaves_a_line(site: Site, stage: dict[str, Any]) -> None:
    site.run("understudy", "drill", "-s", site.stage)
    lines = (site.directory / f"reports/{site.stage}/drills.jsonl").read_text(encoding="utf-8").splitlines()
    drill = json.loads(lines[-1])
    assert drill["recovery_seconds"] > 0
    assert not drill["fault"]


def test_destroy_leaves_nothing(site: Site, stage: dict[str, Any]) -> None:
    site.pulumi("destroy", site.stage)
    assert host_has(site.stage) == []
