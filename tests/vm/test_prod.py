"""The sample prod: built by the same program, backed up, read back by `understudy adopt`, and its stage beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.site import Site
from cli.sample import MOST_BYTES
from model import names
from provisioners.stores.sample import LIVES
from tests.adopt.comparing import comparable
from tests.vm.adopting import adopted, described, running
from tests.vm.capture import escapes, listening
from tests.vm.lab import left_overs

pytestmark = pytest.mark.vm

MACHINES = ("lb", "app1", "app2", "db1", "db2")

# SSH listens on the other card alone: that it refuses is db1's own answer.
ASK = """
(timeout 5 bash -c 'exec 3<>/dev/tcp/10.20.0.31/22') 2>&1 | grep -m 1 -o 'Connection refused'
ip neighbour show 10.20.0.31 | sed 's/.*lladdr //; s/ .*//'
"""


@pytest.fixture(scope="module")
def site(company: Site) -> Iterator[Site]:
    try:
        company.pulumi("up", company.prod)
        yield company
    finally:
        company.end(company.prod)
    assert left_overs(company.prod) == []


@pytest.fixture(scope="module")
def sampled(site: Site) -> tuple[int, str]:
    """Let `understudy sample` make the sample repository anew; return how many orders it has, and what was printed."""
    printed = site.run("understudy", "sample", "-s", site.prod)
    return orders(site, site.prod), printed


@pytest.fixture(scope="module")
def stage(site: Site, sampled: tuple[int, str], request: pytest.FixtureRequest) -> dict[str, Any]:
    """The whole stage, filled from what prod has just given, while prod runs."""
    request.getfixturevalue("first")
    return site.outputs(site.stage)


def orders(site: Site, stack: str) -> int:
    """Return how many orders a shop's database has."""
    return int(sql(site, stack, "SELECT count(*) FROM orders"))


def sql(site: Site, stack: str, text: str) -> str:
    """Return what the database at db1 answers."""
    return site.ssh(stack, "db1", "runuser", "-u", "postgres", "--", "psql", "-XAtqc", text, "shop").splitlines()[-1]


def page(site: Site, stack: str) -> str:
    """Return the shop's page, as it comes through the load balancer."""
    return site.ssh(stack, "lb", "curl", "--silent", "--fail", "http://lb.shop.example/")


def test_prod_takes_real_backups(site: Site) -> None:
    site.ssh(site.prod, "db1", "systemctl", "start", "pgbackrest-backup.service")
    text = site.ssh(site.prod, "db1", "runuser", "-u", "postgres", "--", "pgbackrest", "info", "--output=json")
    (stanza,) = json.loads(text[text.index("[") :])
    assert stanza["status"]["message"] == "ok"
    assert stanza["backup"]


def test_a_second_up_would_change_nothing(site: Site) -> None:
    site.pulumi("preview", site.prod, "--expect-no-changes")


def test_the_heartbeat_beats(site: Site) -> None:
    assert int(sql(site, site.prod, "SELECT extract(epoch FROM now() - max(beat_at))::int FROM heartbeat")) < 60


def test_adopting_its_machines_gives_the_topology_that_they_were_built_from(site: Site, tmp_path: Path) -> None:
    found, text = adopted(running(site, site.prod), tmp_path / "home")
    assert comparable(found) == comparable(described(site.directory, site.prod)), text
    assert all(machine.existing for machine in found.machines)
    assert text.count("QUESTION") == 2  # the head tells of it, and the key


def test_prod_makes_the_sample_repository_anew(site: Site, sampled: tuple[int, str]) -> None:
    """A full backup and two that build on it, with orders between them; prod's own repository stays as it is."""
    repository = site.directory / "samples/pgbackrest"
    labels = sorted(path.name for path in (repository / "backup/shop").iterdir() if path.is_dir())
    assert [(label[-1], label in sampled[1]) for label in labels] == [("F", True), ("D", True), ("I", True)]
    assert len({label[:16] for label in labels}) == 1
    assert sum(path.stat().st_size for path in repository.rglob("*") if path.is_file()) < MOST_BYTES
    assert sampled[0] == 4000 + sum(life.orders for life in LIVES)
    own = site.ssh(site.prod, "db1", "ls", "/srv/pgbackrest/backup/shop", "/var/lib/postgresql")
    assert set(labels) < set(own.split())
    assert "sample" not in own


def test_a_stage_is_filled_from_what_prod_gave(site: Site, sampled: tuple[int, str], stage: dict[str, Any]) -> None:
    assert stage["seeds"]["shop"]["snapshot"].endswith("I")
    assert f"{stage['seeds']['shop']['snapshot']} of " in sampled[1]
    assert 0 < stage["seeds"]["shop"]["data_age_seconds"] < 3600
    told = [said for checks in stage["checks"].values() for said in checks.values()]
    assert [said for said in told if not said.startswith("ok")] == []
    assert orders(site, site.stage) == sampled[0]
    digest = "SELECT md5(string_agg(o::text, '|' ORDER BY id)) FROM orders AS o"
    assert sql(site, site.stage, digest) == sql(site, site.prod, digest)


def test_both_answer_at_the_same_addresses_and_neither_hears_of_the_other(
    site: Site, sampled: tuple[int, str], stage: dict[str, Any]
) -> None:
    """Each asks its own for 10.20.0.31 and is answered by its own: as the card says that answers."""
    sql(site, site.prod, "DELETE FROM orders WHERE id = (SELECT max(id) FROM orders) RETURNING id")
    with listening() as capture:
        for stack, count in ((site.prod, sampled[0] - 1), (site.stage, sampled[0])):
            said = site.ssh(stack, "app1", "bash", "-c", ASK).splitlines()
            assert said[-2:] == ["Connection refused", names.mac(stack, "db1", "mirror")]
            assert f"<p>{count} orders of 500 customers." in page(site, stack)
        cables = {names.tap(stack, name, "mirror") for stack in (site.prod, site.stage) for name in MACHINES}
        capture.wait_for(cables)  # the replica speaks with its primary every ten seconds
    assert names.mac(site.prod, "db1", "mirror") != names.mac(site.stage, "db1", "mirror")
    for stack in (site.prod, site.stage):
        assert escapes(stack, MACHINES, capture) == []


def test_destroying_prod_leaves_the_stage_as_it_is(site: Site, sampled: tuple[int, str], stage: dict[str, Any]) -> None:
    site.pulumi("destroy", site.prod)
    assert f"<p>{sampled[0]} orders of 500 customers." in page(site, site.stage)
