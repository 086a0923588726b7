"""Sets the timer that drills a stack every night."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from model.errors import UnderstudyError
from model.timer import Timer

_KEPT = ("HOME", "PATH", "LANG", "XDG_CACHE_HOME", "XDG_STATE_HOME", "PULUMI_HOME", "PULUMI_CREDENTIALS_PATH")
_KEPT_BY_PREFIX = ("UNDERSTUDY_",)
_FILES = ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_REGION")
"""They name files and places, not secrets."""


def timer(directory: Path, stack: str, calendar: str, environment: dict[str, str]) -> Timer:
    """Return the timer of a stack's drill."""
    kept = {
        name: value
        for name, value in environment.items()
        if name in (*_KEPT, *_FILES) or name.startswith(_KEPT_BY_PREFIX)
    }
    return Timer(
        name=unit_name(stack),
        description=f"Restores prod's newest backups into {stack} and checks them",
        argv=(str(directory / "run"), "understudy", "drill", "-s", stack),
        directory=str(directory),
        environment=kept,
        calendar=calendar,
    )


def unit_name(stack: str) -> str:
    """Return the name of a stack's units, without their ending."""
    return f"understudy-drill-{stack}"


def install(directory: Path, stack: str, calendar: str) -> int:
    """Write the units and start the timer; return the exit code.

    Raises:
        UnderstudyError: systemd does not run here, or refuses them.
    """
    folder, control = _place()
    for name, text in timer(directory, stack, calendar, dict(os.environ)).files().items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        print(f"wrote {folder / name}")
    _systemd(*control, "daemon-reload")
    _systemd(*control, "enable", "--now", f"{unit_name(stack)}.timer")
    print(f"{stack} is drilled at {calendar}; `{' '.join(control)} list-timers` shows when next")
    if os.geteuid() != 0:
        print("while you are logged out too, if you run once: loginctl enable-linger")
    return 0


def remove(stack: str) -> int:
    """Stop the timer and remove its units; nothing happens where there are none."""
    folder, control = _place()
    present = [path for ending in ("timer", "service") if (path := folder / f"{unit_name(stack)}.{ending}").exists()]
    if present:
        _systemd(*control, "disable", "--now", f"{unit_name(stack)}.timer")
    for path in present:
        path.unlink()
        print(f"removed {path}")
    if present:
        _systemd(*control, "daemon-reload")
    return 0


def _place() -> tuple[Path, tuple[str, ...]]:
    """Return the folder of units, and the command that controls them: the system's for root, else this user's."""
    if not Path("/run/systemd/system").is_dir():
        raise UnderstudyError(
            where="this computer",
            found="systemd does not run here, so that there is no timer to set",
            todo="Let whatever runs commands at night here run `./run understudy drill`; its exit code tells.",
        )
    if os.geteuid() == 0:
        return Path("/etc/systemd/system"), ("systemctl",)
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return home / "systemd" / "user", ("systemctl", "--user")


def _systemd(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnderstudyError(where=" ".join(argv), found=done.stderr.strip() or f"it ended with {done.returncode}")
