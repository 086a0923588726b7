"""The verbs that sign, verify and show records; and what the preflight finds to have gone round the gate."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.__main__ import main
from cli.went_round import _settled
from model.change.digest import change_digest
from model.evidence.chain import file_name
from provisioners import evidence_log
from provisioners.signing import find_signer
from tests.cli.conftest import all_existing
from tests.doubles.evidence import allow, make_key, put
from tests.doubles.pulumi import Project

A, B = "a" * 64, "b" * 64
CHANGE = change_digest(A, B)


@pytest.fixture
def anna(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the project of a user whose usual key may sign."""
    home = tmp_path / "home-of-user"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    allow(project, "anna@shop.example", make_key(home / ".ssh/id_ed25519"))
    (home / ".gitconfig").write_text("[user]\n\tname = Anna\n\temail = anna@shop.example\n")
    return project


Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(anna: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return what calls `understudy` in the project, and gives its exit code and all that it said."""

    def run(*arguments: str) -> tuple[int, str]:
        code = main([*arguments, "--cwd", str(anna)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def git(directory: Path, *arguments: str) -> None:
    subprocess.run(("git", "-C", directory, *arguments), check=True, capture_output=True)


def test_a_word_and_an_emergency_are_signed_shown_and_verified(anna: Path, call: Call) -> None:
    code, said = call("change", "word", CHANGE, "--why", "looked at the stage")
    assert (code, "record 1 of evidence/stage.jsonl, signed by anna@shop.example" in said) == (0, True)
    code, said = call("change", "emergency", CHANGE, "--why", "the site is down")
    assert (code, "record 1 of evidence/prod.jsonl" in said) == (0, True)
    assert "EMERGENCY: the gate of prod is open for this one change, once, until" in said
    (record,) = evidence_log.read(anna, "prod").records
    assert (record.kind, record.body) == ("emergency", {"change": CHANGE, "why": "the site is down"})
    code, said = call("evidence", "verify")
    assert (code, said.count("1 record, all good")) == (0, 2)
    code, said = call("evidence", "show", "-s", "prod")
    assert (code, f"emergency   anna@shop.example  {CHANGE[:12]}: the site is down" in said) == (0, True)
    code, said = call("evidence", "show", "-s", "prod", "1")
    assert json.loads(said)["body"]["change"] == CHANGE
    assert call("evidence", "show", "-s", "prod", "2")[0] == 1
    code, said = call("change", "word", CHANGE, "--by-hand", "-s", "prod", "--why", "flipped the switch")
    assert (code, "record 2 of evidence/prod.jsonl" in said) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("change", "word", "abc", "--why", "x"), "64 characters"),
        (("change", "word", CHANGE.upper(), "--why", "x"), "64 characters"),
        (("change", "word", CHANGE, "--why", " "), "no reason"),
        (("change", "word", CHANGE, "--why", "a\nb"), "no reason"),
        (("change", "emergency", CHANGE, "--why", "postgresql://shop:hunter2@db1/shop"), "no secret"),
        (("change", "word", CHANGE, "--why", "x", "-s", "prod"), "a stack that mirrors another: one of stage"),
        (("change", "emergency", CHANGE, "--why", "x", "-s", "stage"), "a stack that mirrors nothing: one of prod"),
        (("change", "emergency", CHANGE, "--why", "x", "-s", "pord"), "a stack that mirrors nothing: one of prod"),
        (("change", "emergency", CHANGE, "--why", "x", "--key", "none"), "no such file"),
    ],
)
def test_what_is_no_record_is_refused(anna: Path, call: Call, arguments: tuple[str, ...], said: str) -> None:
    code, printed = call(*arguments)
    assert (code, said in printed) == (1, True), printed
    assert "hunter2" not in printed
    assert not (anna / file_name("prod")).exists()
    assert not (anna / file_name("stage")).exists()


def test_verify_names_the_first_broken_record(anna: Path, call: Call) -> None:
    assert call("evidence", "verify") == (0, "there is no evidence yet\n")
    for number in range(3):
        call("change", "word", CHANGE, "--why", f"time {number}")
    path = anna / file_name("stage")
    good = path.read_bytes()
    path.write_bytes(good.replace(b"time 1", b"time 7"))
    code, said = call("evidence", "verify")
    assert (code, "evidence/stage.jsonl: record 2 is BROKEN: its signature is not of this text" in said) == (1, True)
    code, said = call("evidence", "show", "-s", "stage")
    assert (code, "time 0" in said, "time 2" in said, "record 2 is BROKEN" in said) == (1, True, False, True)
    assert call("change", "word", CHANGE, "--why", "again")[0] == 1
    assert path.read_bytes() == good.replace(b"time 1", b"time 7")


def test_verify_misses_what_git_has(anna: Path, call: Call) -> None:
    for number in range(2):
        call("change", "word", CHANGE, "--why", f"time {number}")
    git(anna, "init", "-q")
    git(anna, "add", "evidence/stage.jsonl", "evidence/allowed_signers")
    git(anna, "commit", "-qm", "Evidence")
    path = anna / file_name("stage")
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    code, said = call("evidence", "verify")
    assert (code, "record 2 is BROKEN: it was there before, and is missing" in said) == (1, True)
    path.unlink()
    assert call("evidence", "verify", "-s", "stage")[0] == 1


def test_a_half_line_is_repaired_by_the_command_that_says_so(anna: Path, call: Call) -> None:
    call("change", "word", CHANGE, "--why", "once")
    path = anna / file_name("stage")
    good = path.read_bytes()
    path.write_bytes(good + b'{"at":"2026')
    code, said = call("evidence", "verify")
    assert (code, "record 2 is BROKEN: it was never written whole" in said) == (1, True)
    assert "evidence repair -s stage" in call("change", "word", CHANGE, "--why", "again")[1]
    code, said = call("evidence", "repair", "-s", "stage")
    assert (code, 'taken away: {"at":"2026' in said) == (0, True)
    assert path.read_bytes() == good


def test_the_first_digits_of_a_rehearsed_change_are_enough(anna: Path, call: Call) -> None:
    body: dict[str, Any] = {"changes": {CHANGE: {}, f"{CHANGE[:10]}{B[10:]}": {}}}
    put(anna, "stage", find_signer(anna, asks=False), "rehearsal", body)
    assert call("change", "word", CHANGE[:12], "--why", "looked at it")[0] == 0
    assert evidence_log.read(anna, "stage").records[-1].body["change"] == CHANGE
    for wrong, words in ((CHANGE[:8], "which may be"), ("0" * 12, "tells of"), (CHANGE[:7], "first 8")):
        code, said = call("change", "word", wrong, "--why", "looked at it")
        assert (code, words in said) == (1, True), said


# -- What went round, with a real Pulumi state ---------------------------------------------------------------------


@pytest.fixture
def keep(anna: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, Any]], None]:
    """Return what makes resources the state of the stack prod, in a backend of the test's own."""
    if shutil.which("pulumi") is None:
        pytest.fail("pulumi is not on PATH: run the tests with ./run pytest")
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path / 'state'}")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    file = anna / "Pulumi.prod.yaml"
    text = all_existing(file.read_text())
    file.write_text(text)

    def pulumi(*arguments: str, given: str = "") -> str:
        command = ("pulumi", "--cwd", str(anna), "--non-interactive", "stack", *arguments)
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    pulumi("init", "prod")
    file.write_text(text)
    monkeypatch.setenv("PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER", "true")

    def kept(services: Mapping[str, Any]) -> None:
        state = json.loads(pulumi("export", "--stack", "prod"))
        root = "urn:pulumi:prod::understudy::"
        gate = {"let_through": {"web": A}}
        resources = [_resource(root, "Gate", "gate", {}, gate)]
        for name, digest in services.items():
            inputs = {"service": name.partition(":")[2], "digest": digest}
            resources.append(_resource(root, "Service", name, inputs, inputs))
        state["deployment"]["resources"] = resources
        pulumi("import", "--stack", "prod", given=json.dumps(state))

    return kept


def _resource(root: str, kind: str, name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    token = f"understudy:index:{kind}"
    about = {"custom": True, "type": token, "id": name, "inputs": inputs, "outputs": outputs}
    return {"urn": f"{root}{token}::{name}", **about}


def test_a_target_is_shown_by_a_preview_and_recorded_by_an_update(
    anna: Path, call: Call, keep: Callable[[Mapping[str, Any]], None]
) -> None:
    keep({"lb:web": A})
    code, said = call("evidence", "baseline")
    assert (code, "record 1 of evidence/prod.jsonl" in said) == (0, True)
    assert "has a baseline already" in call("evidence", "baseline")[1]
    assert "WENT ROUND" not in call("preflight", "-s", "prod", "up")[1]

    keep({"lb:web": A, "l2:web": B})
    code, said = call("preflight", "-s", "prod", "preview")
    assert (code, "WENT ROUND THE GATE: web changes" in said, "l2:web has what" in said) == (0, True, True)
    assert len(evidence_log.read(anna, "prod").records) == 1
    code, said = call("preflight", "-s", "prod", "up")
    assert (code, "record 2 says so, signed by anna@shop.example" in said) == (0, True)
    assert "says so" not in call("preflight", "-s", "prod", "up")[1]
    baseline, found = evidence_log.read(anna, "prod").records
    assert baseline.body == {"services": {"web": A}}
    assert found.body["changes"] == {CHANGE: {"service": "web", "from": A, "to": B, "where": ["l2:web"]}}

    keep({"lb:web": A})
    call("preflight", "-s", "prod", "up")
    assert evidence_log.read(anna, "prod").records[-1].body["over"] == [CHANGE]
    keep({})  # gone, but no update has ever ended well: it may not have been there yet
    assert "WENT ROUND" not in call("preflight", "-s", "prod", "up")[1]


def test_without_a_key_it_is_shown_and_not_recorded(
    anna: Path, call: Call, keep: Callable[[Mapping[str, Any]], None]
) -> None:
    keep({"lb:web": A})
    call("evidence", "baseline")
    shutil.rmtree(Path.home() / ".ssh")
    keep({"lb:web": B})
    code, said = call("preflight", "-s", "prod", "up")
    assert (code, "WENT ROUND THE GATE" in said, "is not recorded: your SSH key" in said) == (0, True, True)
    path = anna / file_name("prod")
    path.write_bytes(path.read_bytes().replace(b"baseline", b"baseLine"))
    code, said = call("preflight", "-s", "prod", "up")
    assert (code, "evidence/prod.jsonl: record 1 is BROKEN" in said) == (0, True)


def test_pulumis_history_tells_whether_the_last_update_was_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "stack"
    directory.mkdir()
    project = Project(directory)
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)
    good = {"kind": "Password", "inputs": {}}
    assert not _settled(directory, "s")
    project.resources({"a": good})
    project.run("up", "--yes", "--skip-preview")
    assert _settled(directory, "s")
    project.resources({"a": good, "b": {"kind": "Password", "inputs": {"length": -1}}})
    project.run("up", "--yes", "--skip-preview", succeeds=False)
    assert not _settled(directory, "s")
    (urn,) = (each["urn"] for each in project.state() if each["urn"].endswith("::a"))
    project.run("destroy", "--yes", "--skip-preview", "--target", urn)
    assert _settled(directory, "s")
    assert not _settled(directory, "none")
