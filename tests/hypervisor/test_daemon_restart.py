"""A real libvirt daemon goes away and comes back. It is this test's own, in namespaces, with libvirt's test driver."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioners.hypervisor.virsh import Virsh, VirshFailed

LIBVIRTD = shutil.which("libvirtd", path="/usr/sbin:/usr/bin")
# All that libvirt keeps is empty and private in there, and so is the network: nothing of the computer's own is touched.
INSIDE = """
for each in /run/libvirt /var/lib/libvirt /etc/libvirt /var/cache/libvirt /var/log/libvirt; do
    if [ -d "$each" ]; then mount -t tmpfs none "$each"; fi
done
exec "$1" --config "$2/libvirtd.conf" --pid-file "$2/pid"
"""


class Daemon:
    """The daemon and its socket."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.socket = directory / "libvirt-sock"
        lines = (f'unix_sock_dir = "{directory}"', 'auth_unix_rw = "none"', 'log_outputs = "3:stderr"', "")
        (directory / "libvirtd.conf").write_text("\n".join(lines), encoding="utf-8")
        self.uri = f"test+unix:///default?socket={self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-euc", INSIDE, "sh", str(LIBVIRTD)]
        self.process = subprocess.Popen([*argv, str(self._directory)])

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("d"))
    daemon.start()
    yield daemon
    daemon.stop()


def test_a_daemon_that_is_started_again_answers_the_call_that_waited(daemon: Daemon) -> None:
    said: list[str] = []
    virsh = Virsh(uri=daemon.uri, say=said.append)
    assert virsh.state("test") == "running"
    daemon.stop()
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(virsh.state("test")))
    said.clear()
    asking.start()
    deadline = time.monotonic() + 30
    while not said and time.monotonic() < deadline:
        time.sleep(0.1)
    assert said
    assert answers == []
    daemon.start()
    asking.join(60)
    assert answers == ["running"]
    assert set(said) == {"libvirt's daemon is away; waiting for it"}


def test_a_daemon_that_stays_away_is_named(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Virsh(uri=daemon.uri).state("test") == "running"
    monkeypatch.setattr("provisioners.hypervisor.virsh._PATIENCE_SECONDS", 0)
    daemon.stop()
    with pytest.raises(VirshFailed, match="Start libvirtd, then run it again"):
        Virsh(uri=daemon.uri).run("list")
