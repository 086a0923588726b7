"""Many commands over one session, against a real sshd: each has its own words, input, outputs, code and end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import hypothesis
import pytest
from hypothesis import strategies as st

from provisioners.commands import guest_script
from provisioners.shell import CommandFailed, ConnectionLost, Shell, connect
from provisioners.shell.pool import _SESSIONS
from provisioners.shell.talk import _Until
from tests.doubles.sshd import Machine

ODD = ("", " ", "\n", "a\n", "\\", "ä€\U0001f389", "'\"$HOME`id`", "-n", "\x01\x7f\t", "x" * 90_000)


@pytest.fixture
def steady(shell: Shell) -> Iterator[Shell]:
    """A shell with one session for all that it runs."""
    with shell.steady() as through:
        yield through


def sessions(machine: Machine) -> int:
    """Return how many sessions there have been."""
    return machine.log().count("Starting session: command")


def talks(machine: Machine) -> list[str]:
    """Return the processes of the machine's that take commands over one session."""
    argv = ("pgrep", "--full", "--ns", str(machine.sessions()[0]), "--nslist", "pid", "understudy-talk")
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split()


def end_talks(machine: Machine) -> None:
    """Kill them."""
    for each in talks(machine):
        os.kill(int(each), signal.SIGKILL)


def asked(script: str, given: str) -> bytes:
    """Return what a controller sends to have a script run."""
    words = [word.encode() for word in ("bash", "-c", script)]
    lengths = " ".join(str(len(each)) for each in (given.encode(), *words))
    return b"".join((f"9 mark {lengths}\n".encode(), *words, given.encode()))


def test_each_command_has_its_own_words_and_input_and_all_take_one_session(machine: Machine, steady: Shell) -> None:
    count = sessions(machine)
    told = steady.run(("bash", "-c", 'printf "<%s>" "$@"', "x", *ODD))
    assert told.stdout.decode() == "".join(f"<{word}>" for word in ODD)
    for given in ODD:
        told = steady.run(("bash", "-c", "cat; printf 'an error' >&2; exit 3"), stdin=given.encode(), check=False)
        assert (told.stdout, told.stderr, told.code) == (given.encode(), b"an error", 3)
    assert steady.run(("cat",)).stdout == b"", "what comes after a command is not its input"
    assert sessions(machine) == count + 1


def test_another_locale_counts_bytes_too(machine: Machine) -> None:
    """The script of the session itself, as a machine runs it whose default is a language with letters of many bytes."""
    (machine.root / "tmp/given").write_bytes(asked("cat; echo $LC_ALL", "ä€"))
    argv = ("env", "LC_ALL=C.UTF-8", "bash", "-c", 'exec bash -c "$1" </tmp/given', "x", guest_script("talk"))
    assert machine.inside(*argv) == "ä€C.UTF-8\n\nmark 0\n\nmark\n"


@pytest.mark.parametrize("missing", range(1, 30, 7))
def test_a_command_that_did_not_arrive_whole_is_not_run(machine: Machine, missing: int) -> None:
    (machine.root / "tmp/given").write_bytes(asked("cat >/tmp/was-run", "input")[:-missing])
    machine.inside("bash", "-c", 'exec bash -c "$1" </tmp/given', "x", guest_script("talk"), code=None)
    assert not (machine.root / "tmp/was-run").exists()


def test_bytes_come_as_they_are_and_much_of_them(machine: Machine, steady: Shell) -> None:
    every = bytes(range(256)) * 12_000
    (machine.root / "tmp/every").write_bytes(every)
    told = steady.run(("bash", "-c", "cat /tmp/every >&2; cat /tmp/every; cat /tmp/every >&2"))
    same = told.stdout == every, told.stderr == every[-65536:]  # a difference of megabytes would take pytest an hour
    assert same == (True, True)
    assert steady.run(("true",)).stdout == b""


@hypothesis.given(
    st.lists(st.binary(max_size=9).map(lambda some: some.translate(bytes(b"ab\n"[n % 3] for n in range(256)))))
)
@hypothesis.example([b"aaaaa\n", b"a\n"])
def test_of_the_output_and_its_end_it_does_not_matter_how_it_was_cut(pieces: list[bytes]) -> None:
    end, whole = b"\na\n", b"".join(pieces)
    kept, every = _Until(end, 4), _Until(end)
    for piece in pieces:
        kept.take(piece)
        every.take(piece)
    before, _, after = whole.partition(end)
    assert kept.found == every.found == (end in whole)
    assert (every.before, every.after) == (before, after)
    assert (kept.before, kept.after) == (before[-4:], after)


def test_the_machine_itself_ends_what_takes_too_long_and_the_next_runs(machine: Machine, steady: Shell) -> None:
    count = sessions(machine)
    with pytest.raises(CommandFailed, match=r"`sleep 4322` was ended after 0.3 s"):
        steady.run(("sleep", "4322"), timeout_seconds=0.3)
    assert "4322" not in steady.run(("ps", "-e", "-o", "args")).text
    assert sessions(machine) == count + 1


def test_a_failure_names_the_command_and_its_last_words(steady: Shell) -> None:
    with pytest.raises(CommandFailed) as caught:
        steady.run(("bash", "-c", "echo so it is >&2; exit 3", "understudy-test", "/etc/a"))
    assert str(caught.value) == "m1: `understudy-test /etc/a` ended with 3: so it is"


def test_what_cannot_share_a_session_gets_its_own(machine: Machine, steady: Shell) -> None:
    assert steady.run(("cat",), stdin=b"\0one").stdout == b"\0one"
    assert steady.run(("cat",), stdin=(b"%d" % n for n in range(3))).stdout == b"012"
    assert steady.run(("wc", "-c"), stdin=b"x" * 300_000).text == "300000"
    steady.put(b"\0two", "/srv/two")
    assert steady.get("/srv/two") == b"\0two"
    assert not steady.run(("true",)).code


def test_as_many_as_a_machine_takes_at_once_do_not_wait_for_each_other(machine: Machine) -> None:
    """Each holds a session, and needs another in between."""
    done: list[str] = []
    together = threading.Barrier(_SESSIONS)

    def work() -> None:
        with connect(machine.connection, machine.private_key, lambda _: None, 10) as own, own.steady() as through:
            through.run(("true",))
            together.wait(60)
            through.put_stream((b"x",), f"/srv/many/{threading.get_ident()}")
            done.append(through.run(("echo", "done")).text)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(_SESSIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == ["done"] * _SESSIONS


def test_a_session_that_somebody_ends_is_a_signal_and_the_next_command_runs(machine: Machine, steady: Shell) -> None:
    assert steady.run(("echo", "one")).text == "one"
    threading.Timer(0.3, end_talks, (machine,)).start()
    with pytest.raises(CommandFailed, match="signal"):
        steady.run(("sleep", "2"))
    assert steady.alive
    assert steady.run(("echo", "two")).text == "two"


def test_a_broken_connection_is_an_error_of_its_own_and_leaves_nothing(machine: Machine, shell: Shell) -> None:
    with shell.steady() as through:
        through.run(("true",))
        threading.Timer(0.3, machine.drop_sessions).start()
        with pytest.raises(ConnectionLost, match="m1: the SSH connection was lost"):
            through.run(("sleep", "2"))
        with pytest.raises(ConnectionLost):
            through.run(("id",))
        through.reconnect(10)
        assert through.run(("id", "-u")).text == "0"
        machine.drop_sessions()
        with pytest.raises(ConnectionLost):
            through.run(("touch", "/tmp/never"))
    shell.reconnect(10)
    shell.run(("true",))
    until = time.monotonic() + 20
    while talks(machine):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not (machine.root / "tmp/never").exists()


def test_a_connection_that_breaks_while_something_is_sent_is_that_error_too(machine: Machine, steady: Shell) -> None:
    steady.run(("true",))
    assert steady._way._link
    transport = steady._way._link._client.get_transport()
    assert transport
    transport.sock.shutdown(socket.SHUT_WR)  # paramiko's own thread has not noticed when the next command is sent
    with pytest.raises(ConnectionLost, match="m1: the SSH connection was lost"):
        steady.run(("true",))


def test_through_sudo(machine: Machine) -> None:
    connection = replace(machine.connection, user="admin", sudo=True)
    with connect(connection, machine.private_key, lambda _: None, 10) as own, own.steady() as through:
        assert through.run(("id", "-u")).text == "0"
        assert through.run(("id", "-u")).text == "0"
