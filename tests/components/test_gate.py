"""The gate in the graph: all of prod waits for it, and the report shouts what went on without a rehearsal."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.site import read_site
from model.change.digest import change_digest
from model.errors import UnderstudyError
from tests.components.conftest import MakeSite
from tests.components.doubles import run
from tests.doubles.evidence import make_signer, put

A, B = "a" * 64, "b" * 64


def test_all_of_prod_waits_for_the_gate(make_site: MakeSite, project: Path) -> None:
    site = make_site("prod")
    graph = run(site, project)
    gate = graph.one("Gate", "gate")
    every = [item for item in graph.resources if not item.type.startswith("understudy:components:")]
    assert len(every) > 30
    assert {item.name for item in every if gate.urn not in item.dependencies} == {"gate"}
    assert not gate.dependencies
    assert gate.inputs["services"] == site.digests
    services = {"app", "cron", "haproxy", "heartbeat", "pgbackrest", "postgresql", "sshd", "sysctl"}
    assert set(site.digests) == services | {f"machine {name}" for name in ("lb", "app1", "app2", "db1", "db2")}
    assert gate.inputs["unshared"] == ["heartbeat", "pgbackrest"]
    assert (gate.inputs["rehearsed_on"], gate.inputs["least_faithful"]) == ("stage", 0.95)


def test_a_stage_has_none_and_the_same_digests(make_site: MakeSite, project: Path) -> None:
    stage = make_site("stage")
    assert not run(stage, project).of("Gate")
    prod = make_site("prod")
    assert set(prod.digests) - set(stage.digests) == {"heartbeat", "pgbackrest"}
    assert stage.digests.items() <= prod.digests.items()


def test_a_stack_with_a_baseline_does_not_become_a_mirror(make_site: MakeSite, project: Path) -> None:
    site = make_site("stage")
    anna = make_signer(project, "anna")
    put(project, "stage", anna, "rehearsal", {"changes": {}})
    run(site, project)
    put(project, "stage", anna, "baseline", {"services": {"web": A}})
    with pytest.raises(UnderstudyError, match="understudy:mirror: a stack that has a gate"):
        run(site, project)


@pytest.mark.parametrize(
    ("file", "old", "new", "service"),
    [
        ("Pulumi.prod.yaml", "10.20.0.10\n      vcpus: 1", "10.20.0.10\n      vcpus: 2", "machine lb"),
        ("services/haproxy/haproxy.cfg.j2", "maxconn", "# more\n    maxconn", "haproxy"),
        ("services/postgresql/shop.sql.j2", "CREATE TABLE", "CREATE  TABLE", "postgresql"),
        ("Pulumi.prod.yaml", "    app: [app1, app2]", "    app: [app2]", "app"),
        ("Pulumi.prod.yaml", "      replicas: [db2]", "      replicas: []", "postgresql"),
    ],
)
def test_an_edit_changes_the_digest_of_its_service_alone(
    make_site: MakeSite, project: Path, file: str, old: str, new: str, service: str
) -> None:
    before = make_site("prod").digests
    after = make_site("prod", {file: {old: new}}).digests
    assert {name for name in before if before[name] != after[name]} == {service}


def test_a_smaller_stage_has_the_digests_of_what_is_described(make_site: MakeSite, project: Path) -> None:
    edits = {
        "Pulumi.stage.yaml": {"understudy:mirror: prod": "understudy:mirror: prod\n  understudy:at_most: {vcpus: 1}"}
    }
    stage = make_site("stage", edits)
    assert stage.environment.topology.machine("db1").vcpus == 1
    assert stage.digests.items() <= make_site("prod").digests.items()
    boots = run(stage, project).of("Boot")
    assert boots["db1"].inputs["sizes"]["vcpus"] == 2


def test_a_rehearsal_takes_machines_back_to_what_they_were_and_prod_does_not_listen(
    make_site: MakeSite, project: Path
) -> None:
    small = {"vcpus": 1, "memory_mib": 256, "system_disk_mib": 8192, "data_disk_mib": 0}
    before = {"app2": None, "lb": small, "db2": None}
    make_site("stage")
    stage = read_site(project, "stage", "file:///state", None, before)
    assert set(run(stage, project).of("Domain")) == {"lb", "app1", "db1"}
    assert stage.environment.sizes("lb") == small
    assert stage.environment.topology.stores[0].replicas == ()
    assert read_site(project, "prod", "file:///state", None, before).digests == make_site("prod").digests


def test_a_prods_own_address_changes_none(make_site: MakeSite, project: Path) -> None:
    before = make_site("prod").digests
    assert make_site("prod", {"Pulumi.prod.yaml": {"10.20.0.21": "10.20.0.29"}}).digests == before


def test_the_gate_asks_what_the_file_says(make_site: MakeSite, project: Path) -> None:
    rules = "understudy:gate: {least_faithful: 0.8, most_seed_age: 36h}\n  understudy:domain"
    gate = run(make_site("prod", {"Pulumi.prod.yaml": {"understudy:domain": rules}}), project).one("Gate", "gate")
    assert (gate.inputs["least_faithful"], gate.inputs["most_seed_age_seconds"]) == (0.8, 36 * 3600)


def test_the_report_shouts_until_a_rehearsal_follows(make_site: MakeSite, project: Path) -> None:
    def alarms() -> list[str]:
        found: list[str] = run(make_site("prod"), project).one("Report", "report").inputs["document"]["alarms"]
        return found

    assert alarms() == []
    anna, digest = make_signer(project, "anna"), change_digest(A, B)
    put(project, "prod", anna, "baseline", {"services": {"web": A}})
    put(project, "prod", anna, "emergency", {"change": digest, "why": "the site is down"})
    assert alarms() == []
    used = {"service": "web", "from": A, "to": B, "emergency": 2}
    put(project, "prod", anna, "prod", {"changes": {digest: used}})
    (alarm,) = alarms()
    assert alarm.startswith("EMERGENCY: web changes")
    assert "the site is down" in alarm
    assert run(make_site("stage"), project).one("Report", "report").inputs["document"]["alarms"] == []
    path = project / "evidence/prod.jsonl"
    path.write_bytes(path.read_bytes().replace(b"site", b"bite"))
    assert any("broken at record" in alarm for alarm in alarms())
