"""No two controllers change one machine: here they are two processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from model.errors import UnderstudyError
from provisioners import machine_lock as module
from provisioners.machine_lock import machine_lock
from provisioners.shell import ConnectionLost, Shell, connect
from tests.doubles.sshd import Machine

OTHER = """
import json, sys, time
from model.connection import connection_of
from provisioners.machine_lock import machine_lock
from provisioners.shell import connect
given = json.load(sys.stdin)
with connect(connection_of(given["connection"]), given["key"], print, 10) as shell:
    with machine_lock(shell, "a long change"):
        print("held", flush=True)
        time.sleep(60)
"""


@pytest.fixture(autouse=True)
def no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Release at once."""
    monkeypatch.setattr(module, "_LINGER_SECONDS", 0.0)


@contextmanager
def another_controller(machine: Machine) -> Iterator[subprocess.Popen[str]]:
    """Hold the machine in another process."""
    import json

    given = json.dumps({"connection": machine.connection.values(), "key": machine.private_key})
    process = subprocess.Popen(
        (sys.executable, "-c", OTHER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(given)
    process.stdin.close()
    while process.stdout.readline().strip() != "held":
        assert process.poll() is None
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_second_controller_waits_and_is_told_who_the_first_is(shell: Shell, machine: Machine) -> None:
    shown: list[str] = []
    with another_controller(machine) as other, connect(machine.connection, machine.private_key, shown.append, 5) as own:
        with (
            pytest.raises(UnderstudyError, match=f"process {other.pid} since .*, for a long change"),
            machine_lock(own, "x", 1.0),
        ):
            pass
        assert any(f"process {other.pid}" in line and "waiting" in line for line in shown)
        other.send_signal(signal.SIGKILL)
        with machine_lock(own, "mine", 10):
            assert "for mine" in (machine.root / "run/understudy.lock").read_text()


def test_threads_of_one_controller_share_it(shell: Shell) -> None:
    inside = threading.Barrier(3, timeout=10)

    def change() -> None:
        with machine_lock(shell, "together", 5):
            inside.wait()

    threads = [threading.Thread(target=change) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait()
    for thread in threads:
        thread.join()


def test_it_is_free_again_for_others_soon_after_its_last_user(shell: Shell, machine: Machine) -> None:
    with machine_lock(shell, "short", 5):
        pass
    deadline = time.monotonic() + 5
    while (machine.root / "run/understudy.lock").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_whoever_loses_it_does_not_go_on(shell: Shell, machine: Machine) -> None:
    with machine_lock(shell, "doomed", 5):
        holders = subprocess.run(
            ("pgrep", "--full", "--ns", str(machine.sessions()[0]), "--nslist", "pid", "understudy-lock"),
            capture_output=True,
            text=True,
            check=True,
        )
        os.kill(int(holders.stdout.split()[-1]), signal.SIGKILL)
        with pytest.raises(ConnectionLost):
            shell.run(("sleep", "20"))
    shell.reconnect(5)
    with machine_lock(shell, "again", 5):
        assert shell.run(("id", "-u")).text == "0"
