"""What is started beside Pulumi: Pulumi finds it, the program runs there, and it ends with its starter."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli._beside import PROVIDER_NAME, Beside
from cli.pulumi import _held
from model.errors import UnderstudyError
from tests.doubles.pulumi import ROOT, Project, wait_until
from tests.doubles.sshd import Machine

STARTER = f"""
import sys
from pathlib import Path
from cli._beside import Beside
with Beside(Path({str(ROOT)!r})) as beside:
    print(beside.program(), beside.provider(serves=True), flush=True)
    sys.stdin.read()
"""


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def names_of(group: int) -> set[str]:
    """Return what the processes of a group are called."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int((process / "stat").read_text().rpartition(")")[2].split()[2]) == group:
                found.add((process / "comm").read_text().strip())
        except OSError:
            continue
    return found


@pytest.mark.parametrize("how", ["at its end", "killed"])
def test_both_serve_and_end_with_whoever_started_them(how: str) -> None:
    starter = subprocess.Popen(
        (sys.executable, "-c", STARTER), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdin is not None
    assert starter.stdout is not None
    program, provider = map(int, starter.stdout.readline().split())
    children = Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text().split()
    (group,) = map(int, children)
    assert os.getpgid(group) == group
    wait_until(lambda: listens(program) and listens(provider))
    assert names_of(group) == {"pulumi-program", PROVIDER_NAME}
    if how == "killed":
        os.kill(starter.pid, signal.SIGKILL)
    starter.communicate(timeout=30)
    wait_until(lambda: not names_of(group))
    assert not listens(program)
    assert not listens(provider)


def test_what_cannot_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli/__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", "")
    with Beside(tmp_path) as beside, pytest.raises(UnderstudyError, match="it ended before it served"):
        beside.program()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.environment |= {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path / "xdg")}
    (tmp_path / "Pulumi.s.yaml").write_text("config: {}\n")
    return project


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine() as running:
        yield running


def start(project: Project, verb: str, *options: str, terminal: bool = False) -> subprocess.Popen[str]:
    """Start a command of Pulumi as `./run pulumi` does, but on a stack that nobody has to prepare.

    Where it is in a terminal, what is written to its standard input is typed.
    """
    pulumi = ("pulumi", verb, "-s", "s", "--non-interactive", "--color=never", *options)
    command = (sys.executable, "-m", "cli", "pulumi", "--stack", "s", "--verb", verb, "--busy", "--", *pulumi)
    return subprocess.Popen(
        ("script", "--quiet", "--return", "--command", shlex.join(command), "/dev/null") if terminal else command,
        cwd=project.directory,
        env=project.environment,
        stdin=subprocess.PIPE if terminal else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(project: Project, verb: str, *options: str) -> tuple[int, str]:
    """Run such a command to its end; return its exit code, and what it printed."""
    process = start(project, verb, *options)
    printed, _ = process.communicate(timeout=120)
    return process.returncode, printed


def want_page(project: Project, machine: Machine, patience_seconds: int) -> None:
    """Have the program look at a page that nobody serves."""
    reach = {"connection": machine.connection.values(), "private_key": machine.private_key, "generation": "1"}
    inputs = {**reach, "url": "http://127.0.0.1:1/", "patience_seconds": patience_seconds}
    project.resources({"page": {"kind": "HttpCheck", "inputs": inputs, "outputs": ["ok", "detail", "seconds"]}})


def test_the_end_of_a_preview_stops_nothing_of_the_update(project: Project, machine: Machine) -> None:
    """The engine cancels each provider when it lets go of it, and the update has the preview's provider."""
    want_page(project, machine, 3)
    code, printed = run(project, "up", "--yes")
    assert code
    assert "asked from m1: curl: (7)" in printed
    assert "stopped on request" not in printed


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_done_is_stopped_where_the_user_wants_to(project: Project, machine: Machine, terminal: bool) -> None:
    want_page(project, machine, 600)
    process = start(project, "up", "--yes", "--skip-preview", terminal=terminal)
    assert process.stdout is not None
    said = ""
    while "page creating" not in said:
        said += process.stdout.readline()
    time.sleep(1)
    if terminal:
        assert process.stdin is not None
        process.stdin.write("\x03")
        process.stdin.flush()
    else:
        os.kill(process.pid, signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode
    assert "stopped on request" in said + printed
    assert project.providers() == ()


@pytest.mark.parametrize(
    ("words", "plan", "held"),
    [
        (["pulumi", "up"], "{}", True),
        (["pulumi", "up"], "", False),
        (["pulumi", "up"], None, False),
        (["pulumi", "up", "--plan=x"], "{}", False),
        (["pulumi", "up", "--plan", "x"], "{}", False),
    ],
)
def test_an_update_is_held_to_the_plan_that_is_there(
    words: list[str], plan: str | None, held: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "plan.json"
    if plan is not None:
        file.write_text(plan)
    monkeypatch.setenv("UNDERSTUDY_PLAN", str(file))
    assert _held(words) == (("--plan", str(file)) if held else ())


def test_nothing_goes_on_without_a_machine_where_a_plan_holds(project: Project) -> None:
    plan = project.directory / "plan.json"
    plan.write_text("{}")
    project.environment["UNDERSTUDY_PLAN"] = str(plan)
    code, printed = run(project, "up", "--yes", "--continue")
    assert (code, "--plan or --target beside it" in printed) == (1, True), printed


def test_the_same_state_as_by_pulumis_own_host(project: Project) -> None:
    keys = {"kind": "SshKeypair", "inputs": {"comment": "test"}, "outputs": ["public_key", "private_key"]}
    project.resources({"keys": keys, "more": {**keys, "after": ["keys"]}})
    code, printed = run(project, "up", "--yes")  # a preview comes first: the provider is met by two engines
    assert (code, "+ 2 created" in printed or "+ 3 created" in printed) == (0, True), printed
    project.run("preview", "--expect-no-changes")
    assert project.providers() == ()
    code, printed = run(project, "preview", "--expect-no-changes")
    assert code == 0, printed
    code, printed = run(project, "refresh", "--yes", "--skip-preview")
    assert code == 0, printed
    code, printed = run(project, "destroy", "--yes", "--skip-preview")
    assert code == 0, printed
    assert project.state() == []
    assert project.providers() == ()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ('import pulumi\nraise pulumi.RunError("no such place")', "no such place"),
        ("import nothing_of_this_name", "nothing_of_this_name"),
        ('import pulumi\npulumi.Output.from_input(1).apply(lambda _: {}["absent"])', "absent"),
    ],
)
def test_what_is_wrong_with_the_program_is_told(project: Project, program: str, words: str) -> None:
    (project.directory / "__main__.py").write_text(program)
    code, printed = run(project, "preview")
    own = project.run("preview", succeeds=False)
    assert code
    assert words in printed
    assert words in own
    if "RunError" in program:  # the others are mistakes of the program's makers
        assert printed.count("no such place") == own.count("no such place")
