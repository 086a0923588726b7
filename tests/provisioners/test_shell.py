"""The shell against a real sshd: keys, commands, files, and a connection that breaks."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from model.connection import Connection
from model.errors import UnderstudyError
from provisioners import outcome
from provisioners.shell import (
    CommandFailed,
    ConnectionLost,
    Shell,
    Stopped,
    Unreachable,
    WrongHostKey,
    close_all,
    connect,
)
from provisioners.shell.dial import dial, dial_patiently
from provisioners.shell.pool import close_idle
from tests.doubles.sshd import Machine, free_port, keypair


def quiet(_: str) -> None:
    """Show nothing."""


def test_a_command_gets_its_arguments_and_input_and_gives_its_output(shell: Shell) -> None:
    result = shell.run(("bash", "-c", 'cat; printf "%s" "$1" >&2', "x", "it's $HOME; `id`"), stdin=b"\0\xff in")
    assert (result.stdout, result.stderr, result.code) == (b"\0\xff in", b"it's $HOME; `id`", 0)


def test_much_goes_through_both_ways_at_once(shell: Shell) -> None:
    sent = bytes(range(256)) * 8192
    result = shell.run(("tee", "/dev/stderr"), stdin=(sent[at : at + 50_000] for at in range(0, len(sent), 50_000)))
    assert result.stdout == sent
    assert result.stderr == sent[-65536:]


def test_a_failure_names_the_machine_the_command_and_its_last_words(shell: Shell) -> None:
    with pytest.raises(CommandFailed) as caught:
        shell.run(("bash", "-c", "echo so it is >&2; exit 3", "understudy-test", "/etc/a"))
    assert str(caught.value) == "m1: `understudy-test /etc/a` ended with 3: so it is"
    assert shell.run(("false",), check=False).code == 1


def test_a_command_that_a_signal_ends_is_told_from_a_lost_connection(shell: Shell) -> None:
    with pytest.raises(CommandFailed, match="signal"):
        shell.stream(("bash", "-c", "kill -9 $$"), lambda _: None)
    assert shell.alive


def test_the_machine_itself_ends_a_command_that_takes_too_long(shell: Shell, machine: Machine) -> None:
    with pytest.raises(CommandFailed, match=r"`sleep 4321` was ended after 0.3 s"):
        shell.run(("sleep", "4321"), timeout_seconds=0.3)
    assert "4321" not in shell.run(("ps", "-e", "-o", "args")).text


def test_output_comes_while_the_command_runs(shell: Shell, machine: Machine) -> None:
    lines: list[str] = []

    def heard(line: str) -> None:
        lines.append(line)
        (machine.root / "tmp" / "heard").touch()

    waiting = "echo one; until [ -e /tmp/heard ]; do sleep 0.1; done; printf 'two\\nthree'"
    shell.stream_lines(("bash", "-c", waiting), heard, timeout_seconds=60)
    assert lines == ["one", "two", "three"]


def test_an_error_in_what_is_sent_is_raised_and_ends_the_command(shell: Shell) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("the disk here is gone")

    with pytest.raises(RuntimeError, match="the disk here is gone"):
        shell.run(("cat",), stdin=broken())


def test_large_files_arrive_whole_or_not_at_all(shell: Shell, machine: Machine) -> None:
    shell.put_stream((b"x" * 100_000 for _ in range(30)), "/srv/deep/er/big", mode="0640", group="adm")
    path = machine.root / "srv/deep/er/big"
    assert path.stat().st_size == 3_000_000
    assert f"{path.stat().st_mode:o}" == "100640"

    def cut() -> Iterator[bytes]:
        yield b"y"
        raise OSError("cut")

    with pytest.raises(OSError, match="cut"):
        shell.put_stream(cut(), "/srv/deep/er/big")
    assert shell.get("/srv/deep/er/big") == b"x" * 3_000_000


def test_one_connection_serves_many_threads(machine: Machine) -> None:
    close_all()
    before = machine.log().count("Accepted publickey")
    numbers: list[str] = []

    def ask(number: int) -> None:
        with connect(machine.connection, machine.private_key, quiet, 10) as own:
            numbers.append(own.run(("bash", "-c", "sleep 0.05; echo $1", "x", str(number))).text)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers, key=int) == [str(number) for number in range(30)]
    assert machine.log().count("Accepted publickey") - before == 1


def test_an_idle_connection_is_ended_and_one_in_use_is_not(machine: Machine) -> None:
    with connect(machine.connection, machine.private_key, quiet, 10) as used:
        close_idle(0)
        assert used.alive
    close_idle(0)
    assert not used.alive


def test_a_broken_connection_is_an_error_of_its_own_and_the_next_shell_works(shell: Shell, machine: Machine) -> None:
    threading.Timer(0.3, machine.drop_sessions).start()
    with pytest.raises(ConnectionLost, match="m1: the SSH connection was lost"):
        shell.run(("sleep", "20"))
    with pytest.raises(ConnectionLost):
        shell.run(("id",))
    shell.reconnect(10)
    assert shell.run(("id", "-u")).text == "0"


class Cable:
    """Between controller and machine. Cut, it is silent; what is then sent meets a machine that knows of nothing."""

    def __init__(self, port: int) -> None:
        self._target, self._cut = port, threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """The machine has lost its power, and is back: earlier connections are not known any more."""
        self._cut.set()

    def _serve(self) -> None:
        while True:
            near, _ = self._server.accept()
            far, old = socket.create_connection(("127.0.0.1", self._target)), not self._cut.is_set()
            threading.Thread(target=self._pass_on, args=(near, far, old), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(far, near, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, mortal: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if mortal and self._cut.is_set():
                    source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
                    source.close()
                    return
                target.sendall(data)


def test_a_connection_that_lay_idle_while_the_machine_was_restarted_is_made_again(machine: Machine) -> None:
    cable = Cable(machine.port)
    at = replace(machine.connection, port=cable.port)
    with connect(at, machine.private_key, quiet) as shell:
        assert shell.run(("echo", "before")).text == "before"
    cable.cut()
    with connect(at, machine.private_key, quiet) as shell:
        assert shell.alive  # as far as anybody here can know
        assert shell.run(("echo", "after")).text == "after"


def test_a_connection_that_is_lost_in_use_is_not_made_again_behind_the_users_back(machine: Machine) -> None:
    cable = Cable(machine.port)
    with connect(replace(machine.connection, port=cable.port), machine.private_key, quiet) as shell:
        assert shell.run(("echo", "before")).text == "before"
        cable.cut()
        with pytest.raises(ConnectionLost):
            shell.run(("echo", "after"))


def test_another_host_key_is_refused_with_both_fingerprints(machine: Machine) -> None:
    wrong = replace(machine.connection, host_key=keypair()[1])
    began = time.monotonic()
    with (
        pytest.raises(WrongHostKey, match=r"m1: host key SHA256:\S+ \(ssh-ed25519\).*wanted SHA256:"),
        connect(wrong, machine.private_key, quiet, 60),
    ):
        pass
    assert time.monotonic() - began < 5, "a wrong key is not waited for"


def test_without_a_host_key_only_known_hosts_counts(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    unknown = replace(machine.connection, host_key="")
    with (
        pytest.raises(WrongHostKey, match="not the one in your known_hosts"),
        connect(unknown, machine.private_key, quiet, 0),
    ):
        pass
    known = tmp_path / ".ssh" / "known_hosts"
    assert not known.exists(), "nothing is accepted on first use"
    known.write_text(f"[127.0.0.1]:{machine.port} {machine.host_key}\n")
    with connect(unknown, machine.private_key, quiet, 0) as own:
        assert own.run(("id", "-u")).text == "0"
    close_all()


def test_the_users_own_key_jump_host_and_configuration_are_used(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    folder = tmp_path / ".ssh"
    folder.mkdir()
    (folder / "mine").write_text(machine.private_key)
    with Machine("behind", "AllowUsers root@127.0.0.1") as behind:
        behind.accept(machine)
        (folder / "known_hosts").write_text(
            f"[127.0.0.1]:{machine.port} {machine.host_key}\n[127.0.0.1]:{behind.port} {behind.host_key}\n"
        )
        (folder / "config").write_text(
            f"Host *\n  IdentityFile {folder}/mine\nHost old-db\n  HostName 127.0.0.1\n  Port {behind.port}\n"
            f"  ProxyJump root@127.0.0.1:{machine.port}\n"
        )
        connection = Connection(name="db", address="old-db")
        with connect(connection, "", quiet, 0) as own:
            assert own.run(("id", "-u")).text == "0"
        explicit = replace(behind.connection, host_key="", jump=f"root@127.0.0.1:{machine.port}")
        with connect(explicit, "", quiet, 0) as own:
            assert own.run(("id", "-u")).text == "0"
        machine.stop()
        try:
            close_all()
            with pytest.raises(Unreachable), connect(explicit, "", quiet, 0):
                pass
        finally:
            machine.start()
    close_all()


def test_a_jump_host_whose_key_is_given_is_that_one_or_none(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519").write_text(machine.private_key)
    through = replace(machine.connection, jump=f"root@127.0.0.1:{machine.port}", jump_key=machine.host_key)
    with connect(through, machine.private_key, quiet, 5) as own:
        assert own.run(("id", "-u")).text == "0"
    for key in ("", keypair()[1]):  # nobody knows it, or it is another's
        with pytest.raises(WrongHostKey), connect(replace(through, jump_key=key), machine.private_key, quiet, 5):
            pass
    close_all()


def test_of_a_machine_on_another_computer_that_goes_away_the_error_names_the_computer(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to do is then another thing than with a machine that does not answer; and where it answers, it says so."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519").write_text(machine.private_key)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    host = f"root@127.0.0.1:{machine.port}"
    gone = r"`\./run understudy host lost rack1 -s STACK`"
    with Machine("db1") as behind:
        way = replace(behind.connection, jump=host, jump_key=machine.host_key)
        way = replace(way, domain=f"qemu+ssh://{host}/system?as=rack1#stage-db1")
        with connect(way, behind.private_key, quiet, 5) as shell:
            threading.Timer(0.3, machine.drop_sessions).start()
            with pytest.raises(ConnectionLost, match=rf"^db1: .*lost during a command, .* its host rack1.*{gone}"):
                shell.run(("sleep", "30"))
            close_all()
        machine.stop()
        try:
            off = rf"^db1: its host rack1 does not answer: no SSH at 127.0.0.1 port {machine.port} .*`ssh -p .*{gone}"
            with pytest.raises(Unreachable, match=off), connect(way, behind.private_key, quiet, 0):
                pass
        finally:
            machine.start()
        behind.stop()
        with pytest.raises(Unreachable, match=r"^db1: no SSH at 127.0.0.1"), connect(way, behind.private_key, quiet, 0):
            pass
    close_all()


def test_another_user_works_through_sudo_that_never_asks(machine: Machine) -> None:
    connection = replace(machine.connection, user="admin", sudo=True)
    with connect(connection, machine.private_key, quiet, 5) as own:
        own.put(b"of root\n", "/etc/by-admin", mode="0600")
        assert (machine.root / "etc/by-admin").stat().st_uid == 0
        assert "timeout" in (machine.root / "tmp/sudo-calls").read_text()


def test_a_refused_key_is_told_at_once(machine: Machine) -> None:
    with pytest.raises(Unreachable, match="refuses root"), connect(machine.connection, keypair()[0], quiet, 60):
        pass


def test_a_key_that_is_none_is_told(machine: Machine) -> None:
    with pytest.raises(UnderstudyError, match="cannot be read"), connect(machine.connection, "no key", quiet, 0):
        pass


def test_a_machine_that_boots_is_waited_for_with_progress() -> None:
    with Machine("slow") as slow:
        slow.stop()
        shown: list[str] = []
        threading.Timer(0.7, slow.start).start()
        with connect(slow.connection, slow.private_key, shown.append, 20) as own:
            assert own.run(("id", "-u")).text == "0"
        assert "waiting for slow's SSH" in shown[0]


def test_a_machine_that_never_answers_is_an_error_that_says_what_to_do() -> None:
    nowhere = Connection(name="db9", address="127.0.0.1", port=free_port(), host_key=keypair()[1])
    with (
        pytest.raises(Unreachable, match=r"db9: no SSH at 127.0.0.1 port .* Start it"),
        connect(nowhere, keypair()[0], quiet, 0.5),
    ):
        pass


def test_the_resources_of_a_dead_machine_do_not_wait_one_after_the_other() -> None:
    nowhere = Connection(name="db8", address="127.0.0.1", port=free_port(), host_key=keypair()[1])
    key = keypair()[0]
    began = time.monotonic()
    for _ in range(5):
        with pytest.raises(Unreachable, match="db8"), connect(nowhere, key, quiet, 3.0):
            pass
    assert time.monotonic() - began < 12, "one waits, for 3 s"


def test_a_request_to_stop_ends_waiting_and_long_commands(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    monkeypatch.setattr(outcome, "_STOP", stop)
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped, match="goes on from here"):
        shell.stream(("sleep", "30"), lambda _: None)
    with pytest.raises(Stopped):
        outcome.pause(30, "m1")
    assert time.monotonic() - began < 20
    assert shell.run(("echo", "short ones still end")).code == 0


class Way:
    """A way to a machine that is cut after so many bytes for it, the first time.

    Attributes:
        sent: how many bytes have been led there, each time that somebody came by.
    """

    def __init__(self, machine: Machine, door: socket.socket, most: int | None) -> None:
        self.sent: list[int] = []
        self._machine, self._door, self._most = machine, door, most

    def lead(self) -> None:
        """Lead all who come by, one after the other, until the door is shut."""
        with suppress(OSError):
            while True:
                self._lead(self._door.accept()[0], None if self.sent else self._most)

    def _lead(self, line: socket.socket, most: int | None) -> None:
        self.sent.append(0)
        there = (self._machine.connection.address, self._machine.connection.port)
        with line, socket.create_connection(there) as far, suppress(ConnectionError):
            while self.sent[-1] != most:
                for end in select.select([line, far], [], [])[0]:
                    told = end.recv(65536 if end is far or most is None else most - self.sent[-1])
                    if not told:
                        return
                    (line if end is far else far).sendall(told)
                    self.sent[-1] += len(told) if end is line else 0


@contextmanager
def led(machine: Machine, most: int | None = None) -> Iterator[tuple[Way, Connection]]:
    with socket.create_server(("127.0.0.1", 0)) as door:
        way = Way(machine, door, most)
        leading = threading.Thread(target=way.lead)
        leading.start()
        yield way, replace(machine.connection, address="127.0.0.1", port=door.getsockname()[1])
        door.shutdown(socket.SHUT_RDWR)
        leading.join()


@pytest.mark.parametrize("before_it_is_in", [0, 1, 60, 300, 600, 1200])
def test_wherever_a_connection_is_cut_while_it_is_made_it_is_made_anew(machine: Machine, before_it_is_in: int) -> None:
    """Also in the middle of the login, which then was not refused."""
    with led(machine) as (way, through), closing(dial(through, machine.private_key)):
        whole = way.sent[0]
    with (
        led(machine, whole - before_it_is_in) as (way, through),
        closing(dial_patiently(through, machine.private_key, quiet, outcome.Deadline(30))) as link,
    ):
        assert link.alive
    assert way.sent[0] == whole - before_it_is_in
    assert len(way.sent) == 2
