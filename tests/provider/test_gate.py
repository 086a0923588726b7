"""The gate with real signatures: alone with a clock of the test's own, and under the real Pulumi engine."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.pulumi_state import PulumiState
from cli.went_round import look_round
from model.change.digest import change_digest
from model.change.gate import ServiceChange
from model.change.taken_back import record_body
from model.errors import UnderstudyError
from model.evidence.chain import file_name
from model.evidence.rehearsal import Rehearsal, RehearsedChange, RehearsedSeed, rehearsal_body
from provisioners import evidence_log
from provisioners.provider.gate import Gate
from provisioners.signing import Signer
from tests.doubles.evidence import NOW, allow, make_key, put
from tests.doubles.pulumi import Project
from tests.doubles.sshd import Machine

A, B, C = "a" * 64, "b" * 64, "c" * 64


def gate_inputs(directory: Path, **services: str) -> dict[str, Any]:
    return {
        "stack": "prod",
        "rehearsed_on": "stage",
        "services": services,
        "least_faithful": 0.95,
        "most_seed_age_seconds": 7 * 86400,
        "project_directory": str(directory),
    }


def rehearsed(digest: str, at: datetime = NOW, **more: Any) -> dict[str, Any]:
    """Return the body of a rehearsal that counts."""
    change = RehearsedChange(digest=digest, service="web", machines=("lb",), check="automatic")
    seed = RehearsedSeed(store="shop", snapshot="1F", taken_at=f"{at - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}")
    usual = {"changes": (change,), "green": True, "steps": (), "seeds": (seed,), "faithful": 0.99}
    return rehearsal_body(Rehearsal(**{**usual, **more}))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the home of a user who has no key yet, but for those that a test makes."""
    path = tmp_path / "home-of-user"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(path / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return path


@pytest.fixture
def anna(tmp_path: Path, home: Path) -> Signer:
    """Return the user with a key that may sign, both as the one who calls and as Anna."""
    (home / ".ssh").mkdir()
    allow(tmp_path, "anna", make_key(home / ".ssh/id_ed25519"))
    return Signer(who="anna", file=str(home / ".ssh/id_ed25519"), key=("", ""), asks=False)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Gates:
    """One gate over many updates, with its state as the engine would keep it."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.clock = directory, Clock()
        self.kind, self.outputs = Gate(self.clock), dict[str, Any]()

    def up(self, **services: str) -> Mapping[str, Any]:
        inputs = gate_inputs(self.directory, **services)
        if not self.outputs:
            self.outputs = self.kind.create(inputs, lambda _: None)[1]
        else:
            self.outputs = self.kind.update("gate", {}, inputs, self.outputs, lambda _: None)
        return self.outputs

    def says(self, *, planned: bool = True, **services: str) -> str:
        return "\n".join(self.kind.shouts(gate_inputs(self.directory, **services), self.outputs, planned=planned))

    def records(self) -> list[tuple[str, Mapping[str, Any]]]:
        log = evidence_log.read(self.directory, "prod")
        assert log.broken is None
        return [(record.kind, record.body) for record in log.records]


@pytest.fixture
def gate(tmp_path: Path) -> Gates:
    return Gates(tmp_path)


CHANGE = change_digest(A, B)


def test_the_first_is_the_baseline_and_is_recorded_once(gate: Gates, anna: Signer) -> None:
    assert gate.says(web=A) == ""
    assert gate.up(web=A)["let_through"] == {"web": A}
    assert gate.up(web=A)["note"] == ""
    assert gate.records() == [("baseline", {"services": {"web": A}})]
    gate.outputs = {}  # somebody deletes the gate from the state: the log still knows
    with pytest.raises(UnderstudyError, match="no rehearsal of it"):
        gate.up(web=B)
    assert gate.up(web=A)["let_through"] == {"web": A}
    assert len(gate.records()) == 1


def test_what_was_not_rehearsed_is_refused_and_says_what_to_type(gate: Gates, anna: Signer) -> None:
    gate.up(web=A)
    with pytest.raises(UnderstudyError) as refused:
        gate.up(web=B)
    for text in (str(refused.value), gate.says(web=B)):
        assert f"web changes ({A[:12]} -> {B[:12]}): evidence/stage.jsonl has no rehearsal of it" in text
        assert "./run understudy change rehearse -s stage" in text
        assert f"./run understudy change emergency {CHANGE} -s prod --why" in text
    assert gate.says(web=A) == ""
    for wanted, words in (({"web": A, "new": C}, "new is new"), ({}, "web is taken away")):
        with pytest.raises(UnderstudyError, match=words):
            gate.up(**wanted)


def test_what_was_rehearsed_passes_with_its_way_back_and_is_recorded(gate: Gates, anna: Signer) -> None:
    gate.up(web=A)
    put(gate.directory, "stage", anna, "rehearsal", rehearsed(CHANGE))
    assert gate.says(web=B) == ""
    assert gate.up(web=B)["let_through"] == {"web": B}
    gate.up(web=A)
    passed = {"service": "web", "from": A, "to": B, "rehearsal": 1}
    back = {"service": "web", "from": B, "to": A, "rehearsal": 1}
    assert gate.records()[1:] == [
        ("prod", {"changes": {CHANGE: passed}}),
        ("prod", {"changes": {change_digest(B, A): back}}),
    ]
    with pytest.raises(UnderstudyError, match="no rehearsal"):
        gate.up(web=C)


def test_one_of_two_that_may_not_pass_stops_both(gate: Gates, anna: Signer) -> None:
    gate.up(web=A, app=A)
    put(gate.directory, "stage", anna, "rehearsal", rehearsed(CHANGE))
    with pytest.raises(UnderstudyError, match="app changes"):
        gate.up(web=B, app=C)
    assert len(gate.records()) == 1


def test_a_record_without_the_state_is_a_passage_that_was_cut_off(gate: Gates, anna: Signer) -> None:
    gate.up(web=A)
    put(gate.directory, "stage", anna, "rehearsal", rehearsed(CHANGE))
    before = dict(gate.outputs)
    gate.up(web=B)
    gate.outputs = before
    assert gate.up(web=B)["let_through"] == {"web": B}
    assert len(gate.records()) == 2


def test_an_edited_state_lets_nothing_through(gate: Gates, anna: Signer) -> None:
    gate.up(web=A)
    gate.outputs = {**gate.outputs, "let_through": {"web": B}}
    with pytest.raises(UnderstudyError, match="no rehearsal"):
        gate.up(web=B)


def test_an_emergency_is_good_once_for_an_hour_and_shouts_until_a_rehearsal(gate: Gates, anna: Signer) -> None:
    gate.up(web=A)
    put(gate.directory, "prod", anna, "emergency", {"change": CHANGE, "why": "the site is down"}, at=NOW)
    gate.clock.now = NOW + timedelta(minutes=61)
    with pytest.raises(UnderstudyError, match="no rehearsal"):
        gate.up(web=B)
    assert "EMERGENCY" not in gate.says(web=A, planned=False)
    gate.clock.now = NOW + timedelta(minutes=60)
    assert "EMERGENCY: the gate is open once" in gate.says(web=A, planned=False)
    assert gate.says(web=B) == ""
    gate.up(web=B)
    assert gate.records()[-1] == (
        "prod",
        {"changes": {CHANGE: {"service": "web", "from": A, "to": B, "emergency": 2}}},
    )
    # Used up, though not an hour old: neither back, nor from there again.
    with pytest.raises(UnderstudyError, match="no rehearsal"):
        gate.up(web=A)
    for digest in (change_digest(C, B), change_digest(C, A)):
        put(gate.directory, "stage", anna, "rehearsal", rehearsed(digest), at=gate.clock.now)
    gate.up(web=C)
    gate.up(web=A)
    with pytest.raises(UnderstudyError, match="no rehearsal"):
        gate.up(web=B)
    gate.up(web=C)
    gate.clock.now = NOW + timedelta(days=30)
    shouted = gate.says(web=C, planned=False)
    assert "EMERGENCY: web changes" in shouted
    assert "the site is down" in shouted
    assert "record 2 of evidence/prod.jsonl, by anna" in shouted
    put(gate.directory, "stage", anna, "rehearsal", rehearsed(CHANGE, faithful=0.2), at=gate.clock.now)
    assert "EMERGENCY" in gate.says(web=C, planned=False)
    put(gate.directory, "stage", anna, "rehearsal", rehearsed(CHANGE, gate.clock.now), at=gate.clock.now)
    assert gate.says(web=C, planned=False) == ""


def test_without_a_key_the_first_up_works_and_says_what_is_missing(gate: Gates, home: Path) -> None:
    outputs = gate.up(web=A)
    assert "could not be signed" in outputs["note"]
    assert "ssh-keygen -t ed25519" in gate.says(web=A, planned=False)
    assert gate.records() == []
    (home / ".ssh").mkdir()
    make_key(home / ".ssh/id_ed25519")
    assert "Have this line added" in gate.says(web=A, planned=False)
    with pytest.raises(UnderstudyError, match="Have this line added"):
        gate.up(web=B)
    # With a key, what the state remembers becomes the baseline: not what is wanted now.
    *_, line, todo = gate.says(web=A, planned=False).splitlines()
    assert "understudy evidence baseline -s prod" in todo
    (gate.directory / "evidence").mkdir(exist_ok=True)
    (gate.directory / "evidence/allowed_signers").write_text(line.strip() + "\n")
    with pytest.raises(UnderstudyError, match="no rehearsal"):
        gate.up(web=B)
    assert gate.records() == [("baseline", {"services": {"web": A}})]


def test_a_key_with_a_passphrase_that_no_agent_has(gate: Gates, home: Path) -> None:
    allow(gate.directory, "anna", make_key(home / ".ssh/id_ed25519", "secret"))
    assert gate.says(web=A) == ""
    gate.up(web=A)
    assert "ssh-add" in gate.says(web=A, planned=False)
    assert "understudy evidence baseline -s prod" in gate.says(web=A, planned=False)
    assert gate.records() == []


def test_what_passes_must_be_recorded(gate: Gates, anna: Signer) -> None:
    gate.up(web=A)
    put(gate.directory, "stage", anna, "rehearsal", rehearsed(CHANGE))
    Path(anna.file).unlink()
    Path(f"{anna.file}.pub").unlink()
    assert "REFUSED in an update: what passes must be signed and recorded" in gate.says(web=B)
    with pytest.raises(UnderstudyError, match="to sign evidence with"):
        gate.up(web=B)


def test_logs_that_were_cut_or_changed_let_nothing_through(gate: Gates, anna: Signer) -> None:
    gate.up(web=A)
    put(gate.directory, "stage", anna, "rehearsal", rehearsed(CHANGE))
    put(gate.directory, "stage", anna, "rehearsal", rehearsed(CHANGE, green=False))
    assert "it did not go well" in gate.says(web=B)
    gate.up(web=A)
    path = gate.directory / file_name("stage")
    data = path.read_bytes()
    path.write_bytes(data.splitlines(keepends=True)[0])  # the red one is gone, which the gate has seen
    with pytest.raises(UnderstudyError, match="broken at record 2: it was there before, and is missing"):
        gate.up(web=B)
    path.write_bytes(data.replace(b'"green":false', b'"green":true'))
    with pytest.raises(UnderstudyError, match="broken at record 2"):
        gate.up(web=B)
    assert "broken at record 2" in gate.says(web=A, planned=False)
    (gate.directory / file_name("prod")).unlink()
    with pytest.raises(UnderstudyError, match=r"prod\.jsonl, record 1: it was there before"):
        gate.up(web=A)


def test_no_service_becomes_one_that_needs_no_rehearsal_by_the_change_itself(gate: Gates, anna: Signer) -> None:
    def up(unshared: list[str], **services: str) -> None:
        inputs = {**gate_inputs(gate.directory, **services), "unshared": unshared}
        if gate.outputs:
            gate.outputs = gate.kind.update("gate", {}, inputs, gate.outputs, lambda _: None)
        else:
            gate.outputs = gate.kind.create(inputs, lambda _: None)[1]

    up(["beat"], web=A, beat=A)
    put(gate.directory, "stage", anna, "word", {"change": CHANGE, "why": "looked at it"})
    up(["beat"], web=A, beat=B)
    with pytest.raises(UnderstudyError, match=r"web changes.*no rehearsal"):
        up(["beat", "web"], web=B, beat=B)
    assert gate.records()[-1][1]["changes"][CHANGE] == {"service": "beat", "from": A, "to": B, "word": 1}
    with pytest.raises(UnderstudyError, match=r"beat is taken away .*it cannot be rehearsed"):
        up([], web=A)


def test_inputs_that_would_open_it_for_good_are_refused(tmp_path: Path) -> None:
    good = gate_inputs(tmp_path, web=A)
    assert not Gate().check(good)
    for wrong in (
        {"least_faithful": 0.4},
        {"least_faithful": 1.1},
        {"least_faithful": True},
        {"most_seed_age_seconds": 91 * 86400},
        {"most_seed_age_seconds": 0},
        {"rehearsed_on": "prod"},
        {"rehearsed_on": "../x"},
        {"services": {"web": "any"}},
    ):
        assert [failure.property for failure in Gate().check({**good, **wrong})] == list(wrong)


# -- Under the real engine ---------------------------------------------------------------------------------------------


def table(directory: Path, comment: str, **services: str) -> dict[str, Any]:
    """Return a gate and what depends on it, which changes with its comment."""
    return {
        "gate": {"kind": "Gate", "inputs": gate_inputs(directory, **services), "outputs": ["let_through"]},
        "keys": {"kind": "SshKeypair", "inputs": {"comment": comment}, "outputs": ["public_key"], "after": ["gate"]},
    }


def comment_of(project: Project) -> str:
    state = {each["urn"].rpartition("::")[2]: each for each in project.state()}
    return str(state["keys"]["inputs"]["comment"])


def project_of(directory: Path, home: Path) -> Project:
    (directory / "stack").mkdir()
    project = Project(directory / "stack")
    project.environment |= {"HOME": str(home), "GIT_CONFIG_GLOBAL": str(home / ".gitconfig")}
    project.environment.pop("SSH_AUTH_SOCK", None)
    return project


def test_an_emergency_of_two_hours_ago_under_the_engine(tmp_path: Path, anna: Signer, home: Path) -> None:
    project, now = project_of(tmp_path, home), evidence_log.now()
    put(tmp_path, "prod", anna, "baseline", {"services": {"web": A}}, at=now - timedelta(hours=3))
    put(tmp_path, "prod", anna, "emergency", {"change": CHANGE, "why": "late"}, at=now - timedelta(hours=2))
    project.resources(table(tmp_path, "two", web=B))
    assert "may not pass" in project.run("up", "--yes", "--skip-preview", succeeds=False)
    assert not [each for each in project.state() if each["type"] == "understudy:index:SshKeypair"]


def test_under_the_engine(tmp_path: Path, anna: Signer, home: Path) -> None:
    project = project_of(tmp_path, home)

    # The first up is the baseline, recorded with the user's own key.
    project.resources(table(tmp_path, "one", web=A))
    assert "record" not in project.run("up", "--yes", "--skip-preview")
    assert [record.kind for record in evidence_log.read(tmp_path, "prod").records] == ["baseline"]

    # A preview shows the whole plan and the refusal; an update touches nothing.
    project.resources(table(tmp_path, "two", web=B))
    planned = project.run("preview", "--diff")
    assert 'comment: "one" => "two"' in planned
    assert "warning: REFUSED in an update" in planned
    assert f"./run understudy change emergency {CHANGE} -s prod" in planned
    refused = project.run("up", "--yes", "--skip-preview", succeeds=False)
    assert "error: gate of prod: this may not pass, and nothing is touched" in refused
    assert comment_of(project) == "one"

    # An emergency opens it once.
    body = {"change": CHANGE, "why": "the site is down"}
    now = evidence_log.now()
    put(tmp_path, "prod", anna, "emergency", body, at=now)
    assert "EMERGENCY: the gate is open once" in project.run("preview")
    printed = project.run("up", "--yes", "--skip-preview")
    assert "EMERGENCY" in printed
    assert comment_of(project) == "two"
    project.resources(table(tmp_path, "one", web=A))
    assert "no rehearsal" in project.run("up", "--yes", "--skip-preview", succeeds=False)
    assert comment_of(project) == "two"

    # It shouts in each preview until a rehearsal follows; then the way back passes too.
    project.resources(table(tmp_path, "two", web=B))
    assert "EMERGENCY: web changes" in project.run("preview", "--expect-no-changes")
    put(tmp_path, "stage", anna, "rehearsal", rehearsed(CHANGE, now), at=evidence_log.now())
    assert "EMERGENCY" not in project.run("preview", "--expect-no-changes")
    project.resources(table(tmp_path, "one", web=A))
    assert "REFUSED" not in project.run("preview")
    project.run("up", "--yes", "--skip-preview")
    assert comment_of(project) == "one"
    assert evidence_log.read(tmp_path, "prod").broken is None
    project.run("destroy", "--yes", "--skip-preview")
    assert len(evidence_log.read(tmp_path, "prod").records) == 4


def service_table(directory: Path, machine: Machine, digest: str) -> dict[str, Any]:
    """Return a gate, and behind it a service on a machine whose file tells its digest."""
    reach = {"connection": machine.connection.values(), "private_key": {"secret": machine.private_key}}
    files = {"/etc/web.conf": {"content": f"{digest}\n"}}
    service = {**reach, "generation": "1", "service": "web", "files": files, "digest": digest}
    return {
        "gate": {"kind": "Gate", "inputs": {**gate_inputs(directory, web=digest), "stack": "s"}, "outputs": ["seen"]},
        "m1:web": {"kind": "Service", "inputs": service, "outputs": ["change"], "after": ["gate"]},
    }


def test_a_machine_is_not_touched_and_a_target_is_found_at_the_next_run(
    tmp_path: Path, anna: Signer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_of(tmp_path, home)
    said: list[str] = []
    with Machine() as machine:
        file = machine.root / "etc/web.conf"
        project.resources(service_table(tmp_path, machine, A))
        project.run("up", "--yes", "--skip-preview")
        backups = sorted((machine.root / "root/configs/web").iterdir())
        project.resources(service_table(tmp_path, machine, B))
        assert "may not pass" in project.run("up", "--yes", "--skip-preview", succeeds=False)
        assert file.read_text() == f"{A}\n"
        assert sorted((machine.root / "root/configs/web").iterdir()) == backups

        # Round it.
        (urn,) = (each["urn"] for each in project.state() if each["urn"].endswith("::m1:web"))
        project.run("up", "--yes", "--skip-preview", "--target", urn)
        assert file.read_text() == f"{B}\n"
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)
    with PulumiState(project.directory, "s") as state:
        look_round(tmp_path, state, said.append, act=True)
    assert f"WENT ROUND THE GATE: web changes ({A[:12]} -> {B[:12]}): m1:web has what the gate never let" in said[0]
    kind, body = [(each.kind, each.body) for each in evidence_log.read(tmp_path, "s").records][-1]
    assert (kind, body["changes"][CHANGE]["where"]) == ("went-round", ["m1:web"])
    assert "WENT ROUND THE GATE: web changes" in project.run("preview")


def test_what_was_taken_back_is_what_the_next_change_begins_with(gate: Gates, anna: Signer) -> None:
    gate.up(web=A)
    put(gate.directory, "stage", anna, "rehearsal", rehearsed(CHANGE))
    gate.up(web=B)
    back = ServiceChange(service="web", before=B, after=A)
    put(gate.directory, "prod", anna, "back-out", record_body((back,), {"lb:web": ["0123456789ab"]}, "it was slow"))
    inputs = gate_inputs(gate.directory, web=B)
    real = gate.kind.read("gate", inputs, {**gate.outputs}, lambda _: None)
    assert real is not None
    assert (real.inputs["services"], real.outputs["let_through"]) == ({"web": A}, {"web": A})
    assert "has no rehearsal of it" in gate.says(web=C)
    assert change_digest(A, C) in gate.says(web=C), "prod stands at A again"
    gate.outputs = dict(real.outputs)
    gate.up(web=A)
    assert [kind for kind, _ in gate.records()] == ["baseline", "prod", "back-out"], "A is there"
    gate.up(web=B)
    assert [kind for kind, _ in gate.records()][3:] == ["prod"], "it was rehearsed, and passes again"
