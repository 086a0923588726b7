"""Long commands survive a dropped connection, and are found again."""

from __future__ import annotations

import pytest

from provisioners.jobs import end_job, find_job, run_job
from provisioners.shell import CommandFailed, ConnectionLost, Shell
from tests.doubles.sshd import Machine

SLOW = ("bash", "-c", "echo start >>/srv/starts; for i in {1..20}; do echo line $i; sleep 0.25; done")


@pytest.fixture(autouse=True)
def connected(shell: Shell) -> None:
    """Connect again, should the test before have cut the connection."""
    shell.reconnect(10)
    shell.run(("mkdir", "-p", "/srv"))
    shell.run(("rm", "-f", "/srv/starts"))


def test_a_job_ends_and_says_how(shell: Shell) -> None:
    lines: list[str] = []
    argv = ("bash", "-c", 'echo "$SECRET" | wc -c; cat; echo "$1" >&2', "x", "$HOME ${HOME} $$\nlast")
    shell.put(b"from a file\n", "/srv/input")
    result = run_job(
        shell, "one", "k", argv, on_line=lines.append, environment={"SECRET": "a\n'b"}, stdin_file="/srv/input"
    )
    assert lines == ["5", "from a file", "$HOME ${HOME} $$", "last"]
    assert result.stdout.startswith(b"5\nfrom a file\n")
    assert (find_job(shell, "one").state, find_job(shell, "one").code) == ("ended", 0)
    end_job(shell, "one")
    assert find_job(shell, "one").state == "absent"


def test_a_failed_job_is_an_error_with_its_last_words_and_is_begun_anew(shell: Shell) -> None:
    for _ in range(2):
        with pytest.raises(CommandFailed, match="ended with 3: no space"):
            run_job(shell, "bad", "k", ("bash", "-c", "echo no space; exit 3"))


def test_a_job_survives_a_dropped_connection_and_is_followed_again(shell: Shell, machine: Machine) -> None:
    with pytest.raises(ConnectionLost):
        run_job(shell, "long", "k", SLOW, on_line=lambda _: machine.drop_sessions())
    shell.reconnect(10)
    assert find_job(shell, "long").state == "running"
    lines: list[str] = []
    run_job(shell, "long", "k", SLOW, on_line=lines.append)
    assert lines == [f"line {number}" for number in range(1, 21)]
    assert shell.get("/srv/starts") == b"start\n", "it was started once"
    run_job(shell, "long", "k", SLOW)
    assert shell.get("/srv/starts") == b"start\n", "what ended well is not done again"


def test_a_left_over_job_for_something_else_is_ended_first(shell: Shell, machine: Machine) -> None:
    argv = ("bash", "-c", "echo begun; sleep 4322; touch /srv/too-late")
    with pytest.raises(ConnectionLost):
        run_job(shell, "other", "old", argv, on_line=lambda _: machine.drop_sessions())
    shell.reconnect(10)
    run_job(shell, "other", "new", ("echo", "mine"))
    assert "4322" not in shell.run(("ps", "-e", "-o", "args")).text
    assert find_job(shell, "other").key == "new"


def test_a_job_whose_machine_was_restarted_is_begun_anew(shell: Shell) -> None:

    def kill(_: str) -> None:
        shell.run(("pkill", "-KILL", "-f", "[u]nderstudy-jobs/cut/body"))

    with pytest.raises(CommandFailed, match="died"):
        run_job(shell, "cut", "k", ("bash", "-c", "echo on; sleep 20"), on_line=kill)
    assert run_job(shell, "cut", "k", ("echo", "now")).stdout == b"now"


def test_a_job_that_takes_too_long_is_ended(shell: Shell) -> None:
    with pytest.raises(CommandFailed, match="ended with 124"):
        run_job(shell, "slow", "k", ("sleep", "20"), timeout_seconds=0.5)
