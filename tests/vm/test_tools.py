"""The real Puppet and Ansible on a real machine: installed as exact files, applied, foretold, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bench.site import Site
from components.files import read_package_lock
from components.site import read_services
from images import build, cache
from provisioners.packages import archive, image_status, path_of
from provisioners.provider.service import Service
from provisioners.shell import connect
from tests.vm.adopting import Running, running
from tests.vm.lab import ROOT, image, left_overs

pytestmark = pytest.mark.vm

SERVICE = Service()
MOTD = "/etc/motd"
# As README has it.
AT_ONCE = "puppet apply --verbose --show_diff /etc/understudy/puppet/site.pp"
BOOK = "/etc/greet/playbook.yml"
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: greet
      ansible.builtin.copy:
        dest: /etc/motd
        content: "Ansible sees to this file.\\n"
        mode: "0640"
    - name: a job for the timer
      ansible.builtin.lineinfile:
        path: /etc/greet/names
        line: anna
        create: true
"""


def quiet(_: str) -> None:
    """Show nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The stage of a prod, never built, of one small machine and nothing on it."""
    site = Site(tmp_path_factory.mktemp("site"))
    small = {**site.configuration(site.prod)["machines"]["lb"], "vcpus": 1, "memory": "512MiB"}
    site.configure(site.prod, machines={"a": small}, services={}, stores={}, pages={})
    try:
        site.pulumi("up", site.stage)
        yield site
    finally:
        site.end(site.stage)
    assert left_overs(site.stage) == []


@pytest.fixture(scope="module")
def alone(site: Site) -> Running:
    return running(site, site.stage)


def reach(alone: Running) -> dict[str, Any]:
    """Return how a service of the machine reaches it."""
    return {"connection": alone.connections[0].values(), "private_key": alone.private_key, "generation": "1"}


@pytest.fixture(scope="module")
def wanted(alone: Running) -> dict[str, Any]:
    """The project's own service `puppet`, as the machine gets it."""
    service, lock = read_services(ROOT)["puppet"], read_package_lock(ROOT, "puppet")
    assert service.tool is not None
    assert lock is not None
    archive().ensure(lock.packages, print)
    return {
        **reach(alone),
        "service": "puppet",
        "packages": {
            each.name: {"version": each.version, "sha256": each.sha256, "source": str(path_of(each.sha256))}
            for each in lock.packages
        },
        "files": {
            file.path: {"content": (ROOT / "services/puppet" / file.source).read_text(), "mode": file.mode}
            for file in service.files
        },
        "units": {unit.unit: {"restart_on": list(unit.restart_on)} for unit in service.units},
        "tool": {"kind": "puppet", "path": service.tool.path, "files": list(service.tool.files)},
        "confirm_seconds": service.confirm_seconds,
    }


@pytest.fixture(scope="module")
def greeting(alone: Running) -> dict[str, Any]:
    """A service that is a playbook; Ansible comes with it."""
    paths = cache.usable(build.IMAGES / image())
    assert isinstance(paths, cache.ImagePaths)
    packages = archive().resolve(["ansible-core"], image_status(paths, quiet), quiet)
    return {
        **reach(alone),
        "service": "greet",
        "packages": {
            each.name: {"version": each.version, "sha256": each.sha256, "source": str(path_of(each.sha256))}
            for each in packages
        },
        "files": {BOOK: {"content": PLAYBOOK}},
        "tool": {"kind": "ansible", "path": BOOK, "files": [MOTD, "/etc/greet/names"]},
        "checks": [{"name": "it greets", "command": ["grep", "-c", "Ansible", MOTD], "prints": "1"}],
    }


def run(alone: Running, script: str) -> str:
    with connect(alone.connections[0], alone.private_key, quiet) as shell:
        return shell.run(("bash", "-c", script), timeout_seconds=600).text


def state(alone: Running) -> str:
    return run(
        alone,
        f"cat {MOTD}; stat -c '%a %U' {MOTD}; dpkg-query -Wf '${{db:Status-Abbrev}} ${{Package}}\\n' | grep -c ^ii;"
        " find /etc/systemd/system -not -type d | sort;"
        # Without --all: of a timer whose file is gone systemd remembers the name until it next reads its units anew.
        " systemctl list-timers --no-legend | awk '{print $(NF-1)}' | sort",
    )


def ansible(site: Site, command: str) -> str:
    """Run a command on all machines of the stage, as README says."""
    script = site.directory / "inventory" / site.stage
    script.symlink_to("stage")
    return site.run("ansible", "-i", str(script), "all", "-a", command)


def test_puppet_within_a_change(site: Site, alone: Running, wanted: dict[str, Any]) -> None:
    before = state(alone)
    assert SERVICE.check(wanted) == ()
    assert "puppet is not installed yet" in SERVICE.consequence({}, wanted)
    _, outputs = SERVICE.create(wanted, print)
    assert run(alone, f"cat {MOTD}") == "Puppet sees to this file; change it in services/puppet."
    assert "puppet-apply.timer" in run(alone, "systemctl list-timers --no-legend")
    assert run(alone, "systemctl is-active puppet.service || true") != "active", "no agent asks a server"
    real = SERVICE.read("", wanted, outputs, quiet)
    assert real is not None
    assert real.inputs == wanted

    manifest = wanted["files"][wanted["tool"]["path"]]
    text = manifest["content"].replace("Puppet sees", "Puppet still sees")
    changed = {**wanted, "files": {**wanted["files"], wanted["tool"]["path"]: {**manifest, "content": text}}}
    foretold = SERVICE.consequence(wanted, changed)
    assert foretold.startswith("puppet would change on a:\n")
    assert "-Puppet sees" in foretold
    assert "+Puppet still sees" in foretold
    assert "(noop)" in foretold
    assert run(alone, f"cat {MOTD}; ls /run | grep -c understudy-try || true").splitlines()[1] == "0"

    run(alone, f"echo by hand >>{MOTD}; systemctl start puppet-apply.service")
    assert "by hand" not in run(alone, f"cat {MOTD}"), "the timer's unit mends it"
    run(alone, f"echo by hand >>{MOTD}")
    said = ansible(site, AT_ONCE)
    assert "a | CHANGED | rc=0 >>" in said
    assert "-by hand" in said
    assert "by hand" not in run(alone, f"cat {MOTD}"), "whoever cannot wait for the timer needs not"
    _other_service_leaves_it(alone, wanted)

    later = SERVICE.update("", wanted, changed, outputs, quiet)
    assert run(alone, f"cat {MOTD}") == "Puppet still sees to this file; change it in services/puppet."
    SERVICE.delete("", changed, later, quiet)
    assert state(alone) == before


def _other_service_leaves_it(alone: Running, wanted: dict[str, Any]) -> None:
    files = {MOTD: {"content": "ours\n"}, "/etc/greeting": {"content": "ours\n"}}
    other = {**reach(alone), "service": "greeting", "files": files}
    _, outputs = SERVICE.create(other, quiet)
    assert outputs["puppet"] == [MOTD]
    assert SERVICE.shouts(other, outputs, planned=True)
    assert run(alone, f"cat {MOTD} /etc/greeting").splitlines() == [
        "Puppet sees to this file; change it in services/puppet.",
        "ours",
    ]
    SERVICE.delete("", other, outputs, quiet)
    assert run(alone, f"cat {MOTD}; ls /etc/greeting || true").startswith("Puppet sees")


def test_a_playbook_within_a_change(alone: Running, greeting: dict[str, Any]) -> None:
    """Its whole life, with a machine's double: `tests/changes/test_tool.py`."""
    before = state(alone)
    assert "ansible is not installed yet" in SERVICE.consequence({}, greeting)
    _, outputs = SERVICE.create(greeting, quiet)
    said = run(alone, f"cat {MOTD}; stat -c %a {MOTD}; cat /etc/greet/names; echo by hand >>{MOTD}")
    assert said.splitlines() == ["Ansible sees to this file.", "640", "anna"]
    real = SERVICE.read("", greeting, outputs, quiet)
    assert real is not None
    assert "-by hand" in real.inputs["tool"]["would_change"]
    SERVICE.delete("", greeting, outputs, quiet)
    assert state(alone) == before
