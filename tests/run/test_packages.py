"""Debian packages for the tests: while they are installed no service starts, also where ./run is killed meanwhile."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.run.test_toolchain import wait_for

if TYPE_CHECKING:
    from tests.run.conftest import Clone

# Stands for apt-get and dpkg: says whether services may start, and lasts as long as FAKE_APT_SECONDS says.
FAKE_APT = """#!/bin/bash
echo "${0##*/} $* $(ls NO_START NO_CLUSTER 2>/dev/null | wc -l)" >>"$FAKE_LOG"
sleep "${FAKE_APT_SECONDS:-0}"
exit "${FAKE_APT_EXIT:-0}"
"""


@pytest.fixture
def quiet(clone: Clone) -> Clone:
    """A clone whose tests want a package, which is installed in folders of its own."""
    (clone.root / "toolchain/debian-packages-test.txt").write_text("one no-such-program\n")
    script = clone.root / "toolchain/packages.sh"
    text = script.read_text()
    for name in ("NO_START", "NO_CLUSTER"):
        text = re.sub(f"(?m)^{name}=.*", f"{name}={clone.root.parent}/etc/{name}", text)
    (clone.root.parent / "etc").mkdir()
    script.write_text(text.replace("is_there sshd", "is_there no-sshd").replace("is_there haproxy", "is_there sh"))
    for name in ("apt-get", "dpkg"):
        clone.program(name, re.sub("NO_[A-Z]+", rf"{clone.root.parent}/etc/\g<0>", FAKE_APT))
    clone.program("id", "#!/bin/sh\necho 0\n")
    clone.program("systemctl", '#!/bin/sh\necho "systemctl $*" >>"$FAKE_LOG"\n')
    return clone


def forbidden(clone: Clone) -> list[str]:
    return sorted(path.name for path in (clone.root.parent / "etc").iterdir())


def asked_of_dpkg(clone: Clone) -> list[str]:
    return [call for call in clone.called() if call.startswith(("dpkg", "systemctl"))]


@pytest.fixture
def killed(quiet: Clone) -> Clone:
    cut = quiet.start("pytest", FAKE_APT_SECONDS="60")
    wait_for(lambda: [call for call in quiet.called() if call.startswith("apt-get") and call.endswith(" 2")])
    os.killpg(cut.pid, signal.SIGKILL)
    cut.communicate()
    assert forbidden(quiet) == ["NO_CLUSTER", "NO_START"]
    return quiet


def test_an_installation_that_was_killed_is_finished_by_the_next_run_before_services_may_start(killed: Clone) -> None:
    done = killed.run("true")
    assert (done.returncode, forbidden(killed)) == (0, []), done.stderr
    assert "a ./run was killed while it installed Debian packages; finishing that" in done.stderr
    assert asked_of_dpkg(killed) == ["dpkg --configure -a 2"]
    assert "packages" not in killed.run("true").stderr


def test_what_was_not_there_before_a_killed_installation_stays_off(killed: Clone) -> None:
    killed.bash("runs_systemd() { true; }; finish_quiet_packages")
    assert asked_of_dpkg(killed)[1:] == ["systemctl disable ssh.service", "systemctl disable ssh.socket"]


def test_what_dpkg_cannot_finish_is_tried_again_by_the_next_run(killed: Clone) -> None:
    done = killed.run("true", FAKE_APT_EXIT="1")
    assert (done.returncode, forbidden(killed)) == (0, ["NO_CLUSTER", "NO_START"]), done.stderr
    assert "As root, type: dpkg --configure -a; then ./run true" in done.stderr
    killed.run("true")
    assert forbidden(killed) == []


def test_without_root_a_killed_installation_is_told(killed: Clone) -> None:
    done = killed.bash("can_be_root() { false; }; finish_quiet_packages")
    assert (done.returncode, "As root, type: ./run true" in done.stderr) == (0, True)


def test_an_installation_that_goes_on_is_left_to_who_began_it(quiet: Clone) -> None:
    first = quiet.start("pytest", "--version", FAKE_APT_SECONDS="2")
    wait_for(lambda: "NO_CLUSTER" in forbidden(quiet))
    second = quiet.run("true")
    first.communicate()
    assert "waiting for it" in second.stderr
    assert (first.returncode, second.returncode, forbidden(quiet), asked_of_dpkg(quiet)) == (0, 0, [], [])


def test_a_policy_of_the_users_own_stays(quiet: Clone) -> None:
    own = quiet.root.parent / "etc/NO_START"
    own.write_text("#!/bin/sh\nexit 101\n")
    assert quiet.run("pytest", "--version").returncode == 0
    assert "killed" not in quiet.run("true").stderr
    assert forbidden(quiet) == ["NO_START"]


def test_a_dpkg_that_was_interrupted_is_finished_where_apt_refuses(quiet: Clone) -> None:
    quiet.program("apt-get", '#!/bin/bash\n[ "$1" = update ] || grep -q ^dpkg "$FAKE_LOG" || exit 100\n')
    done = quiet.run("pytest", "--version")
    assert (done.returncode, asked_of_dpkg(quiet)) == (0, ["dpkg --configure -a 2"]), done.stderr
