"""A machine for tests that need only SSH: a real sshd on loopback over a throw-away copy of this host's files."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from model.connection import Connection

_HERE = Path(__file__).parent
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/double_host_key
AuthorizedKeysFile /etc/ssh/double_authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
MaxStartups 100
LogLevel VERBOSE
{more}
"""


WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_PORTS = itertools.cycle(range(20000 + 1000 * (WORKER % 12), 21000 + 1000 * (WORKER % 12)))


def keypair() -> tuple[str, str]:
    """Return a new private key and its public key, in OpenSSH's formats."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return private, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on, and that the kernel gives to nobody who asks for any."""
    for port in _PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("all are taken")


class Machine:
    """A machine with sshd, a fake systemd and a user ``admin`` who may use a fake sudo.

    A kind of its own may have more namespaces of its own, and be plugged into a network.

    Args:
        name: its name in errors.
        more: further lines of sshd's configuration.
    """

    _namespaces: tuple[str, ...] = ("--mount", "--pid")
    _address = "127.0.0.1"

    def __init__(self, name: str = "m1", more: str = "") -> None:
        self.name, self._more = name, more
        self.port = free_port()
        self.private_key, self.public_key = keypair()
        self._directory = Path(tempfile.mkdtemp(prefix="understudy-machine-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.renew_host_key()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Cut its power and forget it."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def renew_host_key(self) -> None:
        """Give it another host key, from its next start on."""
        self._host_private, self.host_key = keypair()

    @property
    def connection(self) -> Connection:
        """Return how it is reached."""
        return Connection(name=self.name, address=self._address, port=self.port, host_key=self.host_key)

    @property
    def root(self) -> Path:
        """Return its file system, as this host sees it."""
        return Path(f"/proc/{self._server()}/root")

    def accept(self, other: Machine) -> None:
        """Let the holder of another machine's key in, too."""
        path = self.root / "etc" / "ssh" / "double_authorized_keys"
        path.write_text(f"{self.public_key}\n{other.public_key}\n")

    def known_to_user(self, home: Path) -> None:
        """Make a home directory whose owner knows this machine's host key and has its private key."""
        folder = home / ".ssh"
        folder.mkdir(parents=True)
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {self.host_key}\n")
        (folder / "id_ed25519").write_text(self.private_key)
        (folder / "id_ed25519").chmod(0o600)

    def program(self, name: str, script: str) -> None:
        """Let a program of it be this script."""
        path = self.root / "usr" / "local" / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def start(self) -> None:
        """Boot it; all that was written on it before is gone."""
        seed, box = self._directory / "seed", self._directory / "box"
        shutil.rmtree(seed, ignore_errors=True)
        box.mkdir(exist_ok=True)
        self._seed(seed)
        script = ("bash", str(_HERE / "machine.sh"), str(box), str(seed))
        namespaces = ("unshare", *self._namespaces, "--fork", "--kill-child=KILL")
        self._process = subprocess.Popen((*namespaces, *script), stdin=subprocess.DEVNULL, start_new_session=True)
        self._plug_in(self._process)
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection((self._address, self.port), timeout=1):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not start: code {self._process.poll()}")
            time.sleep(0.02)

    def _plug_in(self, process: subprocess.Popen[bytes]) -> None:
        """Plug it into its network; it has this computer's."""

    def stop(self) -> None:
        """Cut its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def sessions(self) -> tuple[int, ...]:
        """Return the processes of its SSH sessions: those that sshd forked for a connection."""
        children = _children(self._server())  # as its process 1 it has orphans among them
        return tuple(process for process in children if _name(process) == "sshd")

    def drop_sessions(self) -> None:
        """Kill every SSH session, as when a connection breaks."""
        for process in self.sessions():
            for below in (*_children(process), process):  # with privilege separation the session is the child
                try:
                    os.kill(below, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def inside(self, *argv: str, code: int | None = 0) -> str:
        """Run a command as root on it, without SSH, and return what it printed.

        Args:
            argv: the command.
            code: how it must end; None for any way.
        """
        enter = (
            "nsenter",
            f"--target={self._server()}",
            *self._namespaces,
            f"--root={self.root}",
            f"--wd={self.root}",
        )
        done = subprocess.run((*enter, *argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        printed = done.stdout + done.stderr
        assert code is None or done.returncode == code, f"{argv} ended with {done.returncode}: {printed}"
        return printed

    def reboot(self) -> None:
        """Cut its power and boot it again: what is on its disk stays, and what its systemd has enabled is started."""
        self.inside("bash", "-c", (_HERE / "reboot.sh").read_text())

    def log(self) -> str:
        """Return what sshd logged."""
        return (self.root / "run" / "sshd.log").read_text()

    def systemctl_calls(self) -> tuple[str, ...]:
        """Return the arguments of each call of the fake systemctl, systemd-run and journalctl."""
        path = self.root / "run" / "fake-systemd" / "calls"
        return tuple(path.read_text().splitlines()) if path.exists() else ()

    def _server(self) -> int:
        if self._process is None:
            raise RuntimeError("the machine is off")
        return _children(self._process.pid)[0]

    def _seed(self, seed: Path) -> None:
        ssh, bin_ = seed / "etc" / "ssh", seed / "usr" / "bin"
        ssh.mkdir(parents=True)
        bin_.mkdir(parents=True)
        (ssh / "sshd_config.double").write_text(_CONFIG.format(port=self.port, more=self._more))
        (ssh / "double_host_key").write_text(self._host_private)
        (ssh / "double_host_key").chmod(0o600)
        (ssh / "double_authorized_keys").write_text(self.public_key)
        (seed / "root").mkdir()
        (seed / "root" / ".bashrc").write_text("")  # bash reads it when sshd runs it; this host's own may be slow
        passwd = Path("/etc/passwd").read_text()
        (seed / "etc" / "passwd").write_text(f"{passwd}admin:x:4242:4242::/tmp:/bin/bash\n")
        (seed / "etc" / "shadow").write_text(f"{Path('/etc/shadow').read_text()}admin:*:19000:0:99999:7:::\n")
        for tool in ("systemctl", "systemd-run", "journalctl"):
            shutil.copy(_HERE / "systemctl.sh", bin_ / tool)
        shutil.copy(_HERE / "sudo.sh", bin_ / "sudo")
        shutil.copy("/bin/bash", bin_ / "bash-as-root")
        for script in bin_.iterdir():
            script.chmod(0o4755 if script.name == "bash-as-root" else 0o755)


def _name(process: int) -> str:
    """Return what a process is called; nothing of one that has just ended."""
    try:
        return Path(f"/proc/{process}/comm").read_text().rstrip("\n")
    except OSError:
        return ""


def _children(process: int) -> tuple[int, ...]:
    path = Path(f"/proc/{process}/task/{process}/children")
    try:
        return tuple(int(word) for word in path.read_text().split())
    except OSError:
        return ()
