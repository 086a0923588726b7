"""The provider under the real Pulumi engine, on a machine with a real sshd."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from model.drilling import fault_in
from tests.doubles.pulumi import ROOT, Project, wait_until
from tests.doubles.sshd import Machine

CANARY, DRIFTED = "canary-4f1d", "canary-by-hand-77"


def service(machine: Machine, name: str, files: dict[str, Any], **inputs: Any) -> dict[str, Any]:
    """Return a service on that machine."""
    reach = {
        "connection": machine.connection.values(),
        "private_key": {"secret": machine.private_key},
        "generation": "1",
    }
    return {"kind": "Service", "inputs": {**reach, "service": name, "files": files, **inputs}, "outputs": ["change"]}


def test_the_whole_life_of_a_service_and_secrets(machine: Machine, tmp_path: Path) -> None:
    project = Project(tmp_path)
    given = {
        "/etc/demo/a.conf": {"content": "one\ntwo\nthree\n"},
        "/etc/demo/b": {"content": "k=@@key@@\nx\n", "mode": "0600"},
        "/etc/demo/p": {"content": "@@password@@", "mode": "0600"},
        "/etc/systemd/system/demo.service": {"content": "[Service]\nExecStart=/bin/sleep 9\n"},
    }
    more = {
        "secrets": {"key": {"secret": CANARY}, "password": {"output": ["password", "value"]}},
        "reload": {"/etc/demo/a.conf": "demo.service"},
        "units": {"demo.service": {"restart_on": []}},
    }
    table = {
        "password": {"kind": "Password", "inputs": {}, "outputs": ["value"]},
        "keys": {"kind": "SshKeypair", "inputs": {"comment": "test"}, "outputs": ["public_key", "private_key"]},
        "demo": service(machine, "demo", given, **more),
    }
    project.resources(table)
    printed = project.run("up", "--yes", "--skip-preview")
    assert "+ 4 created" in printed
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
    assert re.search(r"- TWO BY HAND\n", drift), drift
    assert re.search(r"\+ two\n", drift)
    assert re.search(r'"0644" => "0600"|"0600" => "0644"', drift)
    assert "not shown, because a secret belongs here" in drift

    # Put back in place, with a change of the program's own; the unit follows it.
    given["/etc/demo/a.conf"]["content"] = "one\ntwo\n3\n"
    project.resources(table)
    printed += drift + project.run("up", "--yes", "--skip-preview", "--refresh", "--diff")
    assert (files / "a.conf").read_text() == "one\ntwo\n3\n"
    assert (files / "b").read_text() == f"k={CANARY}\nx\n"
    assert f"{(files / 'b').stat().st_mode:o}" == "100600"
    calls = [call for call in machine.systemctl_calls() if "demo.service" in call]
    assert sum(call.startswith("systemctl restart") for call in calls) == 1
    assert sum(call.startswith("systemctl try-reload-or-restart") for call in calls) == 1
    printed += project.run("preview", "--expect-no-changes", "--diff")
    printed += project.run("preview", "--expect-no-changes", "--diff", "--refresh")
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
        late = service(machine, "late", {"/etc/late": {"content": "x\n"}})
        project.resources({"late": late})

        # Ctrl-C while the machine is waited for.
        cli = project.start("up", "--yes", "--skip-preview")
        wait_until(project.providers)
        lines: list[str] = []
        assert cli.stdout is not None
        while "waiting for m2's SSH" not in (lines or [""])[-1]:
            lines.append(cli.stdout.readline())
        cli.send_signal(signal.SIGINT)
        rest, _ = cli.communicate(timeout=60)
        assert "m2: stopped on request. The next `up` goes on from here." in rest
        wait_until(lambda: not project.providers(), 60)

        # The CLI is killed while a file is being validated: its provider ends with it, and the lock is free.
        machine.start()
        takes_long = {"/etc/slow": ["sh", "-c", "sleep 3", "{}"]}
        slow = service(machine, "slow", {"/etc/slow": {"content": "x\n"}}, validate=takes_long)
        project.resources({"slow": slow})
        cli = project.start("up", "--yes", "--skip-preview")
        wait_until((machine.root / "etc/.understudy-slow/slow").exists)
        project.kill(cli)
        wait_until(lambda: not project.providers(), 60)
        project.run("cancel", "--yes")

        # The provider alone is killed, once what the first one left was taken back.
        validated = len(list((machine.root / "root/configs/slow").glob("*Z-*")))
        cli = project.start("up", "--yes", "--skip-preview")
        wait_until(lambda: len(list((machine.root / "root/configs/slow").glob("*Z-*"))) > validated)
        wait_until((machine.root / "etc/.understudy-slow/slow").exists)
        for provider in wait_for(project):
            os.kill(provider, signal.SIGKILL)
        cli.communicate(timeout=30)
        assert cli.returncode != 0

        slow["inputs"]["validate"] = {}
        project.resources({"slow": slow})
        project.run("up", "--yes", "--skip-preview")
        assert len([each for each in project.state() if each["type"].endswith(":Service")]) == 1
        assert (machine.root / "etc/slow").read_text() == "x\n"
        assert not list((machine.root / "etc").glob(".understudy*"))
        assert not list((machine.root / "root/configs/.open").iterdir())


def wait_for(project: Project) -> tuple[int, ...]:
    """Return the provider's processes as soon as there are any."""
    wait_until(project.providers)
    return project.providers()


def test_errors_are_plain_and_leave_nothing_behind(machine: Machine, tmp_path: Path) -> None:
    project, root = Project(tmp_path), machine.root
    (root / "etc/fake-broken").mkdir()
    (root / "etc/fake-broken/bad.service").touch()
    (root / "etc/by-hand").write_text("was here\n")
    unit = {"/etc/systemd/system/bad.service": {"content": "[Service]\nExecStart=/bin/false\n"}}
    validate = {"/etc/refused": ["grep", "needle", "{}"]}
    table = {
        "unit": service(machine, "bad", unit, units={"bad.service": {"restart_on": []}}),
        "refused": service(machine, "refused", {"/etc/refused": {"content": "x"}}, validate=validate),
        "over": service(machine, "over", {"/etc/by-hand": {"content": "ours\n"}}),
    }
    project.resources({"wrong": service(machine, "wrong", {"relative": {"content": "x", "mode": "644"}})})
    printed = project.run("preview", succeeds=False)
    assert 'files["relative"]: the name is not allowed; allowed: an absolute path' in printed
    assert "mode: found '644'; allowed: four octal digits" in printed

    project.resources(table)
    printed = project.run("up", "--yes", "--skip-preview", "--continue-on-error", succeeds=False)
    assert "m1: bad: the step `" in printed
    assert "the last words of the service" in printed
    assert "m1: refused: the step `" in printed
    assert "The old configuration is back." in printed
    assert "Unexpected" not in printed
    assert "Traceback" not in printed
    kept = {each["urn"].rpartition("::")[2] for each in project.state()}
    assert kept & set(table) == {"over"}
    assert not (root / "etc/refused").exists()
    assert not (root / "etc/systemd/system/bad.service").exists()

    (root / "etc/fake-broken/bad.service").unlink()
    del table["refused"]
    project.resources(table)
    project.run("up", "--yes", "--skip-preview")
    project.run("preview", "--expect-no-changes")
    project.run("destroy", "--yes", "--skip-preview")
    assert (root / "etc/by-hand").read_text() == "was here\n", "what was there before us is back"
    assert not (root / "etc/systemd/system/bad.service").exists()


def test_what_an_earlier_version_made_is_forgotten_and_stays(machine: Machine, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.resources({"web": service(machine, "web", {"/etc/web.conf": {"content": "new\n"}})})
    project.run("up", "--yes", "--skip-preview")
    deployment = json.loads(project.run("stack", "export"))
    resources = deployment["deployment"]["resources"]
    made = next(each for each in resources if each["type"].endswith(":Service"))
    for kind, of_old in (("File", {"path": "/etc/web.conf", "content": "old\n"}), ("Unit", {"unit": "web.service"})):
        old = {"type": f"understudy:index:{kind}", "inputs": of_old, "outputs": of_old, "id": f"m1:{kind}"}
        resources.append({**made, **old, "urn": made["urn"].replace("Service::web", f"{kind}::old")})
    (tmp_path / "old.json").write_text(json.dumps(deployment))
    project.run("stack", "import", "--file", str(tmp_path / "old.json"))
    assert "- 2 deleted" in project.run("up", "--yes", "--skip-preview", "--refresh")
    assert (machine.root / "etc/web.conf").read_text() == "new\n"
    assert {each["type"] for each in project.state()} >= {"understudy:index:Service"}
    assert not any(each["type"].endswith((":File", ":Unit")) for each in project.state())


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
    wait_until(lambda: not provider.exists(), 30)
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
