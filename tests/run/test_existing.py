"""A prod whose machine was there before us: the real engine builds around it, and never speaks to it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.site import Site
from tests.doubles.sshd import Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine("db1") as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, machine: Machine) -> Site:
    """A prod of one machine, which exists, with a store on it and a service."""
    site = Site(tmp_path)
    found = site.configuration(site.prod)
    existing = {"host": "127.0.0.1", "port": machine.port, "user": "root"}
    site.configure(
        site.prod,
        machines={"db1": {**found["machines"]["db1"], "existing": existing}},
        services={"heartbeat": ["db1"]},
        stores={"shop": {**found["stores"]["shop"], "replicas": []}},
        pages={},
    )
    home = tmp_path / "home"
    machine.known_to_user(home)  # it could be reached
    site.environment["XDG_CACHE_HOME"] = site.environment.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    site.environment["HOME"] = str(home)
    return site


def listed() -> str:
    argv = ("virsh", "-q", "list", "--all", "--name")
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_it_is_never_reached_changed_or_built_a_second_time(site: Site, machine: Machine) -> None:
    before = machine.log()
    printed = site.pulumi("up", site.prod)
    assert "existing" in printed
    assert site.outputs(site.prod)["machines"] == {
        "db1": {"address": "10.20.0.31", "role": "primary", "existing": "left alone"}
    }
    site.pulumi("preview", site.prod, "--expect-no-changes")
    site.pulumi("up", site.prod, "--refresh")

    described = site.configuration(site.prod)["machines"]
    del described["db1"]["existing"]
    file = site.directory / f"Pulumi.{site.prod}.yaml"
    text = file.read_text()
    site.configure(site.prod, machines=described)
    refused = site.pulumi("up", site.prod, code=1)
    assert "machines.db1: no `existing` any more, but db1 existed at the last `up`" in refused
    assert site.prod not in listed()

    file.write_text(text)
    site.pulumi("destroy", site.prod)
    assert machine.log() == before, "somebody connected to it"
    assert machine.systemctl_calls() == ()
