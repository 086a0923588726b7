"""Another computer that runs virtual machines, for tests: this one's programs, with all else of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self

from model.placement import Accelerator, PlacedHost
from model.topology import Access
from tests.doubles.sshd import keypair

_CONFIG = """
ListenAddress {address}
HostKey {place}/host_key
AuthorizedKeysFile {place}/authorized_keys
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
"""
_RESTART = """
read -r old </run/libvirtd.pid
kill "$old"
while kill -0 "$old" 2>/dev/null; do sleep 0.05; done
libvirtd -d
"""


class Lan:
    """One network of several computers and this one; who may log in on one may do so on all."""

    prefix = 29

    def __init__(self) -> None:
        self.key = keypair()
        own = os.getpid() % 16000
        self._network = f"100.{66 + own // 8192}.{own // 32 % 256}"
        self._first, self._plugged = own % 32 * 8 + 1, 0
        self.controller, self.bridge = f"{self._network}.{self._first}", f"uf{own:x}s"

    def __enter__(self) -> Self:
        _run("ip", "link", "add", self.bridge, "type", "bridge")
        _run("ip", "address", "add", f"{self.controller}/{self.prefix}", "dev", self.bridge)
        _run("ip", "link", "set", self.bridge, "up")
        return self

    def __exit__(self, *_: object) -> None:
        _run("ip", "link", "delete", self.bridge)

    def next(self) -> tuple[int, str]:
        """Return the number of another computer, from 1, and its address; there is room for five."""
        self._plugged += 1
        return self._plugged, f"{self._network}.{self._first + self._plugged}"


class Computer:
    """A computer with an SSH server and a libvirt of its own, one cable away.

    Args:
        name: what ``Capacity.yaml`` would call it.
        lan: what it is plugged into; without one, its cable ends here.
    """

    def __init__(self, name: str, lan: Lan | None = None) -> None:
        self.name, self._lan = name, lan
        own = os.getpid() % 16000
        self._net, self._prefix = f"uf{own:x}", 30
        self.controller, self.address = (f"100.64.{own // 64}.{own % 64 * 4 + last}" for last in (1, 2))
        if lan:
            number, self.address = lan.next()
            self._net, self._prefix, self.controller = f"{self._net}-{number}", lan.prefix, lan.controller
        self.place = Path(tempfile.mkdtemp(prefix="understudy-computer-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._private_key, self._public_key = lan.key if lan else keypair()
        host_private, self.host_key = keypair()
        for file, text in (
            ("host_key", host_private),
            ("authorized_keys", f"{self._public_key}\n"),
            ("sshd_config", _CONFIG.format(address=self.address, place=self.place)),
        ):
            (self.place / file).touch(mode=0o600)
            (self.place / file).write_text(text)
        self.place.chmod(0o711)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._nobody_there("delete")
        shutil.rmtree(self.place)

    @property
    def cable(self) -> str:
        """Return this computer's end of the cable."""
        return f"{self._net}h"

    @property
    def placed(self) -> PlacedHost:
        """Return it as a lock file has it."""
        return PlacedHost(
            name=self.name,
            access=Access(host=self.address),
            host_key=self.host_key,
            accelerator=Accelerator(kind="tcg", reason="tests"),
            address=IPv4Address(self.address),
        )

    def home(self, directory: Path) -> Path:
        """Make a home directory whose owner may log in there, and knows no host's key."""
        keys = directory / ".ssh"
        keys.mkdir(parents=True)
        (keys / "id_ed25519").touch(mode=0o600)
        (keys / "id_ed25519").write_text(self._private_key)
        return directory

    def start(self) -> None:
        """Switch it on; what is on its disk is as it was."""
        self._nobody_there("delete")
        self._cable()
        own = ("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL")
        script = ("bash", str(Path(__file__).with_suffix(".sh")), str(self.place))
        argv = ("ip", "netns", "exec", self._net, *own, *script)
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 30
        while True:
            with suppress(OSError), socket.create_connection((self.address, 22), timeout=1):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not start: code {self._process.poll()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Cut its power: all that runs there is gone, and all that its kernel knew, such as bridges and filters."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            for argv in (("ip", "netns", "delete", self._net), ("ip", "link", "delete", self.cable)):
                subprocess.run(argv, check=False, capture_output=True)  # with the one the other has gone, or soon will
            self._nobody_there("add")

    def unplug(self) -> None:
        """Pull its cable: what runs there goes on, and nobody reaches it."""
        _run("ip", "link", "set", self.cable, "down")
        self._nobody_there("add")

    def plug_in(self) -> None:
        """Put the cable back."""
        self._nobody_there("delete")
        _run("ip", "link", "set", self.cable, "up")

    def restart_libvirt(self) -> None:
        """Restart its daemon, as an upgrade of its package does; machines that run go on."""
        self.inside("bash", "-c", _RESTART)

    def inside(self, *argv: str) -> str:
        """Run a command there as root, without SSH, and return what it printed."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        enter = ("nsenter", f"--target={children[0]}", "--mount", "--pid", "--net")
        return subprocess.run((*enter, *argv), capture_output=True, text=True, check=True).stdout

    def kept(self, path: str) -> list[str]:
        """Return the paths of all files on its disk below a directory."""
        below = Path(f"{self.place}/disk{path}")
        return sorted(str(file.relative_to(below)) for file in below.rglob("*") if not file.is_dir())

    def _nobody_there(self, verb: str) -> None:
        """While it is off, what is sent to it must not go anywhere else."""
        subprocess.run(("ip", "route", verb, "unreachable", self.address), check=False, capture_output=True)

    def _cable(self) -> None:
        inside, prefix = ("ip", "-n", self._net), self._prefix
        here = ("address", "add", f"{self.controller}/{prefix}", "dev", self.cable)
        for argv in (
            ("ip", "netns", "add", self._net),
            ("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self._net),
            ("ip", *(("link", "set", self.cable, "master", self._lan.bridge) if self._lan else here)),
            ("ip", "link", "set", self.cable, "up"),
            (*inside, "address", "add", f"{self.address}/{prefix}", "dev", "eth0"),
            (*inside, "link", "set", "lo", "up"),
            (*inside, "link", "set", "eth0", "up"),
        ):
            _run(*argv)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)
