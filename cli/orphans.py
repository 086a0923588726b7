"""Ends what a killed Pulumi left running: a cloud's plugin looks every five minutes whether its engine is there still.

Until then it goes on with what it had begun, beside the next run. Those of libvirt and of this project end with their
engine by themselves.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from model.capacity import CLOUDS

_PATIENCE_SECONDS = 10.0


def end_orphans(directory: Path, say: Callable[[str], None]) -> None:
    """End each of a project's plugins of clouds whose engine is gone, so that nothing is made beside what is done next.

    Args:
        directory: the project's, in which its plugins work; those of others are left alone.
        say: is told of each.
    """
    for process, name in list(_orphans(directory.resolve())):
        with suppress(OSError):  # it has just ended, or is somebody else's
            os.kill(process, signal.SIGKILL)
            say(f"ended {name}, which a run that was killed had left (process {process})")
            _wait_for(process)


def _orphans(project: Path) -> Iterator[tuple[int, str]]:
    """Yield the processes, and the plugins' names. A plugin is given its engine's address on this computer.

    Source: pulumi, sdk/go/common/resource/plugin/plugin.go: the address is the last argument, and the project's
    directory the one in which it is started.
    """
    plugins, network = {f"pulumi-resource-{cloud}" for cloud in CLOUDS}, Path("/proc/self/ns/net").readlink()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command, *words = (directory / "cmdline").read_text().rstrip("\0").split("\0")
            if (name := Path(command).name) not in plugins or (directory / "cwd").readlink() != project:
                continue
            if (directory / "ns/net").readlink() != network:
                continue
        except OSError:
            continue
        host, _, port = (words or [""])[-1].rpartition(":")
        if host == "127.0.0.1" and port.isdigit() and not _answers(host, int(port)):
            yield int(directory.name), name


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return True


def _wait_for(process: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while Path(f"/proc/{process}/exe").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
