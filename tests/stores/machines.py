"""A machine for the stores' tests: a real sshd, and a systemctl that really starts PostgreSQL and MariaDB."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.doubles.sshd import Machine

PROJECT = Path(__file__).parents[2]
SAMPLE = PROJECT / "samples" / "pgbackrest"


class StoreMachine(Machine):
    """A machine that can hold stores."""

    def _seed(self, seed: Path) -> None:
        super()._seed(seed)
        for tool in ("systemctl", "journalctl"):
            shutil.copy(Path(__file__).parent / "systemctl.sh", seed / "usr" / "bin" / tool)
            (seed / "usr" / "bin" / tool).chmod(0o755)

    @property
    def common(self) -> dict[str, Any]:
        """Return the inputs that every kind on a machine has."""
        return {"connection": self.connection.values(), "private_key": self.private_key, "generation": "1"}

    def sql(self, text: str, database: str = "shop") -> str:
        """Return what the server that serves answers."""
        words = ("chroot", "--userspec=postgres", str(self.root), "/usr/lib/postgresql/15/bin/psql")
        where = ("--host=/var/run/postgresql", f"--dbname={database}", "--no-psqlrc", "-At", "--set=ON_ERROR_STOP=1")
        enter = ("nsenter", f"--pid=/proc/{self._server()}/ns/pid")
        done = subprocess.run((*enter, *words, *where, "-c", text), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def shell(self, *argv: str, check: bool = True) -> str:
        """Return what a command prints that root runs on the machine."""
        enter = ("nsenter", f"--pid=/proc/{self._server()}/ns/pid", "chroot", str(self.root))
        done = subprocess.run((*enter, *argv), capture_output=True, text=True, check=check)
        return done.stdout.strip()


class Said:
    """Collects progress."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)


def postgres_inputs(machine: StoreMachine, seed: dict[str, str], project: Path, **more: Any) -> dict[str, Any]:
    """Return the inputs of a primary of the sample shop's database on a machine; nothing is pinned yet."""
    return {
        **machine.common,
        "store": "shop",
        "version": "15",
        "database": "shop",
        "owner_role": "shop",
        "owner_password": "owner's: password",
        "settings": {"listen_addresses": "", "shared_buffers": "16MB"},
        "hba": ["local shop shop scram-sha-256"],
        "seed": seed,
        "snapshot": "",
        "snapshot_digest": "",
        "project_directory": str(project),
        "expected_tables": ["customers", "public.orders", "products"],
        "heartbeat": {"table": "heartbeat", "column": "beat_at"},
        "running": True,
        **more,
    }
