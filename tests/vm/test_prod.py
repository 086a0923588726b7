"""The sample prod: built by the same program, backed up for real, and read back by `understudy adopt`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.site import Site
from tests.adopt.comparing import comparable
from tests.vm.adopting import adopted, described, running

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    site.pulumi("up", site.prod)
    yield site
    site.end(site.prod)


def test_prod_takes_real_backups(site: Site) -> None:
    site.ssh(site.prod, "db1", "systemctl", "start", "pgbackrest-backup.service")
    text = site.ssh(site.prod, "db1", "runuser", "-u", "postgres", "--", "pgbackrest", "info", "--output=json")
    (stanza,) = json.loads(text[text.index("[") :])
    assert stanza["status"]["message"] == "ok"
    assert stanza["backup"]


def test_a_second_up_would_change_nothing(site: Site) -> None:
    site.pulumi("preview", site.prod, "--expect-no-changes")


def test_the_heartbeat_beats(site: Site) -> None:
    query = "SELECT extract(epoch FROM now() - max(beat_at))::int FROM heartbeat"
    age = site.ssh(site.prod, "db1", "runuser", "-u", "postgres", "--", "psql", "-XAtc", query, "shop")
    assert int(age.split()[-1]) < 60


def test_adopting_its_machines_gives_the_topology_that_they_were_built_from(site: Site, tmp_path: Path) -> None:
    found, text = adopted(running(site, site.prod), tmp_path / "home")
    assert comparable(found) == comparable(described(site.directory, site.prod)), text
    assert all(machine.existing for machine in found.machines)
    assert text.count("QUESTION") == 2  # the head tells of it, and the key
