"""Measures what gets through between two hosts: one opens a port for a few seconds, and the other sends to it."""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Callable

from model.errors import UnderstudyError
from provisioners.commands import scripted
from provisioners.facts.host import parse_taken
from provisioners.outcome import Result
from provisioners.shell import Shell

_PIECE, _PIECES = 1024 * 1024, 16
_OPEN_SECONDS, _SEND_SECONDS = 5, 1


class RateUnknown(UnderstudyError):
    """Nothing got through, or it could not be measured."""


def mib_per_second(receiver: Shell, address: str, send: Callable[[tuple[str, ...], bytes], Result]) -> float:
    """Return how much gets through from one host to another, in MiB a second.

    Args:
        receiver: the other host; it opens a port of its own for a few seconds, to whoever knows a secret word.
        address: its address, as the sender reaches it.
        send: runs a command on the sender, with its standard input.

    Raises:
        RateUnknown: the port was not reached, or the other host has no Perl.
        UnderstudyError: a connection was lost.
    """
    word = f"{secrets.token_hex(16)}\n".encode()
    lines: queue.Queue[str] = queue.Queue()
    failed: list[UnderstudyError] = []

    def receive() -> None:
        argv = scripted("host_receive", str(_OPEN_SECONDS), str(_PIECE))
        try:
            done = receiver.stream_lines(argv, lines.put, stdin=word, check=False, timeout_seconds=_OPEN_SECONDS + 5)
            if done.code:
                said = done.stderr.decode("utf-8", "replace").strip().splitlines()
                failed.append(RateUnknown(where=receiver.connection.name, found=said[-1] if said else "no port"))
        except UnderstudyError as error:
            failed.append(error)
        finally:
            lines.put("")

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    port, taken = lines.get().removeprefix("port "), ""
    if port.isdigit():
        argv = scripted("host_send", address, port, str(_PIECE), str(_PIECES), str(_SEND_SECONDS))
        taken = send(argv, word).text
    thread.join()
    if failed:
        raise failed[0]
    if not taken:
        raise RateUnknown(where=receiver.connection.name, found=f"nothing got through to its port {port}")
    return parse_taken(taken)
