"""Pulumi's state, passphrase and locks, as ./run looks after them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.working import who_works_on

if TYPE_CHECKING:
    from tests.run.conftest import Clone


@pytest.fixture
def ready(clone: Clone) -> Clone:
    clone.own_pulumi()
    clone.run("true")
    clone.log.unlink(missing_ok=True)
    return clone


def lock_file(clone: Clone, pid: int, hostname: str) -> Path:
    folder = clone.state / "state/.pulumi/locks/organization/understudy/stage"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{pid}.json"
    file.write_text(json.dumps({"pid": pid, "username": "me", "hostname": hostname, "timestamp": "2026-01-01"}))
    return file


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def wait_for_lock(clone: Clone) -> None:
    until = time.monotonic() + 20
    while not list(clone.state.glob("state/.pulumi/locks/organization/understudy/stage/*.json")):
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("command", "stack", "verb"),
    [
        ("pulumi up -s stage --yes", "stage", "up"),
        ("pulumi -s stage preview --diff", "stage", "preview"),
        ("pulumi --stack=me/understudy/prod up", "prod", "up"),
        ("pulumi --color never destroy -sstage", "stage", "destroy"),
        ("pulumi pre --stack stage", "stage", "preview"),
        ("pulumi --logtostderr up -s stage", "stage", "up"),
        ("pulumi --tracing file:t --profiling p --memprofilerate 1 --otel-traces t up -s stage", "stage", "up"),
        ("pulumi -v 9 up -s stage", "stage", "up"),
        ("pulumi up -ys prod", "prod", "up"),
        ("pulumi up -yfsprod", "prod", "up"),
        ("pulumi up -ys=prod -r=false", "prod", "up"),
        ("pulumi up -s prod -m -stage --message '-s stage' --message=-sstage", "prod", "up"),
        ("pulumi import -f stage.json -s prod", "prod", "import"),
        ("pulumi import -fstage.json -s prod", "prod", "import"),
        ("pulumi up -s prod -- -s stage", "prod", "up"),
        ("pulumi -s", "", ""),
        ("pulumi up", "", "up"),
        ("pulumi", "", ""),
    ],
)
def test_reads_a_command_line(clone: Clone, command: str, stack: str, verb: str) -> None:
    done = clone.bash(f'read_command_line {command}; echo "$ASKED_STACK"; echo "$ASKED_VERB"')
    assert done.stdout.splitlines() == [stack, verb]


@pytest.mark.parametrize("options", ["-m 'fix -h and -C' -s", "-ym -h -s", "-m --help -s"])
def test_a_message_that_names_options_is_no_way_round_the_preparation(ready: Clone, options: str) -> None:
    done = ready.run("pulumi", "up", *shlex.split(options), "stage")
    assert done.returncode == 0, done.stderr
    assert "--config-file" in ready.called()[-1]


def test_a_bundle_that_saves_configuration_gets_the_real_file(ready: Clone) -> None:
    ready.run("pulumi", "up", "-s", "stage", "-yc", "understudy:seed=newest")
    assert ready.called()[-1].startswith("up ")
    assert "--config-file" not in ready.called()[-1]


@pytest.mark.parametrize(
    ("url", "directory"),
    [
        ("file:///a/b", "/a/b/.pulumi"),
        ("file:///a/b/?no_tmp_dir=true", "/a/b/.pulumi"),
        ("file://~/x", "HOME/x/.pulumi"),
        ("file://~", "HOME/.pulumi"),
        ("s3://bucket", ""),
    ],
)
def test_directory_of_a_backend(clone: Clone, url: str, directory: str) -> None:
    done = clone.bash("backend_directory", PULUMI_BACKEND_URL=url)
    assert done.stdout.strip() == directory.replace("HOME", str(clone.root.parent))


def test_first_up_makes_state_passphrase_and_stack_for_their_owner_alone(ready: Clone) -> None:
    before = (ready.root / "Pulumi.stage.yaml").read_bytes()
    done = ready.run("pulumi", "up", "-s", "stage", "--yes")
    assert done.returncode == 0, done.stderr
    passphrase = ready.state / "passphrase"
    assert (stat.S_IMODE(passphrase.stat().st_mode), len(passphrase.read_text())) == (0o600, 45)
    assert stat.S_IMODE((ready.state / "state").stat().st_mode) == 0o700
    init, up = ready.called()
    assert init == "stack init stage --no-select --non-interactive"
    assert up.startswith("up -s stage --yes --config-file ")
    assert (ready.root / "Pulumi.stage.yaml").read_bytes() == before
    kept = passphrase.read_text()
    assert ready.run("pulumi", "up", "-s", "stage").returncode == 0
    assert passphrase.read_text() == kept
    assert len(ready.called()) == 3


def test_a_stack_that_pulumis_service_refuses_is_told_with_its_name(ready: Clone) -> None:
    ready.program("pulumi", "#!/bin/sh\nexit 1\n")
    said = ready.bash("create_stack stage", PULUMI_ACCESS_TOKEN="t").stderr
    assert "cannot create the stack stage in Pulumi's service" in said


def test_a_new_place_for_states_gets_an_id_and_an_old_one_stays_as_it_is(ready: Clone) -> None:
    ready.run("pulumi", "up", "-s", "stage")
    given = (ready.state / "state/understudy-id").read_text().strip()
    assert re.fullmatch("[0-9a-f]{16}", given)
    ready.run("pulumi", "up", "-s", "stage")
    assert (ready.state / "state/understudy-id").read_text().strip() == given
    (ready.state / "state/understudy-id").unlink()
    (ready.state / "state/.pulumi").mkdir(exist_ok=True)
    ready.run("pulumi", "up", "-s", "stage")
    assert not (ready.state / "state/understudy-id").exists(), "what it has made carries a mark without one"


def test_config_that_is_saved_goes_to_the_real_file(ready: Clone) -> None:
    ready.run("pulumi", "up", "-s", "stage", "-c", "understudy:seed=newest")
    assert "--config-file" not in ready.called()[-1]


@pytest.mark.parametrize("where", ["state", "file"])
def test_lost_passphrase_is_an_error_and_no_new_one_is_made(ready: Clone, where: str) -> None:
    if where == "state":
        ready.run("pulumi", "up", "-s", "stage")
        (ready.state / "passphrase").unlink()
    else:
        with (ready.root / "Pulumi.stage.yaml").open("a") as file:
            file.write("encryptionsalt: v1:x:v1:y\n")
    calls = ready.called()
    done = ready.run("pulumi", "up", "-s", "stage")
    assert done.returncode == 1
    assert f"the passphrase file {ready.state / 'passphrase'} is missing" in done.stderr
    assert "PULUMI_CONFIG_PASSPHRASE" in done.stderr
    assert not (ready.state / "passphrase").exists()
    assert ready.called() == calls


@pytest.mark.parametrize(
    ("exported", "code", "said", "made"),
    [
        (
            '{"state": {"salt": "v1:a"}}',
            0,
            "is missing, and stack prod has secrets that only its passphrase opens",
            False,
        ),
        ('{"state": {"url": "awskms://key"}}', 0, "made a passphrase", True),
        ("error: no stack named 'prod' found", 6, "made a passphrase", True),
        ("error: no credentials", 255, "cannot find out whether stack prod exists in s3://bucket", False),
    ],
)
def test_a_stack_in_a_bucket_that_somebody_else_made_gets_no_new_passphrase(
    ready: Clone, exported: str, code: int, said: str, made: bool
) -> None:
    ready.program(
        "pulumi", f"#!/bin/bash\n[ \"$1 $2\" != 'stack export' ] || {{ cat <<'E'\n{exported}\nE\nexit {code}; }}\n"
    )
    done = ready.bash("choose_passphrase prod", PULUMI_BACKEND_URL="s3://bucket")
    assert (done.returncode, said in done.stderr) == (int(not made), True), done.stderr
    assert (code != 255) or "error: no credentials" in done.stderr
    assert (ready.state / "passphrase").exists() is made


def test_at_pulumis_service_no_passphrase_is_made(ready: Clone) -> None:
    ready.bash("choose_backend; choose_passphrase prod", PULUMI_ACCESS_TOKEN="t")
    assert not (ready.state / "passphrase").exists()


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_packed_state_is_one_too(ready: Clone, suffix: str) -> None:
    file = ready.state / f"state/.pulumi/stacks/understudy/stage.json{suffix}"
    file.parent.mkdir(parents=True)
    file.touch()
    asked = "choose_backend; stack_exists stage && ! stack_exists other"
    assert ready.bash(asked).returncode == 0


@pytest.mark.parametrize("name", ["PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"])
def test_a_passphrase_of_the_users_own_comes_first(ready: Clone, name: str) -> None:
    done = ready.run("pulumi", "up", "-s", "stage", **{name: ""} if name.endswith("E") else {name: "x"})
    assert done.returncode == 0
    assert (ready.state / "passphrase").exists() is (name == "PULUMI_CONFIG_PASSPHRASE_FILE")


def test_a_login_of_the_users_own_comes_first(ready: Clone) -> None:
    home = ready.root.parent / ".pulumi"
    home.mkdir()
    (home / "credentials.json").write_text('{\n  "current": "file:///elsewhere",\n  "accounts": {}\n}')
    done = ready.bash('choose_backend; echo "$PULUMI_BACKEND_URL"')
    assert done.stdout == "file:///elsewhere\n"


def test_lock_of_a_dead_process_is_cleared(ready: Clone) -> None:
    file = lock_file(ready, dead_pid(), socket.gethostname())
    done = ready.run("pulumi", "up", "-s", "stage")
    assert (done.returncode, file.exists()) == (0, False), done.stderr
    assert "cleared the lock of a pulumi that has ended" in done.stderr


def test_it_is_cleared_for_who_gives_up_a_host_too(ready: Clone) -> None:
    """What waited for the host may have been killed."""
    file = lock_file(ready, dead_pid(), socket.gethostname())
    done = ready.run("understudy", "host", "lost", "rack", "-s", "stage")
    assert not file.exists(), done.stderr


def test_lock_of_a_process_that_nobody_took_note_of_is_cleared(ready: Clone, tmp_path: Path) -> None:
    """A Pulumi that was killed together with what started it: its parent is the system's first process, in no hurry."""
    program = tmp_path / "pulumi"
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen([program, "60"])
    process.kill()
    until = time.monotonic() + 10
    while ") Z " not in Path(f"/proc/{process.pid}/stat").read_text():
        assert time.monotonic() < until
    file = lock_file(ready, process.pid, socket.gethostname())
    done = ready.run("pulumi", "up", "-s", "stage")
    assert (done.returncode, file.exists()) == (0, False), done.stderr
    process.wait()


def test_lock_whose_number_is_another_program_now_is_cleared(ready: Clone) -> None:
    file = lock_file(ready, os.getpid(), socket.gethostname())
    assert ready.run("pulumi", "up", "-s", "stage").returncode == 0
    assert not file.exists()


def test_lock_of_another_computer_stays(ready: Clone) -> None:
    file = lock_file(ready, dead_pid(), "elsewhere")
    done = ready.run("pulumi", "up", "-s", "stage")
    assert (done.returncode, file.exists()) == (1, True)
    assert "of me on elsewhere since 2026-01-01" in done.stderr
    assert "pulumi cancel -s stage" in done.stderr


def test_second_up_on_one_stack_is_refused_and_a_preview_is_not(ready: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ready.start("pulumi", "up", "-s", "stage", FAKE_UP_SECONDS="15")
    wait_for_lock(ready)
    monkeypatch.setenv("XDG_STATE_HOME", str(ready.state.parent))
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{ready.state}/state")
    assert who_works_on("stage") == f"process {first.pid} (./run pulumi)", "a drill reads the same note"
    second = ready.run("pulumi", "up", "-s", "stage")
    preview = ready.run("pulumi", "preview", "-s", "stage")
    other = ready.run("pulumi", "up", "-s", "other")
    assert second.returncode == 1
    assert f"stack stage is being changed by process {first.pid}" in second.stderr
    assert (preview.returncode, "may be out of date" in preview.stderr) == (0, True)
    assert other.returncode == 0
    first.communicate(timeout=30)
    assert first.returncode == 0
    assert who_works_on("stage") == ""
    assert ready.run("pulumi", "up", "-s", "stage").returncode == 0


def test_after_a_kill_the_next_up_goes_on(ready: Clone) -> None:
    killed = ready.start("pulumi", "up", "-s", "stage", FAKE_UP_SECONDS="60")
    wait_for_lock(ready)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    done = ready.run("pulumi", "up", "-s", "stage")
    assert done.returncode == 0, done.stderr


def preflight(clone: Clone, text: str) -> None:
    (clone.root / "cli").mkdir()
    (clone.root / "cli/__init__.py").touch()
    for name in ("preflight", "pulumi"):
        (clone.root / f"cli/{name}.py").touch()
    (clone.root / "cli/__main__.py").write_text(f"import sys\n{text}\n")


def test_preflight_comes_first_and_stops_what_it_refuses(ready: Clone) -> None:
    preflight(ready, 'if sys.argv[1] == "pulumi": print(sys.argv[1:14]); sys.exit(3)')
    for _ in range(2):
        done = ready.run("pulumi", "up", "-s", "stage")
        given = ["pulumi", "--stack", "stage", "--verb", "up", "--lock", "8", "--", "pulumi", "up", "-s", "stage"]
        assert (done.returncode, done.stdout) == (3, f"{[*given, '--config-file']}\n")
    assert not [call for call in ready.called() if call.startswith("up")]


@pytest.mark.parametrize("verb", ["up", "preview"])
def test_nothing_is_made_for_a_stack_whose_description_has_faults(ready: Clone, verb: str) -> None:
    preflight(ready, 'sys.exit("faults")')
    done = ready.run("pulumi", verb, "-s", "stage")
    assert (done.returncode, done.stderr) == (1, "faults\n")
    assert ready.called() == []
    assert [path for path in ready.state.rglob("*") if path.is_file()] == []


def test_a_stage_with_faults_can_be_removed_all_the_same(ready: Clone) -> None:
    preflight(ready, 'sys.exit("faults" if sys.argv[-1] in ("up", "preview", "stage") else 0)')
    assert ready.run("pulumi", "destroy", "-s", "stage").returncode == 0


def test_a_look_at_the_files_makes_no_passphrase(ready: Clone) -> None:
    ready.run("understudy", "preflight", "-s", "stage")
    assert not (ready.state / "passphrase").exists()


def test_without_a_stack_an_up_is_a_question(ready: Clone) -> None:
    ready.program("pulumi", '#!/bin/sh\n[ "$1" = version ] && echo v3.259.0 && exit\nexit 1\n')
    done = ready.run("pulumi", "up")
    assert done.returncode == 1
    assert "for which stack?" in done.stderr
