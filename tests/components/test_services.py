"""A service's folder: what may stand in it, and how its templates are filled."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.site import read_services
from components.strict_yaml import parse
from components.templates import marks
from model.errors import ConfigurationError
from model.service import Service, read_service
from tests.components.conftest import MakeSite
from tests.components.doubles import ROOT

GOOD = """
mirrored: false
variables: {port: 80, name: web, loud: true}
files:
  - {source: a.conf.j2, path: /etc/a.conf, mode: "0600", owner: a, group: b, validate: [a, -c, "{}"], reload: a.service}
units:
  - {unit: a.service, restart_on: [/etc/a.conf]}
checks:
  - {name: front, url: "http://{{ machine.address }}/", text: ok, status: 204}
store: {engine: postgresql, settings: {work_mem: 4MB, port: 5432}, hba: [local all all peer], init: a.sql}
"""


def read(text: str) -> Service:
    values, faults = parse("services/web/service.yaml", text)
    assert not faults
    return read_service("services/web/service.yaml", "web", values)


def test_a_whole_service() -> None:
    service = read(GOOD)
    assert not service.mirrored
    assert dict(service.variables) == {"port": 80, "name": "web", "loud": True}
    assert service.files[0].validate == ("a", "-c", "{}")
    assert service.units[0].restart_on == ("/etc/a.conf",)
    assert service.checks[0].status == 204
    assert service.engine is not None
    assert service.engine.settings == (("work_mem", "4MB"), ("port", "5432"))
    assert service.sources() == ("a.conf.j2", "a.sql")


@pytest.mark.parametrize(
    ("old", "new", "key", "found"),
    [
        ("mirrored: false", "mirrored: never", "mirrored", '"never"'),
        ("mirrored: false", "mirored: false", "mirored", "an unknown key"),
        ("port: 80", "Port: 80", "variables", '"Port"'),
        ("port: 80", "port: [80]", "variables.port", "[80]"),
        ("a.conf.j2", "../a.conf.j2", "files.0.source", '"../a.conf.j2"'),
        ("path: /etc/a.conf", "path: etc/a.conf", "files.0.path", '"etc/a.conf"'),
        ("path: /etc/a.conf", "path: /etc/$(id)", "files.0.path", '"/etc/$(id)"'),
        ('mode: "0600"', "mode: 600", "files.0.mode", "600"),
        ("owner: a", "owner: a b", "files.0.owner", '"a b"'),
        ('"{}"]', "x]", "files.0.validate", '["a", "-c", "x"]'),
        ("validate: [a, -c,", "validate: [a, 1,", "files.0.validate", '["a", 1, "{}"]'),
        ("reload: a.service", "reload: a", "files.0.reload", '"a"'),
        ("unit: a.service", "unit: a.service; id", "units.0.unit", '"a.service; id"'),
        ("restart_on: [/etc/a.conf]", "restart_on: [/etc/b.conf]", "units.0.restart_on.0", '"/etc/b.conf"'),
        ("status: 204", "status: 99", "checks.0.status", "99"),
        ("name: front", "name: Front Page", "checks.0.name", '"Front Page"'),
        ("engine: postgresql", "engine: oracle", "store.engine", '"oracle"'),
        ("work_mem: 4MB", 'work_mem: "4MB\\nport = 1"', "store.settings.work_mem", '"4MB\\nport = 1"'),
        ("work_mem: 4MB", "work_mem: on", "store.settings.work_mem", "true"),
        ("units:\n  -", "units:\n   x:", "units", '{"x": {"unit": "a.service", "restart_on": ["/etc/a.conf"]}}'),
    ],
)
def test_a_fault(old: str, new: str, key: str, found: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigurationError) as caught:
        read(GOOD.replace(old, new, 1))
    assert (key, found) in {(fault.key, fault.found) for fault in caught.value.faults}


def test_faults_come_together() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(GOOD.replace("path: /etc/a.conf", "path: x").replace("engine: postgresql", "engine: y"))
    assert {fault.key for fault in caught.value.faults} >= {"files.0.path", "store.engine"}


def test_our_own_services_are_read() -> None:
    assert set(read_services(ROOT)) == {path.name for path in (ROOT / "services").iterdir() if path.is_dir()}


def test_a_folder_without_its_file_is_told(project: Path) -> None:
    (project / "services/mail").mkdir()
    with pytest.raises(ConfigurationError, match="the file: found no such file"):
        read_services(project)


def test_secrets_are_marked_not_rendered(make_site: MakeSite) -> None:
    files = {file.path: file.content for app in make_site("stage").services["app1"] for file in app.files}
    assert marks(files["/etc/app/app.env"]) == {"shop"}
    assert "PGHOST=10.20.0.31,10.20.0.32\n" in files["/etc/app/app.env"]


def test_a_file_that_is_no_template_is_left_alone(make_site: MakeSite) -> None:
    files = {file.path: file.content for app in make_site("stage").services["app1"] for file in app.files}
    assert files["/usr/local/lib/app/app.py"] == (ROOT / "services/app/app.py").read_text()


def test_the_samples_are_the_same_each_time(make_site: MakeSite) -> None:
    init = make_site("prod").engines["shop"].init
    assert init.startswith("-- ")
    assert "SET ROLE shop;" in init
    assert "random" not in init
    assert "CREATE TABLE heartbeat (beat_at timestamptz PRIMARY KEY);" in init
