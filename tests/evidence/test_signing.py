"""Records signed and verified by the real `ssh-keygen`, and the files that hold them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.errors import UnderstudyError
from model.evidence.chain import file_name
from provisioners import evidence_log
from provisioners.signing import find_signer
from tests.doubles.evidence import allow, make_key, make_signer, put

ROOT = Path(__file__).parents[2]


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the project of a user without agent, keys and Git's settings; the home is beside it."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    project = tmp_path / "project"
    project.mkdir()
    return project


@pytest.fixture
def agent(nobody: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the socket of an agent of its own."""
    socket = tmp_path / "agent"
    process = subprocess.Popen(("ssh-agent", "-D", "-a", socket), stdout=subprocess.DEVNULL)
    while not socket.exists():
        time.sleep(0.02)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    yield socket
    process.terminate()
    process.wait()


def test_two_people_sign_in_turn(tmp_path: Path) -> None:
    anna, ben = make_signer(tmp_path, "anna@shop.example"), make_signer(tmp_path, "ben")
    for number in range(3):
        put(tmp_path, "stage", (anna, ben)[number % 2], "word", {"number": number})
    log = evidence_log.read(tmp_path, "stage")
    assert log.broken is None
    assert [record.who for record in log.records] == ["anna@shop.example", "ben", "anna@shop.example"]


def test_any_damage_is_found_by_the_real_verifier_too(tmp_path: Path) -> None:
    anna = make_signer(tmp_path, "anna")
    for number in range(2):
        put(tmp_path, "stage", anna, "word", {"number": number})
    path = tmp_path / file_name("stage")
    data = path.read_bytes()
    second = data.index(b"\n") + 1
    for place in range(second, len(data), 11):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        found = evidence_log.read(tmp_path, "stage").broken
        assert found is not None
        assert found.n == 2
        with pytest.raises(UnderstudyError, match="record 2"):
            put(tmp_path, "stage", anna, "word", {})


def test_a_key_that_is_taken_off_the_list_and_one_that_ran_out(tmp_path: Path) -> None:
    anna = make_signer(tmp_path, "anna")
    put(tmp_path, "stage", anna, "word", {})
    signers = tmp_path / "evidence/allowed_signers"
    text = signers.read_text()
    signers.write_text(text.replace("namespaces", 'valid-before="20261126",namespaces'))
    assert evidence_log.read(tmp_path, "stage").broken is None
    signers.write_text(text.replace("namespaces", 'valid-before="20261124",namespaces'))
    found = evidence_log.read(tmp_path, "stage").broken
    assert found is not None
    assert "does not allow anna" in found.why
    signers.write_text(text.replace("understudy-evidence", "git"))
    assert evidence_log.read(tmp_path, "stage").broken is not None
    signers.unlink()
    found = evidence_log.read(tmp_path, "stage").broken
    assert found is not None
    assert "nobody is allowed" in found.why


def test_which_key_it_is(nobody: Path) -> None:
    home = nobody.parent / "home"
    with pytest.raises(UnderstudyError, match="ssh-keygen -t ed25519"):
        find_signer(nobody)
    usual = make_key(home / ".ssh/id_ed25519")
    with pytest.raises(UnderstudyError, match="Have this line added") as refused:
        find_signer(nobody)
    line = str(refused.value).splitlines()[-1].strip()
    (nobody / "evidence").mkdir()
    (nobody / "evidence/allowed_signers").write_text(line + "\n")
    signer = find_signer(nobody)
    assert (signer.file, signer.key) == (str(home / ".ssh/id_ed25519"), usual)
    assert put(nobody, "stage", signer, "word", {}).who == line.split()[0]
    # Git's own setting goes before it, and what was given before that.
    make_key(home / "other")
    allow(nobody, "other", make_key(home / "git"))
    (home / ".gitconfig").write_text(f"[user]\n\tsigningkey = {home}/git.pub\n")
    assert put(nobody, "stage", find_signer(nobody), "word", {}).who == "other"
    with pytest.raises(UnderstudyError, match="is not in it"):
        find_signer(nobody, file=str(home / "other"))
    with pytest.raises(UnderstudyError, match="no such file"):
        find_signer(nobody, file=str(home / "none"))
    (home / "text").write_text("hello\n")
    with pytest.raises(UnderstudyError, match="no key that can be read"):
        find_signer(nobody, file=str(home / "text"))


def test_a_key_that_only_the_agent_has(nobody: Path, agent: Path) -> None:
    path = nobody / "key"
    allow(nobody, "anna", make_key(path))
    subprocess.run(("ssh-add", "-q", path), check=True)
    path.unlink()
    assert put(nobody, "stage", find_signer(nobody), "word", {}).who == "anna"
    assert put(nobody, "stage", find_signer(nobody, file=f"{path}.pub"), "word", {}).who == "anna"


def test_a_passphrase_is_asked_of_nobody_where_nobody_is(nobody: Path) -> None:
    path = nobody.parent / "home/.ssh/id_ed25519"
    allow(nobody, "anna", make_key(path, "secret"))
    signer = find_signer(nobody, asks=False)
    with pytest.raises(UnderstudyError, match="ssh-add"):
        put(nobody, "stage", signer, "word", {})
    assert not (nobody / file_name("stage")).exists()


_WRITER = """
import sys
from pathlib import Path
from provisioners import evidence_log
from provisioners.signing import find_signer
directory, name = Path(sys.argv[1]), sys.argv[2]
signer = find_signer(directory, file=sys.argv[3], asks=False)
for number in range(int(sys.argv[4])):
    evidence_log.append(directory, "stage", signer, lambda log: ("word", {"by": name, "after": len(log.records)}))
    print(number, flush=True)
"""


def writer(directory: Path, name: str, key: str, count: int) -> subprocess.Popen[str]:
    command = (sys.executable, "-c", _WRITER, str(directory), name, key, str(count))
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    signer = make_signer(tmp_path, "anna")
    writers = [writer(tmp_path, name, signer.file, 6) for name in ("a", "b")]
    assert [process.wait(timeout=60) for process in writers] == [0, 0]
    log = evidence_log.read(tmp_path, "stage")
    assert log.broken is None
    assert [record.body["after"] for record in log.records] == list(range(12))


def test_a_writer_that_is_killed_leaves_no_half_line(tmp_path: Path) -> None:
    signer = make_signer(tmp_path, "anna")
    for attempt in range(5):
        process = writer(tmp_path, "a", signer.file, 1000)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.013 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert evidence_log.read(tmp_path, "stage").broken is None
    put(tmp_path, "stage", signer, "word", {}, at=evidence_log.now())


def test_a_half_line_is_named_and_taken_away_only_by_repair(tmp_path: Path) -> None:
    signer = make_signer(tmp_path, "anna")
    put(tmp_path, "stage", signer, "word", {})
    path = tmp_path / file_name("stage")
    good = path.read_bytes()
    assert evidence_log.repair(tmp_path, "stage") == ""
    path.write_bytes(good + good[:40])
    with pytest.raises(UnderstudyError, match=re.escape("record 2: it was never written whole")) as refused:
        put(tmp_path, "stage", signer, "word", {})
    assert "understudy evidence repair -s stage" in str(refused.value)
    assert evidence_log.repair(tmp_path, "stage") == good[:40].decode()
    assert path.read_bytes() == good
    # What was changed is no half line: it is left as it is.
    path.write_bytes(b"x" + good + good[:40])
    assert evidence_log.repair(tmp_path, "stage") == ""
    assert path.read_bytes() == b"x" + good + good[:40]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    signer = make_signer(tmp_path, "anna")
    (tmp_path / file_name("stage")).mkdir()
    with pytest.raises(UnderstudyError, match="cannot be read"):
        put(tmp_path, "stage", signer, "word", {})
    with pytest.raises(UnderstudyError, match="stack's name"):
        evidence_log.read(tmp_path, "../stage")
