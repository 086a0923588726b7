"""Talks over the identity channel, with a machine that answers late, wrongly, twice, or not at all."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.__main__ import main
from provisioners.hypervisor.identity import IdentityFailed, ask, identity_message, socket_path
from provisioners.hypervisor.silent import Stalled
from provisioners.hypervisor.virsh import Virsh
from tests.hypervisor.conftest import FakeVirsh

IDENTITY = {
    "hostname": "db1",
    "domain": "shop.example",
    "hosts": [{"address": "10.20.0.31", "names": ["db1"]}],
    "authorized_keys": ["ssh-ed25519 AAAA"],
    "cards": {"control": {"mac": "52:54:00:AA:00:01", "address": "198.18.7.10", "prefix": 24.0}, "mirror": None},
}
UUID = "6b1f3b3e-52c5-5cf3-9d11-0a5d2a8ac6a1"


class Machine:
    """The machine's end: each line it gets goes through ``answer``, which returns lines to send, or None to hang up."""

    def __init__(self, path: Path, answer: Callable[[dict[str, Any]], list[bytes] | None]) -> None:
        self.path, self.answer, self.got = path, answer, list[dict[str, Any]]()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            with line, line.makefile("rb") as lines:
                for text in lines:
                    self.got.append(json.loads(text))
                    replies = self.answer(self.got[-1])
                    if replies is None:
                        break
                    for reply in replies:
                        line.sendall(reply)

    def close(self) -> None:
        """Be gone."""
        self._server.close()


@pytest.fixture
def machine(tmp_path: Path, virsh: FakeVirsh) -> Iterator[Callable[..., Machine]]:
    made: list[Machine] = []

    def start(answer: Callable[[dict[str, Any]], list[bytes] | None]) -> Machine:
        path = tmp_path / "channel"
        made.append(Machine(path, answer))
        channel = f"<channel><source path='{path}'/><target name='understudy.identity.0'/></channel>"
        xml = f"<domain><devices>{channel}</devices></domain>"
        virsh.answer({"domstate db1": "running", "dumpxml db1": xml})
        return made[-1]

    yield start
    for each in made:
        each.close()


def question(seconds: float = 5, said: list[str] | None = None) -> dict[str, Any]:
    say = said.append if said is not None else lambda _: None
    return ask(Virsh(), "db1", {"version": 1, "ping": True}, seconds=seconds, say=say, doing="waking")


def ok(request: dict[str, Any], **more: object) -> bytes:
    return json.dumps({"ok": True, "id": request["id"], **more}).encode() + b"\n"


def test_the_answer_to_an_older_question_is_passed_over(machine: Callable[..., Machine]) -> None:
    machine(lambda request: [b'{"ok":true,"id":"old","ready":false}\nnoise\n[1]\n', ok(request, ready=True)])
    assert question()["ready"] is True


def test_an_answer_in_pieces_is_put_together(machine: Callable[..., Machine]) -> None:
    machine(lambda request: [ok(request)[:5], ok(request)[5:-1], b"\n"])
    assert question()["ok"] is True


def test_after_a_line_that_went_dead_it_is_asked_again(machine: Callable[..., Machine]) -> None:
    asked: list[str] = []

    def answer(request: dict[str, Any]) -> list[bytes] | None:
        asked.append(request["id"])
        return None if len(asked) < 3 else [ok(request)]

    machine(answer)
    assert question()["ok"] is True
    assert len(set(asked)) == 3


def test_a_refusal_is_told_in_the_machines_words(machine: Callable[..., Machine]) -> None:
    machine(
        lambda request: [json.dumps({"ok": False, "id": request["id"], "error": "hosts: not a list"}).encode() + b"\n"]
    )
    with pytest.raises(IdentityFailed, match="db1: it refuses what it was sent: hosts: not a list"):
        question()


def test_silence_is_shown_and_ends(machine: Callable[..., Machine]) -> None:
    machine(lambda _: [])
    said: list[str] = []
    with pytest.raises(IdentityFailed, match=r"no answer in 3 s \(waking\).*virsh console db1"):
        question(3, said)
    assert said[0] == "waking (2 s)"


def test_a_machine_that_was_halted_by_a_full_disk_is_said_to_be(
    machine: Callable[..., Machine], virsh: FakeVirsh
) -> None:
    machine(lambda _: None)
    virsh.answer({**json.loads(virsh.answers.read_text()), "domstate db1 --reason": "paused (I/O error)"})
    with pytest.raises(Stalled, match="could not write to its disk"):
        ask(Virsh(), "db1", {"version": 1}, seconds=30, say=print, doing="waking")


def test_a_machine_that_is_off_is_said_to_be_off(virsh: FakeVirsh) -> None:
    virsh.answer({"domstate db1": "shut off", "dumpxml db1": "<domain><devices/></domain>"})
    with pytest.raises(IdentityFailed, match="db1: it is shut off"):
        question()


def test_a_message_holds_what_must_be_fresh_and_what_must_stay() -> None:
    one, two = (
        identity_message(IDENTITY, private_key="k", public_key="p", domain_uuid=UUID, template=False) for _ in range(2)
    )
    assert one["machine_id"] == two["machine_id"] == UUID.replace("-", "")
    assert len(base64.b64decode(one["seed"])) == 512
    assert one["seed"] != two["seed"]
    assert one["boot_id"] != two["boot_id"]
    assert one["cards"] == {"control": {"mac": "52:54:00:aa:00:01", "address": "198.18.7.10", "prefix": 24}}
    assert json.dumps(one).count("\n") == 0


def test_the_time_is_that_of_the_sending_also_of_the_second(machine: Callable[..., Machine]) -> None:
    """A clone's clock is set to it, and in an isolated stage nobody sets it right later."""

    other: Machine = machine(lambda request: None if len(other.got) == 1 else [ok(request)])
    began = time.time()
    message = {"version": 1, "now": began - 60}
    ask(Virsh(), "db1", message, seconds=30, say=print, doing="telling")
    first, second = (float(each["now"]) for each in other.got)
    assert began - 0.001 <= first < second <= time.time()


def test_a_domain_without_the_channel_has_no_socket() -> None:
    assert (
        socket_path("<domain><devices><channel><target name='org.qemu.guest_agent.0'/></channel></devices></domain>")
        == ""
    )


def test_a_person_tells_it_the_same(
    machine: Callable[..., Machine],
    virsh: FakeVirsh,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = machine(lambda request: [json.dumps({"id": request["id"], "ok": True}).encode() + b"\n"])
    known = json.loads(virsh.answers.read_text())
    virsh.answer({**known, "domif-setlink db1 52:54:00:AA:00:01 up": ""})
    key = tmp_path / "host-key"
    key.write_text("private\n")
    key.with_suffix(".pub").write_text("ssh-ed25519 AAAA\n")
    call = ["introduce", "db1", "--uuid", UUID, "--host-key", str(key)]

    def tell(text: str) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return main(call)

    assert tell(json.dumps(IDENTITY)) == 0
    assert "db1 knows that it is db1" in capsys.readouterr().out
    wanted = identity_message(IDENTITY, private_key="private\n", public_key="ssh-ed25519 AAAA", domain_uuid=UUID)
    fresh = {"id", "boot_id", "seed", "now"}
    assert {name: value for name, value in other.got[0].items() if name not in fresh} == {
        name: value for name, value in wanted.items() if name not in fresh
    }
    for text, said in (
        ("no JSON", "no identity"),
        (json.dumps({**IDENTITY, "authorized_keys": ["TO FILL IN: your public key"]}), "still TO FILL IN"),
    ):
        assert tell(text) == 1
        assert said in capsys.readouterr().err
    key.unlink()
    assert tell(json.dumps(IDENTITY)) == 1
    assert "ssh-keygen -t ed25519" in capsys.readouterr().err
    assert len(other.got) == 1
