"""A service for tests, and what is on a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from provisioners.provider.kinds import Real
from provisioners.provider.service import Service
from tests.doubles.sshd import Machine

SERVICE = Service()
CONFIG, UNIT_FILE, GONE = "/etc/web/a b.conf", "/etc/systemd/system/web.service", "/etc/web.d/old"
SECRET = "s&cr\\et'$x"


def quiet(_: str) -> None:
    """Show nothing."""


def inputs(machine: Machine, **more: Any) -> dict[str, Any]:
    """Return the inputs of a service with files, a unit, a secret and a check."""
    reach = {"connection": machine.connection.values(), "private_key": machine.private_key, "generation": "1"}
    usual = {
        "service": "web",
        "files": {
            CONFIG: {"content": "port = 1\npassword=@@password of shop@@\n", "mode": "0640", "group": "adm"},
            UNIT_FILE: {"content": "[Service]\nExecStart=/bin/sleep 1\n"},
            GONE: {"absent": True},
        },
        "validate": {CONFIG: ["grep", "-q", "port", "{}"]},
        "units": {"web.service": {"restart_on": [CONFIG, UNIT_FILE]}},
        "checks": [{"name": "it is there", "command": ["cat", CONFIG], "prints": "port = 1"}],
        "secrets": {"password of shop": SECRET},
    }
    return {**reach, **usual, **more}


def with_content(given: dict[str, Any], path: str, content: str, **more: Any) -> dict[str, Any]:
    """Return the inputs with another content of a file."""
    files = {**given["files"], path: {**given["files"].get(path, {}), "content": content, **more}}
    return {**given, "files": files}


def read(given: dict[str, Any]) -> Real:
    """Return what is really there."""
    real = SERVICE.read("", given, {}, quiet)
    assert real is not None
    return real


def tree(machine: Machine, *below: str) -> dict[str, tuple[str, int, int, bytes | str]]:
    """Return all below some folders of a machine, with kind and mode, owner, group, and content or target."""
    return tree_of(machine.root, *below)


def tree_of(root: Path, *below: str) -> dict[str, tuple[str, int, int, bytes | str]]:
    """Return the same of what lies below some directory."""
    found: dict[str, tuple[str, int, int, bytes | str]] = {}
    for folder in below:
        top = root / folder.lstrip("/")
        for path in (top, *sorted(top.rglob("*"))):
            if not path.exists() and not path.is_symlink():
                continue
            about = path.lstat()
            what: bytes | str = b""
            if path.is_symlink():
                what = str(path.readlink())
            elif path.is_file():
                what = path.read_bytes()
            name = str(path.relative_to(root))
            found[name] = f"{about.st_mode:o}", about.st_uid, about.st_gid, what
    return found


def backups(machine: Machine) -> list[Path]:
    """Return the directories with the copies of the service's changes, oldest first."""
    return sorted((machine.root / "root/configs/web").glob("[0-9]*Z-*"))


def state_of(backup: Path) -> str:
    """Return the state of a change."""
    return (backup / "state").read_text().strip()
