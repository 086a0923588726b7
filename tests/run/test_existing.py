"""A prod whose machines were there before us: the real engine builds around them, and only changes their services."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.site import Site
from model.evidence.signers import key_of
from provisioners.hypervisor.virsh import Virsh
from tests.doubles.evidence import allow
from tests.doubles.sshd import Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine("db1") as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, machine: Machine) -> Site:
    """A prod of one machine, which exists, with a store on it."""
    site = Site(tmp_path)
    found = site.configuration(site.prod)
    existing = {"host": "127.0.0.1", "port": machine.port, "user": "root"}
    site.configure(
        site.prod,
        machines={"db1": {**found["machines"]["db1"], "existing": existing}},
        services={},
        stores={"shop": {**found["stores"]["shop"], "replicas": []}},
        pages={},
    )
    home = tmp_path / "home"
    machine.known_to_user(home)  # it could be reached
    live_in(site, home)
    return site


def live_in(site: Site, home: Path) -> None:
    """Make a directory the user's home."""
    site.environment["XDG_CACHE_HOME"] = site.environment.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    site.environment["HOME"] = str(home)


def listed() -> str:
    return "\n".join(Virsh().names("list", "--all"))


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


# -- Services on it ------------------------------------------------------------------------------------------------

CONFIG = "etc/web/web.conf"
SERVICE = """\
description: A web server that somebody set up by hand
variables:
  port: {port}
files:
  - source: web.conf.j2
    path: /etc/web/web.conf
    mode: "0640"
    validate: [grep, -q, port, "{{}}"]
checks:
  - name: port
    command: [grep, -x, "port = {{{{ services.web.port }}}}", /etc/web/web.conf]
"""


@pytest.fixture
def gate() -> Iterator[Machine]:
    with Machine("gate") as running:
        yield running


@pytest.fixture
def web(tmp_path: Path, machine: Machine, gate: Machine) -> Site:
    """A prod of one machine behind another, with a service that was set up by hand; no root may log in."""
    site, home = Site(tmp_path / "site"), tmp_path / "home"
    gate.accept(machine)
    machine.known_to_user(home)
    with (home / ".ssh/known_hosts").open("a") as known:
        known.write(f"[127.0.0.1]:{gate.port} {gate.host_key}\n")
    live_in(site, home)
    key = key_of(machine.public_key)
    assert key is not None
    allow(site.directory, "anna@shop.example", key)
    conf = machine.root / CONFIG
    conf.parent.mkdir()
    conf.write_text("# by hand\nport = 80\n")
    conf.chmod(0o640)
    folder = site.directory / "services/web"
    folder.mkdir()
    (folder / "web.conf.j2").write_text("# by hand\nport = {{ services.web.port }}\n")
    say_port(site, 80)
    way = {"host": "127.0.0.1", "port": machine.port, "user": "admin", "sudo": True}
    described = {"address": "10.20.0.10", "vcpus": 1, "memory": "512MiB"}
    jump = f"root@127.0.0.1:{gate.port}"
    site.configure(
        site.prod,
        machines={"lb": {**described, "existing": {**way, "jump": jump}}},
        services={"web": ["lb"]},
        stores={},
        pages={},
    )
    return site


def say_port(site: Site, port: int) -> None:
    (site.directory / "services/web/service.yaml").write_text(SERVICE.format(port=port))


def test_a_service_that_is_other_than_git_has_it_is_not_taken_over(web: Site, machine: Machine) -> None:
    say_port(web, 81)
    for verb, code in (("preview", 0), ("up", 1)):
        said = web.pulumi(verb, web.prod, code=code)
        assert "it was there before us, and is other than Git has it" in said
        assert "-port = 80" in said
        assert "+port = 81" in said
    assert not (web.directory / f"evidence/{web.prod}.jsonl").exists(), "no baseline that is not true"
    assert not (machine.root / "root/configs").exists()
    say_port(web, 80)
    web.pulumi("up", web.prod)
    assert (machine.root / CONFIG).read_text() == "# by hand\nport = 80\n"


def test_a_service_by_hand_is_changed_like_any_other_by_sudo_and_over_a_jump_host(web: Site, machine: Machine) -> None:
    conf = machine.root / CONFIG
    before = conf.stat()
    web.pulumi("up", web.prod)
    assert (conf.stat().st_ino, conf.stat().st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
    assert not (machine.root / "root/configs").exists(), "what is so already is left as it is"
    assert not [call for call in machine.systemctl_calls() if not call.startswith("systemctl show")]
    web.pulumi("preview", web.prod, "--expect-no-changes")
    assert '"kind":"baseline"' in (web.directory / f"evidence/{web.prod}.jsonl").read_text()
    assert "Accepted publickey for admin" in machine.log()
    assert "for root" not in machine.log()

    say_port(web, 8080)
    written = web.run("understudy", "change", "document", "-s", web.prod, "--why", "Nobody but us uses 80.")
    text = next(web.directory.glob("changes/*/document.md")).read_text()
    assert "+port = 8080" in text, written
    assert "sh lb:web do 1" in text
    say_port(web, 8081)
    refused = web.pulumi("up", web.prod, code=1)
    assert "this update would do more than the document says" in refused
    assert "Service lb:web: update, with another checks, digest, files" in refused
    assert f"./run understudy change document -s {web.prod}" in refused
    say_port(web, 8080)
    refused = web.pulumi("up", web.prod, code=1)
    assert "held by changes/" in refused
    (digest,) = set(re.findall(r"its digest: ([0-9a-f]{64})", refused))
    assert conf.read_text() == "# by hand\nport = 80\n"
    web.run("understudy", "change", "emergency", digest, "-s", web.prod, "--why", "the port is taken")
    assert "EMERGENCY: this update is not held by changes/" in web.pulumi("up", web.prod)
    assert (conf.read_text(), conf.stat().st_mode & 0o777) == ("# by hand\nport = 8080\n", 0o640)
    (copy,) = (machine.root / "root/configs/web").glob("[0-9]*Z-*/files/etc/web/web.conf")
    assert copy.read_text() == "# by hand\nport = 80\n"
    assert "lb:web update" not in web.pulumi("preview", web.prod, "--refresh")

    (identifier,) = re.findall(
        r"UTC  ([0-9a-f]{12})  lb +web +kept", web.run("understudy", "change", "list", "-s", web.prod)
    )
    web.run("understudy", "change", "back-out", identifier, "-s", web.prod)
    assert conf.read_text() == "# by hand\nport = 80\n"
    assert "port = 80" in web.pulumi("preview", web.prod, "--refresh", "--diff")
    assert "protect" in web.pulumi("destroy", web.prod, code=1)
    assert conf.exists()
