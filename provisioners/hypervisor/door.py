"""The one door to a host of virtual machines: the same acts, done here or, over SSH, on another host."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from model.connection import Connection
from model.errors import UnderstudyError
from model.host_uri import host_of
from model.names import ROOT
from provisioners.commands import command_line, scripted
from provisioners.hypervisor import edge
from provisioners.hypervisor.host import ToolFailed
from provisioners.hypervisor.identity import IdentityFailed
from provisioners.hypervisor.savefile import BadSaveFile
from provisioners.hypervisor.silent import Stalled
from provisioners.hypervisor.virsh import Absent, VirshFailed
from provisioners.outcome import CommandFailed, Result, Say, Stopped, Unreachable, last_lines, see_why, typed

if TYPE_CHECKING:
    from provisioners.shell import Shell

_PROGRAMS = ROOT / "edge"
_PATIENCE_SECONDS = 20.0
_INSTALL_PYTHON = ("sudo", "apt-get", "install", "--yes", "python3")
_NOT_THERE, _NO_PYTHON, _WRITTEN_BY_ANOTHER = 44, 45, 46
_ERRORS: Mapping[str, type[UnderstudyError]] = {
    each.__name__: each for each in (ToolFailed, IdentityFailed, BadSaveFile, Absent, Stalled, VirshFailed, Stopped)
}


class Door(Protocol):
    """What can be asked of a host."""

    def call(self, name: str, *arguments: Any, say: Say) -> Any:
        """Do one of the acts of ``acts.py`` there and return what came of it.

        Raises:
            UnderstudyError: it cannot be done there.
        """


def door(uri: str) -> Door:
    """Return the door to the host with this address of libvirt."""
    way = host_of(uri)
    return Here() if way is None else There(way)


class Here:
    """This computer."""

    def call(self, name: str, *arguments: Any, say: Say) -> Any:
        """As `Door`."""
        from provisioners.hypervisor.acts import act

        return act(name, arguments, say)


class There:
    """Another host, over SSH.

    Args:
        way: how it is reached.
        patience_seconds: how long it may take to answer.
    """

    def __init__(self, way: Connection, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._way, self._patience_seconds = way, patience_seconds

    @property
    def name(self) -> str:
        """Return what the lock file calls it."""
        return self._way.name

    def call(self, name: str, *arguments: Any, say: Say) -> Any:
        """As `Door`.

        Raises:
            Unreachable, WrongHostKey, ConnectionLost: as `provisioners.shell.connect`.
        """
        request = json.dumps({"act": name, "arguments": arguments}).encode()
        (path, content), answer = _program(), _Answer(self._way, say)
        with self._connected(say) as shell:
            done = _run(shell, path, request, answer)
            if done.code == _NOT_THERE:
                say(f"{self._way.name}: sending it the program that works there")
                shell.run(("install", "--directory", "--mode=0711", str(ROOT)))
                shell.put(content, str(path))
                done = _run(shell, path, request, answer)
        return answer.result(done)

    def append(self, path: str, there: int, chunks: Iterable[bytes], say: Say) -> bool:
        """Append to a file that has so many bytes, and return whether it was ours to write."""
        with self._connected(say) as shell:
            argv = scripted("append", path, str(there))
            done = shell.run(argv, stdin=chunks, check=False, timeout_seconds=86400)
            if done.code not in (0, _WRITTEN_BY_ANOTHER):
                raise CommandFailed(self._way.name, done)
        return done.code == 0

    @contextmanager
    def _connected(self, say: Say) -> Iterator[Shell]:
        from provisioners.shell import connect  # it takes long to import, and this computer needs none

        way = self._way
        try:
            with connect(way, "", say, self._patience_seconds) as shell:
                yield shell
        except Unreachable as error:
            if error.where != way.name:
                raise
            raise Unreachable(
                where=f"host {way.name}",
                found=error.found,
                wanted="a host that can be reached",
                todo=see_why(way),
            ) from error


@cache
def _program() -> tuple[PurePosixPath, bytes]:
    """Return the program for other hosts, and where it lies there."""
    content = edge.archive()
    return _PROGRAMS / f"{hashlib.sha256(content).hexdigest()[:16]}.zip", content


def _run(shell: Shell, path: PurePosixPath, request: bytes, answer: _Answer) -> Result:
    return shell.stream_lines(scripted("edge", str(path)), answer.take, stdin=request, check=False)


class _Answer:
    """What the program on the other host writes: progress, then a result or an error."""

    def __init__(self, way: Connection, say: Say) -> None:
        self._way, self._say = way, say
        self._last: Mapping[str, Any] = {}

    def take(self, line: str) -> None:
        """Take one line."""
        try:
            told = json.loads(line)
        except ValueError:  # whatever the host's login prints
            return
        if "say" in told:
            self._say(told["say"])
        elif told:
            self._last = told

    def result(self, done: Result) -> Any:
        """Return the result, or raise the error."""
        host = f"host {self._way.name}"
        if "result" in self._last:
            return self._last["result"]
        if "error" in self._last:
            error = dict(self._last["error"])
            error["where"] = host if error["where"] == "this host" else f"{host}: {error['where']}"
            raise _ERRORS.get(self._last["kind"], UnderstudyError)(**error)
        if done.code == _NO_PYTHON:
            raise UnderstudyError(
                where=host,
                found=last_lines(done.stderr, 1),
                wanted="Python 3.11 or newer, which works there for us",
                todo=f"Install it, on Debian 12 or newer: `{command_line((*typed(self._way), *_INSTALL_PYTHON))}`.",
            )
        raise CommandFailed(self._way.name, done)
