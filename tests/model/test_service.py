"""A service.yaml: what may stand in it, and what is said of what may not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import pytest

from components.strict_yaml import parse
from model.change.digest import service_digest
from model.errors import ConfigurationError, Fault
from model.service import CommandCheck, PageCheck, Rollout, Service, ServiceFile
from model.service_acts import RESTORE, ByHand, Migration
from model.service_reader import read_service
from model.tool import Tool
from tests.reading import cases

CASES = cases("services.yaml")
FILE = "services/web/service.yaml"
VALID: str = CASES["valid"]


def read(text: str) -> Service:
    values, faults = parse(FILE, text)
    assert not faults
    return read_service(FILE, "web", values)


def faults_of(text: str) -> tuple[Fault, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    return caught.value.faults


def test_a_whole_service() -> None:
    service = read(VALID)
    assert not service.mirrored
    assert dict(service.variables) == {"port": 80, "name": "web", "loud": True}
    assert service.packages == ("nginx", "libstdc++6")
    assert service.files[0].validate == ("a", "-c", "{}")
    assert [file.absent for file in service.files] == [False, True, False]
    assert service.tool == Tool(
        kind="ansible",
        source="playbook.yml",
        path="/etc/understudy/web/playbook.yml",
        files=("/etc/motd",),
        packages=("ntp",),
        units=("ntp.service",),
    )
    assert service.files[2] == ServiceFile(source="playbook.yml", path=service.tool.path, mode="0600")
    assert service.units[0].restart_on == ("/etc/a.conf", "/etc/old.conf")
    assert service.pages == (PageCheck(name="front", url="http://{{ machine.address }}/", text="ok", status=204),)
    assert service.checks == (
        CommandCheck(name="runs", command=("systemctl", "is-active", "a.service"), prints="active"),
    )
    assert service.confirm_seconds == 300
    assert service.rollout == Rollout(first=("app2",), at_once=2)
    assert service.engine is not None
    assert service.engine.settings == (("work_mem", "4MB"), ("port", "5432"))
    assert service.by_hand == (
        ByHand(
            name="switch",
            text="Flip the switch.",
            needs=("the porter",),
            check=("cat", "/etc/switch"),
            prints="on",
            back_out="Flip it back.",
        ),
        ByHand(name="call", text="Call the provider."),
    )
    assert service.migrations[1] == Migration(name="fill-note", store="shop", up="fill.sql", back_out=RESTORE)
    assert service.sources() == ("a.conf.j2", "playbook.yml", "a.sql", "add.sql", "drop.sql", "fill.sql")


def test_what_came_later_leaves_the_digests_of_older_services_as_they_were() -> None:
    old = {key: value for key, value in asdict(Service(name="web")).items() if key not in ("by_hand", "migrations")}
    text = json.dumps(
        {"service": old, "sources": {}, "packages": {}, "places": ()}, sort_keys=True, separators=(",", ":")
    )
    assert service_digest(Service(name="web"), {}, {}) == hashlib.sha256(text.encode()).hexdigest()
    more = Service(name="web", by_hand=(ByHand(name="a", text="b"),))
    assert service_digest(more, {}, {}) != service_digest(Service(name="web"), {}, {})


def test_what_nobody_says() -> None:
    service = read("description: nothing\n")
    assert (service.confirm_seconds, service.rollout) == (120, Rollout(first=1, at_once=0))
    assert service.mirrored


@pytest.mark.parametrize(
    ("old", "new", "key", "found", "allowed"),
    [case[1:] for case in CASES["faults"]],
    ids=[c[0] for c in CASES["faults"]],
)
def test_a_fault(old: str, new: str, key: str, found: str, allowed: str) -> None:
    assert old in VALID
    faults = faults_of(VALID.replace(old, new, 1))
    told = {(fault.file, fault.key, fault.found): fault.allowed for fault in faults}
    assert (FILE, key, found) in told
    assert allowed in told[FILE, key, found]


def test_faults_come_together() -> None:
    faults = faults_of(
        VALID.replace("path: /etc/a.conf", "path: x").replace("postgresql", "y").replace("5min", "never")
    )
    assert {fault.key for fault in faults} >= {"files.0.path", "store.engine", "confirm_within"}
