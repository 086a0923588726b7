"""The engine's side: progress lines on resources, and ending when the engine ends."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import NoReturn

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from provisioners.outcome import Say

_POLL_SECONDS = 0.3
_LINE_SECONDS = 1.0
"""Where there is no terminal, each line of progress stays in the log."""
_ANSWER_SECONDS = 10.0
"""Progress is never worth an error."""


class Engine:
    """Shows lines in the user's terminal.

    Args:
        address: the engine's, as it is given to a plugin; empty for one that will come and say it.
    """

    def __init__(self, address: str) -> None:
        if address:
            self.attach(address)

    def attach(self, address: str) -> None:
        """Show lines in this engine's terminal from now on."""
        self._stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address))

    def say(self, urn: str) -> Say:
        """Return what shows lines of progress on that resource; lines that come too fast are left out."""
        shown, guard = [0.0], threading.Lock()

        def show(text: str) -> None:
            with guard:
                if time.monotonic() - shown[0] < _LINE_SECONDS:
                    return
                shown[0] = time.monotonic()
            self._stub.Log.future(_line(urn, text, engine_pb2.INFO, ephemeral=True), timeout=_ANSWER_SECONDS)

        return show

    def warn(self, urn: str, text: str) -> None:
        """Leave a warning that stays after the update; the engine has it when this returns."""
        self._leave(urn, text, engine_pb2.WARNING)

    def note(self, urn: str, text: str) -> None:
        """Leave a text that stays after the update."""
        self._leave(urn, text, engine_pb2.INFO)

    def _leave(self, urn: str, text: str, severity: engine_pb2.LogSeverity.ValueType) -> None:
        try:
            self._stub.Log(_line(urn, text, severity, ephemeral=False), timeout=_ANSWER_SECONDS)
        except grpc.RpcError:
            return  # the engine is gone, and with it whoever would read it


def _line(urn: str, text: str, severity: engine_pb2.LogSeverity.ValueType, *, ephemeral: bool) -> engine_pb2.LogRequest:
    return engine_pb2.LogRequest(severity=severity, message=text, urn=urn, ephemeral=ephemeral)


def end_with(address: str) -> NoReturn:
    """Return never; end the process, with all that it started, as soon as the engine is gone.

    An engine that is killed tells nobody, and a provider that lives on writes beside the next run's.
    """
    parent = os.getppid()
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    misses = 0
    while os.getppid() == parent and misses < 2:
        time.sleep(_POLL_SECONDS)
        misses = 0 if _listens(address) else misses + 1
    os.killpg(0, signal.SIGKILL)
    raise AssertionError("it has ended")


def end_with_line(line: int) -> NoReturn:
    """End the process, with all that it started, as soon as the other end of this pipe is let go of."""
    os.read(line, 1)
    os.killpg(0, signal.SIGKILL)
    raise AssertionError("it has ended")


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True
