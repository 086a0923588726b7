"""A real libvirt daemon goes away and comes back. It is this test's own, in namespaces, with libvirt's test driver."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderStub

from provisioners.hypervisor.virsh import Virsh, VirshFailed
from provisioners.provider.wire import message

LIBVIRTD = shutil.which("libvirtd", path="/usr/sbin:/usr/bin")
PLUGIN = Path(__file__).parents[2] / ".toolchain/bin/pulumi-resource-libvirt"
# libvirt, src/remote/remote_protocol.x: a packet begins with its length, program, version and procedure, 4 bytes each.
POOL_REFRESH = 83
# All that libvirt keeps is empty and private in there, and so is the network: nothing of the computer's own is touched.
INSIDE = """
for each in /run/libvirt /var/lib/libvirt /etc/libvirt /var/cache/libvirt /var/log/libvirt; do
    if [ -d "$each" ]; then mount -t tmpfs none "$each"; fi
done
exec "$1" --config "$2/libvirtd.conf" --pid-file "$2/pid"
"""


class Daemon:
    """The daemon and its socket."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.socket = directory / "libvirt-sock"
        lines = (f'unix_sock_dir = "{directory}"', 'auth_unix_rw = "none"', 'log_outputs = "3:stderr"', "")
        (directory / "libvirtd.conf").write_text("\n".join(lines), encoding="utf-8")
        self.uri = f"test+unix:///default?socket={self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-euc", INSIDE, "sh", str(LIBVIRTD)]
        self.process = subprocess.Popen([*argv, str(self._directory)])

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("d"))
    daemon.start()
    yield daemon
    daemon.stop()


def test_a_daemon_that_is_started_again_answers_the_call_that_waited(daemon: Daemon) -> None:
    said: list[str] = []
    virsh = Virsh(uri=daemon.uri, say=said.append)
    assert virsh.state("test") == "running"
    daemon.stop()
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(virsh.state("test")))
    said.clear()
    asking.start()
    deadline = time.monotonic() + 30
    while not said and time.monotonic() < deadline:
        time.sleep(0.1)
    assert said
    assert answers == []
    daemon.start()
    asking.join(60)
    assert answers == ["running"]
    assert set(said) == {"libvirt's daemon is away; waiting for it"}


def test_a_daemon_that_stays_away_is_named(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Virsh(uri=daemon.uri).state("test") == "running"
    monkeypatch.setattr("provisioners.hypervisor.virsh._PATIENCE_SECONDS", 0)
    daemon.stop()
    with pytest.raises(VirshFailed, match="Start libvirtd, then run it again"):
        Virsh(uri=daemon.uri).run("list")


class Cut:
    """A socket that leads to a daemon, until a client calls one procedure: then all is closed, the listener too."""

    def __init__(self, path: Path, daemon: Path, procedure: int) -> None:
        self._daemon, self._procedure = daemon, procedure
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._daemon))
                threading.Thread(target=self._answers, args=(server, client), daemon=True).start()
                threading.Thread(target=self._calls, args=(client, server), daemon=True).start()

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)

    def _calls(self, client: socket.socket, server: socket.socket) -> None:
        stream = client.makefile("rb")
        while head := stream.read(16):
            length, _, _, procedure = struct.unpack(">4I", head)
            if procedure == self._procedure:
                for each in (self._listener, client, server):
                    with suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)
                return
            server.sendall(head + stream.read(length - 16))


@pytest.fixture
def plugin() -> Iterator[ResourceProviderStub]:
    process = subprocess.Popen([PLUGIN, "127.0.0.1:1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    with grpc.insecure_channel(f"127.0.0.1:{process.stdout.readline().strip()}") as channel:
        yield ResourceProviderStub(channel)
    process.kill()
    process.wait()


def test_a_volume_is_not_tried_for_twenty_minutes_on_a_connection_that_is_gone(
    daemon: Daemon, plugin: ResourceProviderStub
) -> None:
    assert Virsh(uri=daemon.uri).state("test") == "running"
    cut = daemon.socket.with_name("cut")
    Cut(cut, daemon.socket, POOL_REFRESH)
    uri = f"test+unix:///default?socket={cut}"
    plugin.Configure(provider_pb2.ConfigureRequest(args=message({"uri": uri}), acceptSecrets=True))
    volume = provider_pb2.CreateRequest(
        urn="urn:pulumi:s::p::libvirt:index/volume:Volume::disk",
        properties=message({"__defaults": "", "name": "disk.qcow2", "pool": "default-pool", "size": 1 << 20}),
    )
    with pytest.raises(grpc.RpcError, match="libvirt's daemon went away in the middle: run it again"):
        plugin.Create(volume, timeout=60)
