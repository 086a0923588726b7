"""What a preview says of a change to a service: effect, interruption, commands, and the way back."""

from __future__ import annotations

import re

from provisioners.provider.kinds import UNKNOWN
from tests.changes.values import CONFIG, SECRET, SERVICE, UNIT_FILE, inputs, quiet, with_content
from tests.doubles.sshd import Machine


def test_a_restart_with_its_time_the_commands_and_the_way_back(machine: Machine) -> None:
    wanted = inputs(machine)
    SERVICE.create(wanted, quiet)
    assert SERVICE.plan(wanted, wanted) == ""
    changed = with_content(wanted, CONFIG, "port = 2\npassword=@@password of shop@@\n", mode="0640", group="adm")
    told = SERVICE.plan(
        wanted, {**changed, "checks": [{"name": "port", "command": ["grep", "-q", "port = 2", CONFIG]}]}
    )
    assert told.startswith("on m1: web: 1 file written. web.service is restarted, and does not answer")
    assert (
        "users: web.service on m1 is restarted: what it serves is away for that long (its last start took 0.4 s)"
        in told
    )
    assert f"$ grep -q port '{{}}'   # {{}} is the new {CONFIG}" in told
    assert "$ systemctl restart web.service" in told
    assert f"$ grep -q 'port = 2' '{CONFIG}'" in told
    assert re.search(r"the way back: bash .*/root/configs/web/\S*Z-[0-9a-f]{12} .*back-out.sh", told)
    assert SECRET not in told
    assert (machine.root / CONFIG.lstrip("/")).read_text().startswith("port = 1"), "it is only told"


def test_a_unit_that_cannot_reload_is_restarted_and_that_is_told(machine: Machine) -> None:
    wanted = inputs(machine, units={"web.service": {}}, reload={CONFIG: "web.service"})
    SERVICE.create(wanted, quiet)
    changed = with_content(wanted, CONFIG, "port = 3\n")
    assert "web.service takes its new configuration while it runs." in SERVICE.plan(wanted, changed)
    (machine.root / "etc/fake-unreloadable").mkdir()
    (machine.root / "etc/fake-unreloadable/web.service").touch()
    assert "web.service is restarted, and does not answer" in SERVICE.plan(wanted, changed)


def test_what_is_not_known_yet_or_cannot_be_reached_is_no_error(machine: Machine) -> None:
    wanted = inputs(machine)
    assert SERVICE.plan(wanted, with_content(wanted, UNIT_FILE, UNKNOWN)) == ""
    away = {**with_content(wanted, UNIT_FILE, "[Service]\n"), "connection": {**wanted["connection"], "port": 1}}
    assert SERVICE.plan(wanted, away).startswith("how it will be changed could not be asked: m1: no SSH")
