"""The real Puppet on a real machine: installed as exact files, applied within a change, foretold, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from components.files import read_package_lock
from components.site import read_services
from provisioners.packages import archive, path_of
from provisioners.provider.service import Service
from tests.vm.lab import ROOT, Lab, lab, left_overs, machine

pytestmark = pytest.mark.vm

SERVICE = Service()
MOTD = "/etc/motd"


def quiet(_: str) -> None:
    """Show nothing."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("lab"), 5, [machine("a", 11)]) as made:
        made.up()
        yield made
    assert left_overs(made) == []


@pytest.fixture(scope="module")
def wanted(alone: Lab) -> dict[str, Any]:
    """The project's own service `puppet`, as the machine gets it."""
    service, lock = read_services(ROOT)["puppet"], read_package_lock(ROOT, "puppet")
    assert service.tool is not None
    assert lock is not None
    archive().ensure(lock.packages, print)
    output = alone.outputs()["a"]
    return {
        "connection": output["connection"],
        "private_key": output["private_key"],
        "generation": output["generation"],
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


def run(alone: Lab, script: str) -> str:
    with alone.shell("a") as shell:
        return shell.run(("bash", "-c", script), timeout_seconds=600).text


def state(alone: Lab) -> str:
    return run(
        alone,
        f"cat {MOTD}; stat -c '%a %U' {MOTD}; dpkg-query -Wf '${{db:Status-Abbrev}} ${{Package}}\\n' | grep -c ^ii;"
        " find /etc/systemd/system -not -type d | sort;"
        # Without --all: of a timer whose file is gone systemd remembers the name until it next reads its units anew.
        " systemctl list-timers --no-legend | awk '{print $(NF-1)}' | sort",
    )


def test_puppet_within_a_change(alone: Lab, wanted: dict[str, Any]) -> None:
    before = state(alone)
    assert SERVICE.check(wanted) == ()
    assert "puppet is not installed yet" in SERVICE.consequence({}, wanted)
    _, outputs = SERVICE.create(wanted, print)
    assert run(alone, f"cat {MOTD}") == "Puppet sees to this file; change it in services/puppet."
    assert "puppet-apply.timer" in run(alone, "systemctl list-timers --no-legend")
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
    _other_service_leaves_it(alone, wanted)

    later = SERVICE.update("", wanted, changed, outputs, quiet)
    assert run(alone, f"cat {MOTD}") == "Puppet still sees to this file; change it in services/puppet."
    SERVICE.delete("", changed, later, quiet)
    assert state(alone) == before


def _other_service_leaves_it(alone: Lab, wanted: dict[str, Any]) -> None:
    reach = {key: wanted[key] for key in ("connection", "private_key", "generation")}
    files = {MOTD: {"content": "ours\n"}, "/etc/greeting": {"content": "ours\n"}}
    other = {**reach, "service": "greeting", "files": files}
    _, outputs = SERVICE.create(other, quiet)
    assert outputs["puppet"] == [MOTD]
    assert SERVICE.shouts(other, outputs, planned=True)
    assert run(alone, f"cat {MOTD} /etc/greeting").splitlines() == [
        "Puppet sees to this file; change it in services/puppet.",
        "ours",
    ]
    SERVICE.delete("", other, outputs, quiet)
    assert run(alone, f"cat {MOTD}; ls /etc/greeting || true").startswith("Puppet sees")


def test_the_machine_has_no_agent_that_would_ask_a_server(alone: Lab, wanted: dict[str, Any]) -> None:
    _, outputs = SERVICE.create(wanted, quiet)
    try:
        assert run(alone, "systemctl is-active puppet.service || true") != "active"
    finally:
        SERVICE.delete("", wanted, outputs, quiet)
