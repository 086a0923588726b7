"""The document does what the provider does: typed word for word on a second machine, the two end equal; and back.

What needs no real systemd, kernel or archive is typed in `tests/changes/test_document.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.adopt import run_there
from model.mirror import Portrait, compare_all
from model.packages import lock_file, read_lock
from model.topology import Access
from provisioners.changes.apply import apply, observe
from provisioners.changes.written import service_part
from provisioners.facts.ask import Asking
from provisioners.facts.portrait import paint
from provisioners.machine_lock import machine_lock
from provisioners.packages import archive, path_of
from provisioners.shell import Shell
from tests.doubles.robot import Robot, document_of
from tests.vm.lab import Lab, lab, left_overs, machine

pytestmark = pytest.mark.vm

ROOT = Path(__file__).parents[2]
HAPROXY = """\
defaults
    mode http
    timeout connect 3s
    timeout client 30s
    timeout server 30s
frontend web
    bind :{port}
    http-request return status 200 content-type text/plain string "it is {port}"
"""
PAGE = ["curl", "-sS", "http://127.0.0.1:{port}/"]


def haproxy(port: int) -> dict[str, Any]:
    """Return a load balancer that answers on a port."""
    path = "/etc/haproxy/haproxy.cfg"
    return {
        "service": "haproxy",
        "files": {path: {"content": HAPROXY.format(port=port), "mode": "0640", "group": "haproxy"}},
        "validate": {path: ["haproxy", "-c", "-f", "{}"]},
        "reload": {path: "haproxy.service"},
        "units": {"haproxy.service": {"restart_on": []}},
        "checks": [{"name": "page", "command": [word.format(port=port) for word in PAGE], "prints": f"it is {port}"}],
    }


def cron() -> dict[str, Any]:
    """Return a package with what it needs, from the lock that is in Git, and a table of jobs."""
    file = lock_file("cron")
    lock = read_lock(file, yaml.safe_load((ROOT / file).read_text(encoding="utf-8")))
    archive().ensure(lock.packages, print)
    packages = {
        each.name: {"version": each.version, "sha256": each.sha256, "source": str(path_of(each.sha256))}
        for each in lock.packages
    }
    table = "# at night\n0 3 * * *\troot\ttest -x /usr/bin/true && echo 100%\n"
    return {
        "service": "cron",
        "packages": packages,
        "files": {"/etc/cron.d/night": {"content": table}},
        "units": {"cron.service": {"restart_on": []}},
        "checks": [{"name": "runs", "command": ["systemctl", "is-active", "cron.service"], "prints": "active"}],
    }


SYSCTL = {
    "service": "sysctl",
    "files": {
        "/etc/sysctl.d/60-site.conf": {"content": "vm.swappiness = 11\nnet.ipv4.tcp_keepalive_time = 611\n"},
        "/etc/systemd/system/kernel-settings.service": {
            "content": (ROOT / "services/sysctl/kernel-settings.service").read_text(encoding="utf-8")
        },
    },
    "units": {"kernel-settings.service": {"restart_on": ["/etc/sysctl.d/60-site.conf"]}},
    "checks": [{"name": "swappiness", "command": ["/sbin/sysctl", "-n", "vm.swappiness"], "prints": "11"}],
}
CHANGES: Mapping[str, Any] = {
    "a file and a unit are new": lambda: haproxy(8081),
    "a file is changed and its unit reloaded": lambda: haproxy(8082),
    "kernel settings": lambda: SYSCTL,
    "a package": cron,
}


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("twins"), 12, [machine("a", 11), machine("b", 12)]) as made:
        made.up()
        yield made
    assert left_overs(made) == []


def inputs_of(made: Lab, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the kind's inputs for a machine of the lab."""
    output = made.outputs()[name]
    reach = {"connection": output["connection"], "private_key": output["private_key"], "generation": "1"}
    return {**reach, **values, "digest": "0" * 64}


def looked(shell: Shell, paths: list[str]) -> Portrait:
    """Return what a machine is like, under a name that both have."""
    with shell.steady() as steady:
        asking = Asking(Access(host="a", user="root"), lambda argv: run_there(steady, argv))
        tries = (paint("twin", IPv4Address("10.77.0.1"), asking.answer, paths) for _ in range(3))
        # A question may take too long on a host that is busy with other tests.
        return next(portrait for portrait in tries if not portrait.failed and not portrait.unread)


def differences(one: Portrait, other: Portrait) -> list[str]:
    """Return in what they differ; each is itself in its names and addresses."""
    return [str(each) for each in compare_all([(one, other)], (), datetime.now(UTC).date()).differences]


def _stays(difference: str) -> bool:
    """Return whether Debian leaves it behind when a package is purged: the group that it made, as its policy has it."""
    return bool(re.match(r"twin: files: /etc/(group|gshadow)-?: ", difference))


def new_differences(before: list[str], after: list[str]) -> list[str]:
    """Return those that were not there before: two machines are never equal in everything."""
    return [each for each in after if each not in before]


@dataclass
class Known:
    """What is known of the twins from one change to the next: looking at a machine takes longer than changing it."""

    always: list[str]
    begun: Portrait


@pytest.fixture(scope="module")
def known(twins: Lab) -> Known:
    paths = sorted({path for make in CHANGES.values() for path in make()["files"]})
    with twins.shell("a") as a, twins.shell("b") as b:
        for shell in (a, b):  # its journal starts anew some seconds after it woke
            shell.run(("bash", "-c", "until ls /run/log/journal | grep .; do sleep 0.2; done"), timeout_seconds=60)
        begun = looked(b, paths)
        return Known(differences(looked(a, paths), begun), begun)


@pytest.mark.parametrize("name", CHANGES)
def test_the_typed_document_does_what_the_provider_does_and_its_way_back_too(
    twins: Lab, known: Known, tmp_path: Path, name: str
) -> None:
    values = CHANGES[name]()
    theirs, ours = inputs_of(twins, "a", values), inputs_of(twins, "b", values)
    paths = sorted({path for make in CHANGES.values() for path in make()["files"]})
    own, known_host = tmp_path / "own", f"{ours['connection']['address']} {ours['connection']['host_key']}"
    with twins.shell("a") as a, twins.shell("b") as b:
        with machine_lock(a, "a change"):
            assert apply(a, theirs, observe(a, theirs)) is not None
        part = service_part(ours, observe(b, ours))
        assert part is not None
        text = document_of(part)
        with Robot(b, own, known_host, ours["private_key"]) as robot:
            assert robot.type_part(text, part.name, "before")
            assert robot.type_part(text, part.name, "do")
        changed = looked(b, paths)
        assert new_differences(known.always, differences(looked(a, paths), changed)) == []
        assert service_part(ours, observe(b, ours)) is None  # nothing is left to do
        assert differences(known.begun, changed) != []
        with Robot(b, own, known_host, ours["private_key"]) as robot:
            assert robot.type_part(text, part.name, "undo")
        assert [each for each in differences(known.begun, looked(b, paths)) if not _stays(each)] == []
        with Robot(b, own, known_host, ours["private_key"]) as robot:  # what comes next finds both alike
            assert robot.type_part(text, part.name, "before")
            assert robot.type_part(text, part.name, "do")
    known.begun = changed
