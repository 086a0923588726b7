"""A stack that cannot be built: every fault is told, and nothing is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.asides import aside_of
from components.service import service_inputs
from components.site import read_site
from model.connection import Connection
from model.errors import ConfigurationError, UnderstudyError
from model.evidence import Check, Drill, Restore, drill_line
from provisioners.changes.checked import failures
from tests.components.conftest import MakeSite

REACH = {"connection": Connection(name="a", address="127.0.0.1").values(), "private_key": "", "generation": ""}


def test_the_password_of_a_store_that_exists_is_not_known(make_site: MakeSite) -> None:
    edits = {"Pulumi.prod.yaml": {"      vcpus: 2\n": "      vcpus: 2\n      existing: true\n"}}
    with pytest.raises(ConfigurationError, match="for app1: found the password of the store shop"):
        make_site("prod", edits)


def test_nothing_is_made_where_the_configuration_is_wrong(make_site: MakeSite) -> None:
    edits = {
        "Pulumi.prod.yaml": {"memory: 512MiB": "memory: -512MiB"},
        "services/haproxy/service.yaml": {"mode: ": "moed: "},
        "services/app/app.env.j2": {"stores.shop.owner": "stores.shop.onwer"},
    }
    with pytest.raises(ConfigurationError) as caught:
        make_site("stage", edits)
    assert {fault.file for fault in caught.value.faults} >= {"Pulumi.prod.yaml", "services/haproxy/service.yaml"}


def test_a_template_that_asks_for_what_is_not_there_is_told(make_site: MakeSite) -> None:
    edits = {
        "services/app/app.env.j2": {"stores.shop.owner": "stores.shop.onwer"},
        "services/haproxy/haproxy.cfg.j2": {"{% endfor %}": ""},
        "services/heartbeat/service.yaml": {"heartbeat.sql.j2": "hartbeat.sql.j2"},
    }
    with pytest.raises(ConfigurationError) as caught:
        make_site("prod", edits)
    text = str(caught.value)
    assert "onwer" in text
    assert "services/haproxy/haproxy.cfg.j2" in text
    assert "hartbeat.sql.j2: found no such file" in text


def test_a_stack_that_was_not_placed_is_told_how(make_site: MakeSite, project: Path) -> None:
    (project / "Placement.stage.lock.yaml").unlink()
    with pytest.raises(UnderstudyError, match="understudy place"):
        read_site(project, "stage", "file:///state", None)


def test_a_machine_without_a_place_is_told(make_site: MakeSite, project: Path) -> None:
    more = "    app3:\n      address: 10.20.0.23\n      vcpus: 1\n      memory: 512MiB\n    db1:"
    with pytest.raises(UnderstudyError, match="no place for app3"):
        make_site("stage", {"Pulumi.prod.yaml": {"    db1:": more}})


def test_packages_without_their_lock_are_told_the_command(make_site: MakeSite, project: Path) -> None:
    (project / "services/cron/packages.lock.yaml").unlink()
    with pytest.raises(
        ConfigurationError, match=r"packages.lock.yaml: .*no such file.*`./run understudy packages cron`"
    ):
        make_site("stage")


def test_a_lock_for_other_packages_is_told(make_site: MakeSite) -> None:
    edits = {"services/cron/service.yaml": {"packages: [cron]": "packages: [cron, at]"}}
    with pytest.raises(ConfigurationError, match=r"wanted: found for cron, while service.yaml names cron, at"):
        make_site("stage", edits)


def test_a_canary_that_is_no_machine_of_the_service_is_told(make_site: MakeSite) -> None:
    edits = {"services/app/service.yaml": {"files:": "rollout: {first: [app3]}\nfiles:"}}
    with pytest.raises(ConfigurationError, match=r'rollout.first: found "app3"; allowed: one of app1, app2'):
        make_site("stage", edits)


SCHEMA = """\
by_hand:
  - {name: call, text: "Call about {{ machine.name }}."}
migrations:
  - {name: add-note, store: shop, up: add.sql, back_out: drop.sql}
  - {name: fill-note, store: shop, up: fill.sql, back_out: restore}
"""


def schema(project: Path, machines: str, text: str = SCHEMA) -> dict[str, dict[str, str]]:
    """Add a service with migrations, and return the edits that give it machines."""
    (project / "services/schema").mkdir()
    (project / "services/schema/service.yaml").write_text(text)
    for name in ("add", "drop", "fill"):
        (project / f"services/schema/{name}.sql").write_text(f"-- {name} {{{{ no template }}}}\n")
    return {"Pulumi.prod.yaml": {"    haproxy: [lb]\n": f"    haproxy: [lb]\n    schema: {machines}\n"}}


def test_migrations_are_made_on_the_primary_and_people_are_asked_on_each_machine(
    project: Path, make_site: MakeSite
) -> None:
    site = make_site("prod", schema(project, "[db1, db2]"))
    first, second = (
        next(each for each in site.services[name] if each.service.name == "schema") for name in ("db1", "db2")
    )
    assert [(each.name, each.up, each.back_out) for each in first.migrations] == [
        ("add-note", "-- add {{ no template }}\n", "-- drop {{ no template }}\n"),
        ("fill-note", "-- fill {{ no template }}\n", None),
    ]
    assert (second.migrations, second.by_hand[0].text) == ((), "Call about db2.")
    values = service_inputs(first)
    assert values["migrations"][1] == {
        "name": "fill-note",
        "store": "shop",
        "version": "15",
        "port": "5432",
        "database": "shop",
        "owner": "shop",
        "up": "-- fill {{ no template }}\n",
    }
    assert values["by_hand"] == [{"name": "call", "text": "Call about db1."}]
    assert failures({**REACH, **values}) == ()


@pytest.mark.parametrize(
    ("machines", "store", "told"),
    [
        ("[db2]", "shop", "a store whose primary runs schema; db1 does not"),
        ("[db1]", "mail", "a PostgreSQL store: one of shop|a PostgreSQL store: shop"),
    ],
)
def test_a_migration_without_its_primary_is_told(
    project: Path, make_site: MakeSite, machines: str, store: str, told: str
) -> None:
    edits = schema(project, machines, SCHEMA.replace("store: shop", f"store: {store}"))
    with pytest.raises(ConfigurationError, match=told):
        make_site("prod", edits)


def test_how_long_a_restore_takes_is_what_the_newest_good_drill_took(project: Path, make_site: MakeSite) -> None:
    site = make_site("prod", schema(project, "[db1]"))
    rendered = next(each for each in site.services["db1"] if each.service.name == "schema")
    assert aside_of(rendered, project, "prod")["forecasts"] == {"shop": ""}
    history = project / "reports/stage/drills.jsonl"
    history.parent.mkdir(parents=True)
    lines = [drill(1, 70.2), drill(3, 83.4), drill(4, 9.0, ok=False), drill(2, 75.0)]
    history.write_text("\n".join((*lines, "half a li")))
    told = aside_of(rendered, project, "prod")
    assert told["forecasts"] == {"shop": "83 s in the drill of 2026-11-03T02:00:00Z on stage"}
    assert told["evidence"] == {"stack": "prod", "project_directory": str(project)}


def drill(day: int, seconds: float, *, ok: bool = True) -> str:
    """Return the line of a drill."""
    restore = Restore(
        store="shop",
        engine="postgresql",
        version="15",
        machine="db1",
        snapshot="1F",
        taken_at="2026-11-01T01:00:00Z",
        data_age_seconds=1.0,
        restore_seconds=seconds,
        checks=(Check(name="a", ok=ok),),
    )
    made = Drill(at=f"2026-11-0{day}T02:00:00Z", stack="stage", recovery_seconds=9.0, restores=(restore,))
    return drill_line(made)


OWN = {"Pulumi.stage.yaml": {"config:\n": "config:\n  understudy:image: images/mine.qcow2\n"}}


def own(source: str, disk_mib: int) -> dict[str, dict[str, str]]:
    entry = f"own_image: {{source: {source}, disk_mib: {disk_mib}}}\nmachines:\n"
    return {"Placement.stage.lock.yaml": {"machines:\n": entry}}


@pytest.mark.parametrize(
    ("edits", "told"),
    [
        (OWN, "image: the project's; wanted images/mine.qcow2. Run .*place"),
        (own("images/mine.qcow2", 3000), "image: images/mine.qcow2; wanted the project's"),
        ({**OWN, **own("images/other.qcow2", 3000)}, "image: images/other.qcow2; wanted images/mine.qcow2"),
        ({**OWN, **own("images/mine.qcow2", 9000)}, "9000 MiB; wanted what fits: lb's system_disk has 8192 MiB"),
    ],
)
def test_an_image_that_is_not_the_one_that_was_placed_is_told(
    make_site: MakeSite, edits: dict[str, dict[str, str]], told: str
) -> None:
    with pytest.raises(UnderstudyError, match=told):
        make_site("stage", edits)


def test_an_image_of_ones_own_that_fits(make_site: MakeSite) -> None:
    assert make_site("stage", {**OWN, **own("images/mine.qcow2", 8192)}).placement.own_image is not None
