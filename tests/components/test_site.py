"""A stack that cannot be built: every fault is told, and nothing is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.site import read_site
from model.errors import ConfigurationError, UnderstudyError
from tests.components.conftest import MakeSite


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
