"""A drill from its command line to its record, with doubles for `./run pulumi up` and for Pulumi's export."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from cli import drill, drill_history, working
from cli.__main__ import main
from cli.drill_history import history_path, read_history
from cli.files import load_environment, read_lock, write_lock
from cli.pins import labelled_pin
from model.drilling import in_utc
from model.placement import Accelerator, PinnedSeed, PlacedMachine, Placement
from provisioners import this_computer
from provisioners.report.page import report_html
from tests.cli.test_place import ROOMY, made_here
from tests.damage.ways import WAYS, Way, cut_short, flip, largest_bundle
from tests.report.values import document

ROOT = Path(__file__).parents[2]
UP = """#!{python}
# Stands for ./run: `up` says and does what the test wants, and notes how it was ended.
import json, os, pathlib, signal, sys, time
here = pathlib.Path(__file__).parent
assert sys.argv[1:5] == ["pulumi", "up", "-s", "stage"], sys.argv
wanted = json.loads((here / "up.json").read_text())
with open(os.environ["UNDERSTUDY_ATTEMPTS"], "a") as attempts:
    attempts.write(wanted["attempts"])
print(wanted["printed"], flush=True)
if wanted["code"] == 0:
    (here / "filled").touch()
if wanted["waits"]:
    signal.signal(signal.SIGINT, lambda *_: ((here / "ended").touch(), sys.exit(1)))
    (here / "waiting").touch()
    time.sleep(60)
sys.exit(wanted["code"])
"""
EXPORT = """#!{python}
# Stands for `pulumi stack export`: the store holds what the lock file pinned at the last `up` that went well.
import json, pathlib, yaml
here = pathlib.Path(__file__).parents[1]
kept = here / "state.json"
if (here / "filled").exists():
    pin = yaml.safe_load((here / "Placement.stage.lock.yaml").read_text())["seeds"]["shop"]
    state = json.loads(kept.read_text())
    holder = state["deployment"]["resources"][0]
    given = {{"store": "shop", "snapshot": pin["snapshot"], "snapshot_digest": pin["repository_digest"],
             "drilled_at": pin["drilled_at"]}}
    holder["inputs"], holder["outputs"] = given, {{**holder["outputs"], **given, "taken_at": pin["taken_at"]}}
    kept.write_text(json.dumps(state))
    (here / "filled").unlink()
print(kept.read_text())
"""
RESTORED = {
    "data_age_seconds": 60.0,
    "restore_seconds": 5.0,
    "checks": [{"name": "accepts connections", "ok": True, "detail": "15.14", "seconds": 0.1}],
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A project whose stage was filled from the oldest snapshot; nothing of it is real but its files."""

    directory: Path

    @property
    def repository(self) -> Path:
        return self.directory / "samples" / "pgbackrest"

    @property
    def labels(self) -> list[str]:
        return sorted(path.name for path in (self.repository / "backup" / "shop").iterdir() if path.is_dir())

    def up(self, printed: str = "", code: int = 0, attempts: str = "", waits: bool = False) -> None:
        """Say what the next `up` does."""
        wanted = {"printed": printed, "code": code, "attempts": attempts, "waits": waits}
        (self.directory / "up.json").write_text(json.dumps(wanted))

    def pin(self) -> PinnedSeed:
        lock = read_lock(self.directory, "stage")
        assert lock is not None
        return lock.seeds[0]

    def drill(self) -> int:
        return main(["drill", "-C", str(self.directory), "-s", "stage"])

    def lines(self) -> list[dict[str, Any]]:
        """Return the drills that are written down, as whoever searches the file reads them."""
        return [json.loads(line) for line in history_path(self.directory, "stage").read_text().splitlines()]

    def page(self) -> str:
        return (self.directory / "reports/stage/report.html").read_text()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    for name in ("Pulumi.yaml", "Pulumi.prod.yaml", "Pulumi.stage.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "services", tmp_path / "services")
    shutil.copytree(ROOT / "samples" / "pgbackrest", tmp_path / "samples" / "pgbackrest")
    (tmp_path / "bin").mkdir()
    for path, text in ((tmp_path / "run", UP), (tmp_path / "bin" / "pulumi", EXPORT)):
        path.write_text(text.format(python=sys.executable))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    made = Stage(directory=tmp_path)
    environment = load_environment(tmp_path, "stage")
    (store,) = environment.topology.stores
    pin = labelled_pin(tmp_path, store, made.labels[0])
    control = IPv4Network("198.18.250.0/24")
    machines = sorted(machine.name for machine in environment.topology.machines)
    placement = Placement(
        control_network=control,
        accelerator=Accelerator(kind="tcg", reason="a test"),
        image="0" * 64,
        machines=tuple(
            PlacedMachine(name=name, host="here", control_address=control[10 + at]) for at, name in enumerate(machines)
        ),
        seeds=(pin,),
    )
    write_lock(tmp_path, "stage", placement)
    given = {"store": "shop", "snapshot": pin.snapshot, "snapshot_digest": pin.repository_digest, "drilled_at": ""}
    holder = {
        "type": "understudy:index:PostgresPrimary",
        "inputs": given,
        "outputs": {**RESTORED, **given, "taken_at": in_utc(pin.taken_at)},
    }
    page = {
        "type": "understudy:index:HttpCheck",
        "urn": "urn:pulumi:stage::understudy::understudy:index:HttpCheck::front",
        "outputs": {"ok": True, "detail": "200", "seconds": 0.2},
    }
    resources = [holder, page, *made_here("stage", machines, 65536)]
    (tmp_path / "state.json").write_text(json.dumps({"version": 3, "deployment": {"resources": resources}}))
    monkeypatch.setattr(this_computer, "room", lambda: ROOMY)  # a drill that is a process of its own asks the state
    report = tmp_path / "reports/stage/report.html"
    report.parent.mkdir(parents=True)
    report.write_text(report_html(document()))
    made.up()
    return made


def test_a_green_drill_moves_the_pin_and_is_written_down(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert stage.drill() == 0
    (line,) = stage.lines()
    assert (line["ok"], line["fault"]) == (True, "")
    assert line["recovery_seconds"] >= 0
    assert line["restores"][0]["snapshot"] == stage.labels[-1] == stage.pin().snapshot
    assert line["restores"][0]["snapshot_digest"] == stage.pin().repository_digest
    assert [check["name"] for check in line["checks"]] == ["front"]
    assert "GREEN" in capsys.readouterr().out.splitlines()[-1]
    assert "All that was checked works" in stage.page()


def test_the_same_snapshot_is_drilled_again(stage: Stage) -> None:
    assert stage.drill() == 0
    first = stage.pin()
    time.sleep(1.1)  # a drill is known by its second
    stage.up(code=1, printed="error: it is not filled again")
    assert stage.drill() == 1
    assert stage.pin() == first
    stage.up()
    assert stage.drill() == 0
    assert replace(stage.pin(), drilled_at=None) == replace(first, drilled_at=None)
    assert stage.pin() != first
    assert [line["ok"] for line in stage.lines()] == [True, False, True]


FAILED = """Updating (stage):
     Type                                 Name         Status
 ~   └─ understudy:index:PostgresPrimary  shop         **updating failed**

Diagnostics:
  pulumi:pulumi:Stack (understudy-stage):
    error: update failed
  understudy:index:PostgresPrimary (shop):
    error: db1: the backup 20261124-032202F cannot be restored (restore): damaged in the repository:
    pg_data/base/5/1259 (in 20261124-032202F/bundle/1). The old data still serves.

Resources:
    60 unchanged
"""


def test_a_restore_that_is_refused_is_red_and_the_pin_goes_back(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stage.pin()
    refused = {"store": "shop", "snapshot": stage.labels[-1], "taken_at": "2026-11-24T03:22:10Z", "key": "x"}
    cut_off = '{"store": "sh'
    stage.up(FAILED, 255, f"{json.dumps(refused)}\n{cut_off}")
    assert stage.drill() == 1
    (line,) = stage.lines()
    assert line["fault"] == (
        "db1: the backup 20261124-032202F cannot be restored (restore): damaged in the repository: pg_data/base/5/1259"
        " (in 20261124-032202F/bundle/1). The old data still serves."
    )
    assert (line["ok"], line["recovery_seconds"]) == (False, None)
    assert [(restore["snapshot"], restore["restore_seconds"]) for restore in line["restores"]] == [
        (stage.labels[-1], None)
    ]
    assert stage.pin() == before
    assert "The newest drill is red" in stage.page()
    assert "pg_data/base/5/1259" in stage.page()
    printed = capsys.readouterr().out
    assert f"the pin is on {before.snapshot} of " in printed
    assert "RED" in printed.splitlines()[-1]


def test_after_a_drill_that_was_killed_the_pin_goes_back_to_what_the_store_holds(stage: Stage) -> None:
    """Its pin was never filled in, so that the lock file says what no store holds."""
    before, lock = stage.pin(), read_lock(stage.directory, "stage")
    assert lock is not None
    (store,) = load_environment(stage.directory, "stage").topology.stores
    write_lock(stage.directory, "stage", replace(lock, seeds=(labelled_pin(stage.directory, store, stage.labels[1]),)))
    stage.up("error: it is not filled", 255)
    assert stage.drill() == 1
    assert stage.pin() == before


def test_an_up_that_fails_after_the_store_was_filled_leaves_the_pin_on_what_it_holds(stage: Stage) -> None:
    stage.up("error: lb: the page did not come", 0)
    (stage.directory / "run").write_text(
        (stage.directory / "run").read_text().replace('sys.exit(wanted["code"])', "sys.exit(255)")
    )
    assert stage.drill() == 1
    assert stage.pin().snapshot == stage.labels[-1]
    assert stage.pin().drilled_at is not None
    assert stage.lines()[0]["fault"] == "lb: the page did not come"


def test_a_store_that_was_not_filled_though_up_went_well_is_red(stage: Stage) -> None:
    run = stage.directory / "run"
    run.write_text(run.read_text().replace('(here / "filled").touch()', "pass"))
    assert stage.drill() == 1
    assert stage.lines()[0]["fault"] == "not restored: shop"


def spoil_disk(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "write_lock", full)


def spoil_state(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    (stage.directory / "bin" / "pulumi").write_text("#!/bin/sh\necho '{\"deployment\": '\n")


def spoil_pulumi(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    (stage.directory / "bin" / "pulumi").write_text("#!/bin/sh\necho 'error: no passphrase' >&2; exit 255\n")


def spoil_configuration(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stage.directory / "Pulumi.prod.yaml"
    path.write_text(path.read_text().replace("memory: ", "memmory: "))


def spoil_mirror(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stage.directory / "Pulumi.stage.yaml"
    path.write_text(path.read_text().replace("seed: newest", "seed: empty"))


def spoil_lock(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stage.directory / "Placement.stage.lock.yaml"
    path.write_text(path.read_text().replace("control_network", "controll_network"))


def spoil_run(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    (stage.directory / "run").unlink()


def spoil_backup(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_short(largest_bundle(stage.repository, stage.labels[-1]))


def spoil_memory(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def place(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(drill, "ensure_placed", place)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_disk, "No space left on device"),
        (spoil_state, "JSONDecodeError"),
        (spoil_pulumi, "no passphrase"),
        (spoil_configuration, "memmory"),
        (spoil_mirror, "it has data of its own, or no store that is filled from a backup"),
        (spoil_lock, "controll_network"),
        (spoil_run, "No such file or directory"),
        (spoil_backup, "cut short"),
        (spoil_memory, "MemoryError"),
    ],
)
def test_what_could_not_run_is_red_and_written_down(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, spoil: Any, words: str
) -> None:
    spoil(stage, monkeypatch)
    assert stage.drill() == 1
    (line,) = stage.lines()
    assert not line["ok"]
    assert words in line["fault"]
    assert words in stage.page()
    assert [each.fault for each in read_history(stage.directory, "stage")] == [line["fault"]]


@pytest.mark.parametrize("way", [way for way in WAYS if way.flaw], ids=lambda way: way.name)
def test_what_a_look_at_the_repository_finds_is_red_before_anything_is_done(
    stage: Stage, way: Way, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two ways that only the restore finds are with the rest of them, in `tests/damage`."""
    assert stage.drill() == 0
    before, newest = stage.pin(), stage.labels[-1]
    stage.up(code=1, printed="error: it was tried")
    way.damage(stage.repository, newest)
    assert stage.drill() == 1
    line = stage.lines()[-1]
    for words in (words.replace("that was pinned", "that was pinned or drilled before") for words in way.names):
        assert words in line["fault"]
        assert words in stage.page()
    assert (line["ok"], line["recovery_seconds"], line["restores"]) == (False, None, [])
    assert "RED" in capsys.readouterr().out.splitlines()[-1]
    assert stage.pin() == before


def test_one_that_is_stopped_is_red_and_lets_pulumi_end_in_order(stage: Stage) -> None:
    before = stage.pin()
    stage.up(waits=True, code=1)
    command = (sys.executable, "-m", "cli", "drill", "-C", str(stage.directory), "-s", "stage")
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    while not (stage.directory / "waiting").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1, printed
    assert (stage.directory / "ended").exists()
    assert [line["fault"] for line in stage.lines()] == ["it was stopped by SIGTERM"]
    assert stage.pin() == before


def work_on(stage: Stage, when: str) -> None:
    """Let this very process be noted as one that changes the stage: `now`, or when the drill calls `up`."""
    start = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()[19]
    note = working._file("stage", "pid")
    note.parent.mkdir(parents=True, exist_ok=True)
    if when == "now":
        note.write_text(f"{os.getpid()} {start}\n")
        return
    run, called = stage.directory / "run", 'print(wanted["printed"], flush=True)'
    assert called in run.read_text()
    noting = f'pathlib.Path("{note}").write_text("{os.getpid()} {start}")'
    run.write_text(run.read_text().replace(called, f"{noting}; {called}"))


def test_while_somebody_changes_the_stage_nothing_is_moved(stage: Stage) -> None:
    before = (stage.directory / "Placement.stage.lock.yaml").read_bytes()
    (stage.directory / "run").unlink()  # it is not even tried
    work_on(stage, "now")
    assert stage.drill() == 1
    assert stage.lines()[0]["fault"].startswith(
        f"stack stage: it is being changed by process {os.getpid()} (./run pulumi); wanted one at a time"
    )
    assert (stage.directory / "Placement.stage.lock.yaml").read_bytes() == before
    working._file("stage", "pid").write_text(f"{os.getpid()} 1")  # another process had the number
    (stage.directory / "run").write_text(UP.format(python=sys.executable))
    (stage.directory / "run").chmod(0o755)
    assert stage.drill() == 0


def test_a_drill_that_somebody_forestalls_leaves_the_pin_that_it_found(stage: Stage) -> None:
    """The other's `up` fills the store from that pin, which the state does not say before it has ended."""
    lock = read_lock(stage.directory, "stage")
    assert lock is not None
    (store,) = load_environment(stage.directory, "stage").topology.stores
    moved = labelled_pin(stage.directory, store, stage.labels[1])
    write_lock(stage.directory, "stage", replace(lock, seeds=(moved,)))
    stage.up("run: stack stage is being changed by somebody", 1)
    work_on(stage, "at `up`")
    assert stage.drill() == 1
    assert stage.pin() == moved


def test_two_drills_at_once_are_one(stage: Stage) -> None:
    before = (stage.directory / "Placement.stage.lock.yaml").read_bytes()
    with working.only_drill("stage"):
        assert stage.drill() == 1
    assert stage.lines()[0]["fault"].startswith("stack stage: another drill of it runs")
    assert (stage.directory / "Placement.stage.lock.yaml").read_bytes() == before
    assert stage.drill() == 0


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_one_that_cannot_be_written_down_is_no_green_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(drill_history, "_append", full)
    assert stage.drill() == 1
    assert "drills.jsonl: No space left on device" in capsys.readouterr().err


def test_a_line_that_was_cut_off_does_not_spoil_the_next(stage: Stage) -> None:
    history_path(stage.directory, "stage").write_text('{"ok":tr')
    assert stage.drill() == 0
    assert [each.ok for each in read_history(stage.directory, "stage")] == [True]


def test_a_mistyped_stack_gets_no_history(stage: Stage) -> None:
    assert main(["drill", "-C", str(stage.directory), "-s", "stgae"]) == 1
    assert not (stage.directory / "reports" / "stgae").exists()


def test_a_drill_without_a_report_is_written_down_all_the_same(stage: Stage) -> None:
    (stage.directory / "reports/stage/report.html").unlink()
    flip(largest_bundle(stage.repository, stage.labels[-1]))  # only the restore sees it
    assert stage.drill() == 0
    assert len(stage.lines()) == 1
