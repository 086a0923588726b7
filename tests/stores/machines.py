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
        _install_mariadb(seed)

    @property
    def common(self) -> dict[str, Any]:
        """Return the inputs that every kind on a machine has."""
        return {"connection": self.connection.values(), "private_key": self.private_key, "generation": "1"}

    def sql(self, text: str, database: str = "shop", port: str = "5432") -> str:
        """Return what the server that serves answers."""
        words = ("chroot", "--userspec=postgres", str(self.root), "/usr/lib/postgresql/15/bin/psql")
        where = (
            "--host=/var/run/postgresql",
            f"--port={port}",
            f"--dbname={database}",
            "--no-psqlrc",
            "-At",
            "--set=ON_ERROR_STOP=1",
        )
        enter = ("nsenter", f"--pid=/proc/{self._server()}/ns/pid")
        done = subprocess.run((*enter, *words, *where, "-c", text), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def mariadb(self, text: str, *options: str, check: bool = True) -> str:
        """Return what MariaDB answers, or why it does not; to root, where no other user is among the options."""
        enter = ("nsenter", f"--pid=/proc/{self._server()}/ns/pid", "chroot", str(self.root), "mariadb")
        usual = ("--no-defaults", "--socket=/run/mysqld/mysqld.sock", "-N", "--default-character-set=utf8mb4")
        words = (*enter, *usual, *options, "shop")
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return (done.stdout or done.stderr).strip()

    def shell(self, *argv: str, check: bool = True) -> str:
        """Return what a command prints that root runs on the machine."""
        enter = ("nsenter", f"--pid=/proc/{self._server()}/ns/pid", "chroot", str(self.root))
        done = subprocess.run((*enter, *argv), capture_output=True, text=True, check=check)
        return done.stdout.strip()


def _install_mariadb(seed: Path) -> None:
    """Add what Debian's package mariadb-server has beyond mariadb-server-core, which is all that the tests install."""
    with (seed / "etc" / "passwd").open("a") as passwd:
        passwd.write("mysql:x:4243:4243::/nonexistent:/bin/false\n")
    (seed / "etc" / "group").write_text(f"{Path('/etc/group').read_text()}mysql:x:4243:\n")
    units = seed / "usr" / "lib" / "systemd" / "system"
    units.mkdir(parents=True)
    (units / "mariadb.service").write_text("[Service]\nUser=mysql\nExecStart=/bin/false\nExecStartPost=/bin/false\n")


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
        "configuration": "its own",
        **more,
    }


def mariadb_inputs(machine: StoreMachine, seed: dict[str, str], project: Path, **more: Any) -> dict[str, Any]:
    """Return the inputs of a MariaDB server with the shop's database on a machine; nothing is pinned yet."""
    return {
        **machine.common,
        "store": "shop",
        "version": "10.11",
        "database": "shop",
        "owner_role": "shop",
        "owner_password": "owner's: \\ password",
        "settings": {"skip_networking": "ON", "innodb_buffer_pool_size": "16M", "innodb_log_file_size": "4M"},
        "seed": seed,
        "snapshot": "",
        "snapshot_digest": "",
        "project_directory": str(project),
        "expected_tables": ["customers", "shop.orders"],
        "heartbeat": {"table": "heartbeat", "column": "beat_at"},
        "running": True,
        "configuration": "its own",
        **more,
    }
