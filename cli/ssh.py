"""Enters a machine of a stack, or runs a command on it: `understudy ssh -s stage db1 [COMMAND...]`.

The key comes out of the stack's state and lies in a file of this user only while the connection lasts; no other host
key than the machine's own is accepted.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from cli.arguments import add_stack, project_directory, short_stack
from cli.pulumi_state import PulumiState
from model.connection import Connection
from model.errors import UnderstudyError
from model.way_in import way_in
from provisioners.commands import command_line, jump_line, jump_option


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy ssh`."""
    add_stack(parser)
    parser.add_argument("machine", help="the machine's name, such as db1")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="default: a shell")


def run(arguments: argparse.Namespace) -> int:
    """Enter a machine; the exit code is that of what ran there."""
    directory, stack = project_directory(arguments.cwd), short_stack(arguments.stack)
    words = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    with PulumiState(directory, stack, secrets=True) as state:
        connection, key = way_in(state.exported, stack, arguments.machine)
    with _ending_in_order(), tempfile.TemporaryDirectory(prefix="understudy-ssh-") as place:
        files = (_write(place, "key", key) if key else None, _known_hosts(place, connection))
        try:
            return subprocess.run(ssh_command(connection, *files, words), check=False).returncode
        except FileNotFoundError:
            todo = "Install the package openssh-client."
            raise UnderstudyError(where="ssh", found="no such command", todo=todo) from None


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Let what would end this process at once raise SystemExit: a terminal that is closed leaves no key behind."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {each: signal.signal(each, leave) for each in (signal.SIGHUP, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def ssh_command(connection: Connection, key: Path | None, known_hosts: Path | None, command: list[str]) -> list[str]:
    """Return the command that enters a machine.

    Args:
        connection: how the machine is reached.
        key: the file with the private key; None for the user's own keys.
        known_hosts: the file with the machine's host key; None where the user's own has it.
        command: what runs there; nothing for a shell.
    """
    options = ["StrictHostKeyChecking=yes", *(["IdentitiesOnly=yes"] if key else []), "ForwardAgent=no"]
    if known_hosts:
        options += [f"UserKnownHostsFile={known_hosts}", "GlobalKnownHostsFile=/dev/null", "UpdateHostKeys=no"]
    if jump := jump_option(connection, str(known_hosts)):
        options.append(jump)
    where = ["-p", str(connection.port), "-l", connection.user, "--", connection.address]
    words = [command_line(command)] if command else []
    identity = ["-i", str(key)] if key else []
    return ["ssh", *identity, *(word for option in options for word in ("-o", option)), *where, *words]


def _write(place: str, name: str, text: str) -> Path:
    """The directory is this user's alone."""
    path = Path(place, name)
    path.touch(mode=0o600)
    path.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")
    return path


def _known_hosts(place: str, connection: Connection) -> Path | None:
    if not connection.host_key:
        return None
    host = connection.address if connection.port == 22 else f"[{connection.address}]:{connection.port}"
    return _write(place, "known_hosts", f"{host} {connection.host_key}\n{jump_line(connection)}")
