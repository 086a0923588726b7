"""The sample company's stage, until nothing is left: what a user does with it, in the order in which it is done.

Beside its prod, if `test_prod.py` ran; otherwise from the sample that lies in Git.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from selenium.webdriver import Chrome

from bench.site import Site
from tests.damage.ways import flip, largest_bundle
from tests.report.browser import headless, log
from tests.vm.lab import left_overs

pytestmark = pytest.mark.vm


QUERY = ("runuser", "-u", "postgres", "--", "psql", "-XAtc")


@pytest.fixture(scope="module")
def site(company: Site) -> Site:
    return company


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with headless(tmp_path_factory.mktemp("browser")) as chrome:
        yield chrome


@pytest.fixture(scope="module")
def stage(site: Site, first: str) -> dict[str, Any]:
    return site.outputs(site.stage)


def rows(site: Site, machine: str = "db1") -> int:
    """Return how many orders the shop has, as a machine says it."""
    return int(site.ssh(site.stage, machine, *QUERY, "SELECT count(*) FROM orders", "shop").split()[-1])


def drills(site: Site) -> list[dict[str, Any]]:
    text = (site.directory / f"reports/{site.stage}/drills.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def pin(site: Site) -> dict[str, Any]:
    """Return the pin of the shop's store."""
    lock = yaml.safe_load((site.directory / f"Placement.{site.stage}.lock.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = lock["seeds"]["shop"]
    return found


def steps(site: Site) -> dict[str, str]:
    """Return what a preview would do, by the resources' kinds and names; what stays as it is is left out."""
    printed = site.pulumi("preview", site.stage, "--json")
    plan, _ = json.JSONDecoder().raw_decode(printed[printed.index("{\n") :])
    parts = ((step["urn"].split("::"), step["op"]) for step in plan["steps"] if step["op"] != "same")
    return {f"{urn[2].rpartition('$')[2]} {urn[3]}": op for urn, op in parts}


def test_progress_is_shown_in_bytes_and_percent(first: str, stage: dict[str, Any]) -> None:
    assert re.search(r"PostgresPrimary shop creating .*sending the backup: \d+ of \d+ MiB", first)
    shown = re.search(r"PostgresPrimary shop creating .*restoring \d+ %: \d+ of \d+ MiB", first)
    assert shown or stage["seeds"]["shop"]["restore_seconds"] < 2, "a line a second is shown"


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


def test_the_report_is_where_the_outputs_say_and_a_browser_shows_it(
    site: Site, stage: dict[str, Any], browser: Chrome
) -> None:
    browser.get(Path(stage["report"]).as_uri())
    assert browser.title == f"{site.stage}: report"
    assert browser.find_element("css selector", "svg").is_displayed()
    assert browser.find_element("css selector", ".verdict.good").is_displayed()
    assert log(browser, "browser") == []


def test_the_data_is_what_the_backup_holds(site: Site, stage: dict[str, Any]) -> None:
    assert rows(site) == rows(site, "db2") > 0


def test_the_services_are_what_their_folders_say(site: Site, stage: dict[str, Any]) -> None:
    assert "maxauthtries 4" in site.ssh(site.stage, "lb", "sshd", "-T").splitlines()
    for name in ("db1", "db2"):
        assert "10" in site.ssh(site.stage, name, "sysctl", "-n", "vm.swappiness").splitlines()
    lock = (site.directory / "services/cron/packages.lock.yaml").read_text(encoding="utf-8")
    shown = site.ssh(site.stage, "db1", "dpkg-query", "--show", "cron", "cron-daemon-common")
    for name, version in re.findall(r"^(cron\S*)\t(\S+)$", shown, re.MULTILINE):
        assert f"- name: {name}\n  version: {version}\n" in lock
    assert "active" in site.ssh(site.stage, "db1", "systemctl", "is-active", "cron.service")


def test_a_second_up_would_change_nothing(site: Site, stage: dict[str, Any]) -> None:
    site.pulumi("preview", site.stage, "--expect-no-changes")


def test_what_a_hand_changed_shows_line_by_line_and_is_put_right(site: Site, stage: dict[str, Any]) -> None:
    site.ssh(site.stage, "lb", "sed", "-i", "s/maxconn .*/maxconn 17 # by hand/", "/etc/haproxy/haproxy.cfg")
    drift = site.pulumi("preview", site.stage, "--refresh", "--diff")
    assert re.search(r"^\s*[-+].*by hand", drift, re.MULTILINE), drift
    site.pulumi("up", site.stage, "--refresh")
    assert "by hand" not in site.ssh(site.stage, "lb", "cat", "/etc/haproxy/haproxy.cfg")


def test_a_changed_configuration_file_is_one_update_in_place(site: Site, stage: dict[str, Any]) -> None:
    """PostgreSQL's too: one setting that it takes while it runs, and one for which both servers are restarted."""
    settings = site.directory / "services/postgresql/service.yaml"
    more = settings.read_text(encoding="utf-8").replace('max_connections: "50"', 'max_connections: "60"')
    settings.write_text(more.replace("timezone: UTC", "timezone: UTC\n    work_mem: 5MB"), encoding="utf-8")
    template = site.directory / "services/haproxy/haproxy.cfg.j2"
    template.write_text(template.read_text(encoding="utf-8") + "\n# a line more\n", encoding="utf-8")
    planned = steps(site)  # every page is asked for anew, and the report says what came; nothing else
    told = {name for name in planned if name.startswith(("understudy:index:HttpCheck ", "understudy:index:Report "))}
    assert {name: how for name, how in planned.items() if name not in told} == {
        f"understudy:index:Service {name}": "update" for name in ("lb:haproxy", "db1:postgresql", "db2:postgresql")
    }
    assert any("HttpCheck" in name for name in told)
    site.pulumi("up", site.stage)
    assert "a line more" in site.ssh(site.stage, "lb", "cat", "/etc/haproxy/haproxy.cfg")
    for name in ("db1", "db2"):
        now = site.ssh(
            site.stage, name, *QUERY, "SELECT current_setting('work_mem'), current_setting('max_connections')"
        )
        assert "5MB|60" in now.splitlines()
        copies = site.ssh(site.stage, name, "sh", "-c", "cat /root/configs/postgresql/*/manifest")
        assert "/etc/postgresql/15/main/conf.d/10-restart.conf\tfile\t640\tpostgres:postgres" in copies
    assert rows(site, "db2") == rows(site)


def test_a_machine_that_somebody_destroyed_comes_back_with_its_data(site: Site, stage: dict[str, Any]) -> None:
    """The replica: what it holds lies on a data disk. Its machine is gone, its disks are not."""
    site.ssh(site.stage, "db2", "sh", "-c", "date >/srv/kept; sync")
    kept = site.ssh(site.stage, "db2", "cat", "/srv/kept").splitlines()[-1]
    domain = f"{site.stage}-db2"
    subprocess.run(["virsh", "-q", "destroy", domain], check=True)
    subprocess.run(["virsh", "-q", "undefine", domain], check=True)
    seen = site.pulumi("refresh", site.stage)
    assert re.search(r"^ - .*libvirt:index:Domain +db2 +deleted", seen, re.MULTILINE), seen
    assert re.search(r"^ - .*understudy:index:Boot +db2 +deleted", seen, re.MULTILINE), seen
    site.pulumi("up", site.stage)
    assert site.ssh(site.stage, "db2", "cat", "/srv/kept").splitlines()[-1] == kept
    assert rows(site, "db2") == rows(site)
    site.pulumi("preview", site.stage, "--expect-no-changes")


def test_a_larger_memory_keeps_the_data_and_says_what_it_does(site: Site, stage: dict[str, Any]) -> None:
    before = site.outputs(site.stage)["seeds"]["shop"]
    machines = site.configuration(site.prod)["machines"]
    machines["db1"]["memory"] = "1280MiB"
    site.configure(site.prod, machines=machines)
    preview = site.pulumi("preview", site.stage, "--diff")
    assert "replace" in preview
    words = "warning: db1 is shut down in order and starts with 1280 MiB of memory (1024 now); its disks stay"
    assert words in preview
    assert words in site.pulumi("up", site.stage)
    after = site.outputs(site.stage)["seeds"]["shop"]
    assert (after["snapshot"], after["restore_seconds"]) == (before["snapshot"], before["restore_seconds"])
    (kibibytes,) = re.findall(r"MemTotal:\s+(\d+)", site.ssh(site.stage, "db1", "cat", "/proc/meminfo"))
    assert int(kibibytes) > 1_150_000


def test_a_drill_of_a_damaged_backup_is_red_and_the_old_data_serves(
    site: Site, stage: dict[str, Any], browser: Chrome
) -> None:
    before, count = pin(site), rows(site)
    bundle = largest_bundle(site.directory / "samples/pgbackrest", before["snapshot"])
    flip(bundle)
    printed = site.run("understudy", "drill", "-s", site.stage, code=1)
    drill = drills(site)[-1]
    assert (drill["ok"], drill["recovery_seconds"]) == (False, None)
    assert "damaged in the repository: pg_data/" in drill["fault"], drill
    assert f"/bundle/{bundle.name}" in drill["fault"]
    assert drill["fault"] in printed
    assert [(each["snapshot"], each["restore_seconds"]) for each in drill["restores"]] == [(before["snapshot"], None)]
    browser.get(Path(stage["report"]).as_uri())
    assert "The newest drill is red" in browser.find_element("css selector", ".verdict.bad").text
    assert pin(site) == before
    assert rows(site) == count
    flip(bundle)


def test_a_drill_of_the_whole_backup_is_green_and_leaves_a_line(site: Site, stage: dict[str, Any]) -> None:
    site.run("understudy", "drill", "-s", site.stage)
    drill = drills(site)[-1]
    assert drill["ok"]
    assert drill["recovery_seconds"] > 0
    assert drill["restores"][0]["snapshot_digest"] == pin(site)["repository_digest"]
    site.pulumi("preview", site.stage, "--expect-no-changes")


def test_destroy_leaves_nothing(site: Site, stage: dict[str, Any]) -> None:
    site.pulumi("destroy", site.stage)
    assert left_overs(site.stage) == []
