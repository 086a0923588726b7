"""The provider under the real Pulumi engine, on a machine with a real sshd."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from model.drilling import fault_in
from tests.doubles.pulumi import ROOT, Project, wait_until
from tests.doubles.sshd import Machine

CANARY, DRIFTED = "canary-4f1d", "canary-by-hand-77"


def on(machine: Machine, kind: str, **inputs: Any) -> dict[str, Any]:
    """Return a resource on that machine."""
    reach = {
        "connection": machine.connection.values(),
        "private_key": {"secret": machine.private_key},
        "generation": "1",
    }
    outputs = {"File": ["digest"], "Unit": ["active_state"]}[kind]
    return {"kind": kind, "inputs": {**reach, **inputs}, "outputs": outputs}


def test_the_whole_life_of_files_a_unit_and_secrets(machine: Machine, tmp_path: Path) -> None:
    project = Project(tmp_path)
    table = {
        "password": {"kind": "Password", "inputs": {}, "outputs": ["value"]},
        "keys": {"kind": "SshKeypair", "inputs": {"comment": "test"}, "outputs": ["public_key", "private_key"]},
        "plain": on(machine, "File", path="/etc/demo/a.conf", content="one\ntwo\nthree\n", reload="demo.service"),
        "secret": on(machine, "File", path="/etc/demo/b", content={"secret": f"k={CANARY}\nx\n"}, mode="0600"),
        "from_password": on(
            machine, "File", path="/etc/demo/p", content={"output": ["password", "value"]}, mode="0600"
        ),
        "unit": on(machine, "Unit", unit="demo.service", restart_on=[{"output": ["plain", "digest"]}]),
    }
    project.resources(table)
    printed = project.run("up", "--yes", "--skip-preview")
    assert "+ 7 created" in printed
    files = machine.root / "etc/demo"
    assert (files / "a.conf").read_text() == "one\ntwo\nthree\n"
    assert (files / "b").read_text() == f"k={CANARY}\nx\n"
    password = (files / "p").read_text()
    assert len(password) == 32
    state = {each["urn"].rpartition("::")[2]: each for each in project.state()}
    assert state["keys"]["outputs"]["public_key"].startswith("ssh-ed25519 ")
    assert set(state["keys"]["outputs"]["private_key"]) > {"ciphertext"}

    # What somebody does by hand shows line by line, and a secret never shows.
    (files / "a.conf").write_text("one\nTWO BY HAND\nthree\n")
    (files / "b").write_text(f"k={DRIFTED}\nx\n")
    (files / "b").chmod(0o644)
    drift = project.run("preview", "--refresh", "--diff")
    assert "- TWO BY HAND\n" in drift
    assert "+ two\n" in drift
    assert "    three\n" in drift
    assert 'mode      : "0600" => "0644"' in drift or '"0644" => "0600"' in drift
    assert "[secret] => [secret]" in drift

    # Put back in place, with a change of the program's own; the unit follows it.
    table["plain"] = on(machine, "File", path="/etc/demo/a.conf", content="one\ntwo\n3\n", reload="demo.service")
    project.resources(table)
    printed += drift + project.run("up", "--yes", "--skip-preview", "--refresh", "--diff")
    assert (files / "a.conf").read_text() == "one\ntwo\n3\n"
    assert (files / "b").read_text() == f"k={CANARY}\nx\n"
    assert f"{(files / 'b').stat().st_mode:o}" == "100600"
    calls = machine.systemctl_calls()
    assert sum(call.startswith("systemctl restart") for call in calls) == 2
    assert sum(call.startswith("systemctl try-reload-or-restart") for call in calls) == 2
    printed += project.run("preview", "--expect-no-changes", "--diff")
    printed += project.kept()
    for secret in (CANARY, DRIFTED, password, machine.private_key.splitlines()[2]):
        assert secret not in printed

    project.run("destroy", "--yes", "--skip-preview")
    assert not files.exists()
    assert project.providers() == ()


def test_killed_and_stopped_ups_are_finished_by_the_next(tmp_path: Path) -> None:
    with Machine("m2") as machine:
        machine.stop()
        project = Project(tmp_path)
        project.resources({"file": on(machine, "File", path="/etc/late", content="x\n")})

        # Ctrl-C while the machine is waited for.
        cli = project.start("up", "--yes", "--skip-preview")
        wait_until(project.providers)
        lines: list[str] = []
        assert cli.stdout is not None
        while "waiting for m2's SSH" not in (lines or [""])[-1]:
            lines.append(cli.stdout.readline())
        cli.send_signal(signal.SIGINT)
        rest, _ = cli.communicate(timeout=10)
        assert "m2: stopped on request. The next `up` goes on from here." in rest
        assert wait_until(lambda: not project.providers()) < 4

        # The CLI is killed while a file is being checked: its provider ends with it, and the lock is free.
        machine.start()
        slow = on(machine, "File", path="/etc/slow", content="x\n", validate=["sleep", "3"])
        project.resources({"slow": slow})
        cli = project.start("up", "--yes", "--skip-preview")
        wait_until(lambda: list((machine.root / "etc").glob(".understudy.*/slow")))
        project.kill(cli)
        assert wait_until(lambda: not project.providers()) < 4
        project.run("cancel", "--yes")

        # The provider alone is killed.
        cli = project.start("up", "--yes", "--skip-preview")
        wait_until(lambda: len(list((machine.root / "etc").glob(".understudy.*/slow"))) > 0)
        for provider in wait_for(project):
            os.kill(provider, signal.SIGKILL)
        cli.communicate(timeout=30)
        assert cli.returncode != 0

        slow["inputs"]["validate"] = []
        project.resources({"slow": slow})
        assert "+ 2 created" in project.run("up", "--yes", "--skip-preview") or len(project.state()) == 3
        assert (machine.root / "etc/slow").read_text() == "x\n"
        assert not list((machine.root / "etc").glob(".understudy.*"))


def wait_for(project: Project) -> tuple[int, ...]:
    """Return the provider's processes as soon as there are any."""
    wait_until(project.providers)
    return project.providers()


def test_errors_are_plain_half_made_is_kept_and_what_exists_is_imported(machine: Machine, tmp_path: Path) -> None:
    project = Project(tmp_path)
    root = machine.root
    (root / "etc/fake-broken").mkdir()
    (root / "etc/fake-broken/bad.service").touch()
    (root / "etc/by-hand").write_text("was here\n")
    table = {
        "unit": on(machine, "Unit", unit="bad.service"),
        "wrong": on(machine, "File", path="relative", content="x", mode="644"),
        "refused": on(machine, "File", path="/etc/refused", content="x", validate=["grep", "needle", "{}"]),
    }
    project.resources({"wrong": table["wrong"]})
    printed = project.run("preview", succeeds=False)
    assert "path: found 'relative'; allowed: an absolute path" in printed
    assert "mode: found '644'; allowed: four octal digits" in printed

    del table["wrong"]
    project.resources(table)
    printed = project.run("up", "--yes", "--skip-preview", succeeds=False)
    assert "m1: bad.service: loaded, failed, failed, exit-code; wanted active" in printed
    assert "the last words of the service" in printed
    assert "m1: /etc/refused: was not written" in printed
    assert "Unexpected" not in printed
    assert "Traceback" not in printed
    kept = {each["urn"].rpartition("::")[2]: each for each in project.state()}
    assert "unit" in kept
    assert "refused" not in kept

    (root / "etc/fake-broken/bad.service").unlink()
    del table["refused"]
    machine.known_to_user(tmp_path / "home-of-user")
    project.environment["HOME"] = str(tmp_path / "home-of-user")
    imported = on(machine, "File", path="/etc/by-hand", content="was here\n")
    table["imported"] = {**imported, "import": f"ssh://root@127.0.0.1:{machine.port}/etc/by-hand"}
    project.resources(table)
    printed = project.run("up", "--yes", "--skip-preview")
    assert "1 updated" in printed
    assert "1 imported" in printed
    project.run("preview", "--expect-no-changes")
    project.run("destroy", "--yes", "--skip-preview")
    assert (root / "etc/by-hand").read_text() == "was here\n", "what was there before us stays"


def test_a_provider_behind_a_wrapper_ends_with_the_engine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as engine:
        address = f"127.0.0.1:{engine.getsockname()[1]}"
        executable = ROOT / "provisioners/provider/pulumi-resource-understudy"
        # A shell that does not become the provider, and itself lives on.
        wrapper = subprocess.Popen(
            ("sh", "-c", '"$1" "$2"; exec sleep 60', "sh", str(executable), address), stdout=subprocess.PIPE
        )
        assert wrapper.stdout is not None
        assert int(wrapper.stdout.readline()) > 0
        children = Path(f"/proc/{wrapper.pid}/task/{wrapper.pid}/children")
        provider = Path("/proc", children.read_text().split()[0], "cmdline")
        assert b"provisioners.provider" in provider.read_bytes()
    assert wait_until(lambda: not provider.exists()) < 3
    wrapper.kill()
    wrapper.wait()
    wrapper.stdout.close()


def test_what_went_wrong_is_found_in_what_the_engine_prints(machine: Machine, tmp_path: Path) -> None:
    """A drill writes it down: each error whole, and once."""
    project = Project(tmp_path)
    reach = {"connection": machine.connection.values(), "private_key": machine.private_key, "generation": "1"}

    def fault(*urls: str) -> set[str]:
        pages = {f"page{at}": {**reach, "url": url, "patience_seconds": 1} for at, url in enumerate(urls)}
        outputs = ["ok", "detail", "seconds"]
        project.resources(
            {name: {"kind": "HttpCheck", "inputs": given, "outputs": outputs} for name, given in pages.items()}
        )
        return set(fault_in(project.run("up", "--yes", "--skip-preview", succeeds=False)).split("; http"))

    found = fault("http://127.0.0.1:1/one", "http://127.0.0.1:1/other")
    assert sorted(each.removeprefix("http").partition(", asked from m1: curl: (7) ")[0] for each in found) == [
        "://127.0.0.1:1/one",
        "://127.0.0.1:1/other",
    ]
    assert all(each.endswith("still after 1 s; wanted status 200") for each in found)
    (refused,) = fault("no address")
    assert refused.startswith("understudy:index:HttpCheck resource 'page0' has a problem: url: found 'no address'")
