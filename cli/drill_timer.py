"""Sets the timer that drills a stack every night."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from model.errors import UnderstudyError
from model.timer import Timer

SYSTEMD = Path("/run/systemd/system")
"""It is there where systemd runs."""
UNITS = Path("/etc/systemd/system")
_KEPT = (
    *("HOME", "PATH", "LANG", "XDG_CACHE_HOME", "XDG_STATE_HOME", "PULUMI_HOME", "PULUMI_CREDENTIALS_PATH"),
    *("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_REGION"),
    *("UNDERSTUDY_CACHE", "UNDERSTUDY_ROOT", "UNDERSTUDY_FENCES"),
)
"""They name files and places, not secrets: everybody can read a unit."""
_SECRET = {
    "PULUMI_CONFIG_PASSPHRASE": "write it to a file of mode 0600 and name that in PULUMI_CONFIG_PASSPHRASE_FILE",
    "PULUMI_ACCESS_TOKEN": "run `pulumi login`, which keeps it",
    "AWS_SECRET_ACCESS_KEY": "put it into ~/.aws/credentials, and name its profile in AWS_PROFILE",
}
"""Without them the drill of a night could not run; what to do instead."""


def timer(directory: Path, stack: str, calendar: str, environment: Mapping[str, str]) -> Timer:
    """Return the timer of a stack's drill."""
    return Timer(
        name=unit_name(stack),
        description=f"Restores prod's newest backups into {stack} and checks them",
        argv=(str(directory / "run"), "understudy", "drill", "-s", stack),
        directory=str(directory),
        environment={name: environment[name] for name in _KEPT if name in environment},
        calendar=calendar,
    )


def refuse_secrets(environment: Mapping[str, str]) -> None:
    """Refuse to set a timer that would lack a secret, or hold one.

    Raises:
        UnderstudyError: the environment has a secret that a unit must not hold.
    """
    for name, todo in _SECRET.items():
        if environment.get(name):
            found = f"{name} is set, and a timer's unit, which everybody can read, must not hold it"
            raise UnderstudyError(where="this shell", found=found, todo=f"First {todo}; then unset it and try again.")
    if urlsplit(environment.get("PULUMI_BACKEND_URL", "")).password:
        found = "PULUMI_BACKEND_URL holds a password, and a timer's unit, which everybody can read, must not hold it"
        raise UnderstudyError(where="this shell", found=found, todo="Run `pulumi login` with it, then unset it.")


def unit_name(stack: str) -> str:
    """Return the name of a stack's units, without their ending."""
    return f"understudy-drill-{stack}"


def install(directory: Path, stack: str, calendar: str) -> int:
    """Write the units and start the timer; return the exit code.

    Raises:
        UnderstudyError: systemd does not run here, or refuses them; or a secret would be needed in them.
    """
    folder, control = _place()
    refuse_secrets(os.environ)
    _checked(calendar)
    for name, text in timer(directory, stack, calendar, os.environ).files().items():
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


def is_installed(stack: str) -> bool:
    """Return whether a timer of root's, or of this user's, drills a stack."""
    return any((folder / f"{unit_name(stack)}.timer").exists() for folder in (UNITS, _users_units()))


def _place() -> tuple[Path, tuple[str, ...]]:
    """Return the folder of units, and the command that controls them: the system's for root, else this user's."""
    if not SYSTEMD.is_dir():
        raise UnderstudyError(
            where="this computer",
            found="systemd does not run here, so that there is no timer to set",
            todo="Let whatever runs commands at night here run `./run understudy drill`; its exit code tells.",
        )
    if os.geteuid() == 0:
        return UNITS, ("systemctl",)
    return _users_units(), ("systemctl", "--user")


def _users_units() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def _checked(calendar: str) -> None:
    """See that it is a time, before anything is written."""
    _systemd("systemd-analyze", "calendar", "--", calendar)


def _systemd(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnderstudyError(where=" ".join(argv), found=done.stderr.strip() or f"it ended with {done.returncode}")
