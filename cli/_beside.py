"""What is started beside Pulumi, before Pulumi asks for it: the host of the program, and our provider.

One process (``python -m cli._beside``) imports what both need and becomes two, while the stack is prepared and Pulumi
starts. Both end, with all that they started, as soon as whoever started them lets go of their standard input: also
where that is killed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, Self

from model.errors import UnderstudyError

ATTACHED = "PULUMI_DEBUG_PROVIDERS"
"""Where Pulumi reads which providers run already. Source: pulumi, pkg/resource/plugin/provider_plugin.go."""
PROVIDER_NAME, _PROGRAM_NAME = "pulumi-provider", "pulumi-program"
"""What the processes are called; in a line of theirs, the port comes after it, and the provider's number."""
_SERVES = "serves"
_PROVIDER = "understudy"


class Beside:
    """The two processes beside one command of Pulumi; they end with the block.

    Args:
        directory: the project's.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._said: dict[str, list[int]] = {}

    def __enter__(self) -> Self:
        """Start them; in a process group of their own, since Pulumi alone hears Ctrl-C and tells them."""
        self._process = subprocess.Popen(
            (sys.executable, "-m", "cli._beside"),
            cwd=self._directory,
            env={**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End them, with all that they started: Pulumi has ended, or never came to need them."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def program(self) -> int:
        """Return the port on 127.0.0.1 of the program's host, once it serves; it answers once the provider serves too.

        Raises:
            UnderstudyError: it could not be started.
        """
        return self._heard(_PROGRAM_NAME)[0]

    def provider(self, *, serves: bool) -> int:
        """Return the port on 127.0.0.1 of the provider.

        Args:
            serves: whether to wait until it serves.

        Raises:
            UnderstudyError: it could not be started.
        """
        port = self._heard(PROVIDER_NAME)[0]
        if serves:
            self._heard(_SERVES)
        return port

    def stop(self) -> None:
        """Have the provider stop all that it does: the user wants to."""
        with suppress(ProcessLookupError):
            os.kill(self._heard(PROVIDER_NAME)[1], signal.SIGUSR1)

    def _heard(self, name: str) -> list[int]:
        assert self._process is not None
        assert self._process.stdout is not None
        while name not in self._said:
            about, *numbers = self._process.stdout.readline().decode().split() or [""]
            if not about:
                found = "it ended before it served, for the reason above"
                raise UnderstudyError(where="the process beside Pulumi", found=found, todo="Run it again.")
            self._said[about] = [int(number) for number in numbers]
        return self._said[name]


def attached(port: int, before: str) -> str:
    """Return the variable with which Pulumi finds the provider.

    Args:
        port: the provider's.
        before: what the variable says already; one that somebody runs to find a mistake in it comes first.

    >>> attached(4711, "aws:1,")
    'aws:1,understudy:4711'
    >>> attached(4711, "understudy:2")
    'understudy:2'
    """
    others = [each for each in before.split(",") if each]
    if any(each.partition(":")[0] == _PROVIDER for each in others):
        return before
    return ",".join([*others, f"{_PROVIDER}:{port}"])


def main() -> NoReturn:
    """Say who serves where, and serve."""
    lifeline = _kept_from_children(sys.stdin.fileno())
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # what is said to the terminal stops nobody
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    from components import language_host

    reserved, (serves, told) = _reserved_port(), socket.socketpair()
    child = os.fork()
    if child == 0:
        serves.close()
        _become_provider(lifeline, reserved.getsockname()[1], told)
    told.close()
    _be_called(_PROGRAM_NAME)
    server, port = language_host.serve(lambda: bool(serves.recv(1, socket.MSG_PEEK)))
    _say(PROVIDER_NAME, reserved.getsockname()[1], child)
    _say(_PROGRAM_NAME, port)
    _let_go_of_output()
    language_host.get_ready()
    os.read(lifeline, 1)
    del server
    os._exit(0)  # without waiting for a program that Pulumi has given up


def _reserved_port() -> socket.socket:
    """Return a socket that has a port, and leaves it to a server that shares it, as gRPC's do.

    Source: Linux, socket(7), ``SO_REUSEPORT``: of one user; and what does not listen gets no connection.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def _become_provider(lifeline: int, port: int, told: socket.socket) -> NoReturn:
    """Serve on this port; the other end is told that it does, or finds this one closed."""

    def serving() -> None:
        told.send(b".")
        _say(_SERVES)
        _let_go_of_output()

    try:
        _be_called(PROVIDER_NAME)
        from provisioners.provider.__main__ import serve_beside

        serve_beside(lifeline, port, serving)
    except BaseException:  # noqa: BLE001  # whatever it is, it is shown, and this process ends
        traceback.print_exc()
        os._exit(1)
    raise AssertionError("it has ended")


def _kept_from_children(descriptor: int) -> int:
    """Return another descriptor of the same, which no program that is started gets; the old one has nothing to read."""
    kept = os.dup(descriptor)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), descriptor)
    return kept


def _be_called(name: str) -> None:
    """Let `ps` tell them apart. Source: Linux, proc(5): at most 15 characters."""
    Path("/proc/self/comm").write_text(name, encoding="ascii")


def _say(about: str, *numbers: int) -> None:
    print(about, *numbers, flush=True)


def _let_go_of_output() -> None:
    """That nobody has it any more tells that somebody could not be started."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    main()
