"""The sample prod: built by the same program, backed up for real, and read back by `understudy adopt`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.site import Site
from model import names
from tests.adopt.comparing import comparable
from tests.vm.adopting import adopted, described, running
from tests.vm.lab import lab, left_overs, machine

pytestmark = pytest.mark.vm

# SSH listens on the other card alone: that it refuses is db1's own answer.
ASK = """
(timeout 5 bash -c 'exec 3<>/dev/tcp/10.20.0.31/22') 2>&1 | grep -m 1 -o 'Connection refused'
ip neighbour show 10.20.0.31 | sed 's/.*lladdr //; s/ .*//'
"""


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


def test_a_stage_answers_at_the_same_addresses_at_the_same_time(site: Site, tmp_path: Path) -> None:
    """Each asks its own for 10.20.0.31 and is answered by its own: as the card says that answers."""
    network = site.configuration(site.prod)["network"]
    beside = [machine("app1", 21, network), machine("db1", 31, network)]
    with lab(tmp_path, 6, beside, network=network) as stage:
        stage.up()
        cards = {name: names.mac(name, "db1", "mirror") for name in (site.prod, stage.stack)}
        in_prod = site.ssh(site.prod, "app1", "bash", "-c", ASK).splitlines()
        with stage.shell("app1") as shell:
            in_stage = shell.run(("bash", "-c", ASK)).text.splitlines()
        assert in_prod[-2:] == ["Connection refused", cards[site.prod]]
        assert in_stage == ["Connection refused", cards[stage.stack]]
        assert in_prod[-1] != in_stage[-1]
    assert left_overs(stage) == []
