"""The sample company's stage on two computers: its page comes out of the load balancer, and nothing is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.site import Site, is_gone
from model import names
from provisioners.hypervisor.virsh import Virsh
from tests.doubles.computer import Computer
from tests.vm import computers
from tests.vm.computers import place, site_beside
from tests.vm.test_prod import sql

pytestmark = pytest.mark.vm
rack = computers.rack

THERE = ("app2", "db2")
STREAMS = "SELECT pg_is_in_recovery(), (SELECT count(*) FROM orders), (SELECT state FROM pg_stat_replication)"


@pytest.fixture
def site(tmp_path: Path, rack: Computer) -> Iterator[Site]:
    with site_beside((rack,), tmp_path) as site:
        place(site, dict.fromkeys(THERE, rack))
        yield site


def test_the_page_of_a_company_on_two_computers(site: Site, rack: Computer) -> None:
    site.pulumi("up", site.stage)
    there = {names.domain(site.stage, name) for name in THERE}
    assert set(rack.inside("virsh", "list", "--name").split()) == there
    assert {name for name in Virsh().names("list") if name.startswith(f"{site.stage}-")} == {
        names.domain(site.stage, name) for name in ("lb", "app1", "db1")
    }
    checks = site.outputs(site.stage)["checks"]
    assert {"front", "front-without-app1"} <= set(checks["pages"]), "the one that is left is on the other computer"
    assert [told for each in checks.values() for told in each.values() if not told.startswith("ok")] == []
    recovers, orders, state = sql(site, site.stage, STREAMS).split("|")
    assert (recovers, state) == ("f", "streaming"), "its replica is on the other computer"
    assert int(orders) > 0
    assert site.pulumi("preview", site.stage, "--expect-no-changes")
    site.pulumi("destroy", site.stage)
    assert is_gone(site.stage)
    assert rack.inside("virsh", "list", "--all", "--name").split() == []
    assert rack.kept("/var/lib/understudy/stacks") == []
