"""The timer of a drill: what systemd makes of its units, and what is never written into them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cli import drill_timer
from cli.__main__ import main
from cli.drill_timer import timer

ROOT = Path(__file__).parents[2]
ANALYZE = shutil.which("systemd-analyze") or ""
CONTROL = """#!/bin/sh
echo "$0 $*" | sed 's|.*/||' >>"$FAKE_SYSTEMCTL"
case "$*" in *"$FAKE_REFUSES"*) echo "Unit is masked." >&2; exit 1 ;; esac
"""
SECRETS = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_ACCESS_TOKEN", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project on a computer where systemd seems to run; its systemctl is a double, systemd-analyze is real."""
    directory = tmp_path / 'a "$odd" 5% place'
    directory.mkdir()
    for name in ("Pulumi.yaml", "Pulumi.prod.yaml", "Pulumi.stage.yaml"):
        shutil.copy(ROOT / name, directory)
    shutil.copytree(ROOT / "services", directory / "services")
    (directory / "run").write_text("#!/bin/sh\n")
    (directory / "run").chmod(0o755)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "systemctl").write_text(CONTROL)
    (bin_ / "systemctl").chmod(0o755)
    if not ANALYZE:
        (bin_ / "systemd-analyze").symlink_to("/bin/true")
    (tmp_path / "systemd").mkdir()
    monkeypatch.setattr(drill_timer, "SYSTEMD", tmp_path / "systemd")
    monkeypatch.setattr(drill_timer, "UNITS", tmp_path / "units")
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SYSTEMCTL", str(tmp_path / "asked"))
    monkeypatch.setenv("FAKE_REFUSES", "nothing")
    for name in (*SECRETS, "PULUMI_BACKEND_URL"):
        monkeypatch.delenv(name, raising=False)
    return directory


def units(project: Path) -> dict[str, str]:
    folder = project.parent / "units"
    return {path.name: path.read_text() for path in folder.iterdir()} if folder.is_dir() else {}


def asked(project: Path) -> list[str]:
    path = project.parent / "asked"
    return path.read_text().splitlines() if path.exists() else []


def drill(project: Path, *arguments: str) -> int:
    return main(["drill", "-C", str(project), "-s", "stage", *arguments])


def test_it_is_installed_and_removed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drill(project, "--install", "--at", "Mon 04:00") == 0
    assert sorted(units(project)) == ["understudy-drill-stage.service", "understudy-drill-stage.timer"]
    assert "OnCalendar=Mon 04:00\n" in units(project)["understudy-drill-stage.timer"]
    assert asked(project) == ["systemctl daemon-reload", "systemctl enable --now understudy-drill-stage.timer"]
    assert "stage is drilled at Mon 04:00" in capsys.readouterr().out
    assert drill(project, "--remove") == 0
    assert units(project) == {}
    assert asked(project)[2:] == ["systemctl disable --now understudy-drill-stage.timer", "systemctl daemon-reload"]
    assert drill(project, "--remove") == 0
    assert len(asked(project)) == 4, "there was nothing more to remove"


@pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not on this computer")
def test_systemd_finds_no_fault_in_its_units(project: Path) -> None:
    assert drill(project, "--install") == 0
    folder = project.parent / "units"
    for name in units(project):
        done = subprocess.run([ANALYZE, "verify", str(folder / name)], capture_output=True, text=True, check=False)
        own = [line for line in done.stderr.splitlines() if "understudy" in line]
        assert (done.returncode, own) == (0, []), done.stderr
    service = folder / "understudy-drill-stage.service"
    service.write_text(service.read_text().replace("/usr/bin/env", "/usr/bin/no-such-program"))
    done = subprocess.run([ANALYZE, "verify", str(service)], capture_output=True, text=True, check=False)
    assert done.returncode != 0, "it did not look at all"


@pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not on this computer")
def test_what_is_no_time_is_refused_before_anything_is_written(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drill(project, "--install", "--at", "every full moon") == 1
    assert "every full moon" in capsys.readouterr().err
    assert units(project) == {}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_never_written_and_what_to_do_instead_is_said(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv(name, "swordfish")
    assert "swordfish" not in "".join(timer(project, "stage", "daily", os.environ).files().values())
    assert drill(project, "--install") == 1
    said = capsys.readouterr().err
    assert f"{name} is set" in said
    assert "swordfish" not in said
    assert units(project) == {}
    assert asked(project) == []


def test_a_backend_with_a_password_in_its_address_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "postgres://me:swordfish@db.example/state")
    assert drill(project, "--install") == 1
    assert "PULUMI_BACKEND_URL holds a password" in capsys.readouterr().err
    assert units(project) == {}


def test_the_drill_of_a_night_finds_what_the_user_has(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"HOME": "/home/me", "PULUMI_BACKEND_URL": "s3://state", "PULUMI_CONFIG_PASSPHRASE_FILE": "/a$b/100%"}
    made = timer(project, "stage", "daily", {**kept, "UNDERSTUDY_PASSWORD": "swordfish", "LS_COLORS": "x"})
    lines = made.files()["understudy-drill-stage.service"].splitlines()
    assert [line for line in lines if line.startswith("Environment=")] == [
        'Environment="HOME=/home/me"',
        'Environment="PULUMI_BACKEND_URL=s3://state"',
        'Environment="PULUMI_CONFIG_PASSPHRASE_FILE=/a$b/100%%"',
    ]


def test_without_systemd_it_says_what_to_do(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(drill_timer, "SYSTEMD", project / "none")
    for argument in ("--install", "--remove"):
        assert drill(project, argument) == 1
        said = capsys.readouterr().err
        assert "systemd does not run here" in said
        assert "./run understudy drill" in said
    assert units(project) == {}


def test_what_systemd_refuses_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_REFUSES", "enable")
    assert drill(project, "--install") == 1
    assert "Unit is masked." in capsys.readouterr().err


def test_a_stack_with_data_of_its_own_gets_no_timer(project: Path) -> None:
    assert main(["drill", "-C", str(project), "-s", "prod", "--install"]) == 1
    assert units(project) == {}
    assert not (project / "reports").exists()


def test_a_user_has_units_of_their_own(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(project.parent / "config"))
    assert drill(project, "--install") == 0
    assert len(list((project.parent / "config/systemd/user").iterdir())) == 2
    assert asked(project)[1] == "systemctl --user enable --now understudy-drill-stage.timer"
