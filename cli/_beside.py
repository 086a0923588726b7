"""What is started beside Pulumi, before Pulumi asks for it: the host of the program, and our provider.

One process (``python -m cli._beside``) imports what both need and becomes two, while the stack is prepared and Pulumi
starts. Both end, with all that they started, as soon as whoever started them lets go of their standard input: also
where that is killed.
"""

from __future__ import annotations

import os
import signal
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
"""What the processes are called."""
_PROVIDER = "understudy"


class Beside:
    """The two processes beside one command of Pulumi; they end with the block.

    Args:
        directory: the project's.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._provider = 0

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

    def ports(self) -> tuple[int, int]:
        """Return the ports on 127.0.0.1 of the program's host and of the provider, once both serve.

        Raises:
            UnderstudyError: they could not be started.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        said = dict(
            line.split(maxsplit=1) for line in (self._process.stdout.readline().decode() for _ in range(2)) if line
        )
        if said.keys() != {_PROGRAM_NAME, PROVIDER_NAME}:
            found = "it ended before it served, for the reason above"
            raise UnderstudyError(where="the process beside Pulumi", found=found, todo="Run it again.")
        provider, self._provider = map(int, said[PROVIDER_NAME].split())
        return int(said[_PROGRAM_NAME].split()[0]), provider

    def stop(self) -> None:
        """Have the provider stop all that it does: the user wants to."""
        with suppress(ProcessLookupError):
            os.kill(self._provider, signal.SIGUSR1)


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

    if os.fork() == 0:
        _become_provider(lifeline)
    _be_called(_PROGRAM_NAME)
    server, port = language_host.serve()
    _say_served(_PROGRAM_NAME, port)
    language_host.get_ready()
    os.read(lifeline, 1)
    del server
    os._exit(0)  # without waiting for a program that Pulumi has given up


def _become_provider(lifeline: int) -> NoReturn:
    try:
        _be_called(PROVIDER_NAME)
        from provisioners.provider.__main__ import serve_beside

        serve_beside(lifeline, lambda port: _say_served(PROVIDER_NAME, port))
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


def _say_served(name: str, port: int) -> None:
    """Say it, and let go of standard output: that nobody has it any more tells that somebody could not be started."""
    print(name, port, os.getpid(), flush=True)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    main()
