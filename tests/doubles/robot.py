"""A robot that types a change document into plain root shells, word for word, as a patient person would."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Self

from cli.change.document import Told, add_arguments, written
from model.change.document import Part, markdown
from model.topology import Topology
from provisioners.commands import command_line
from provisioners.shell import Shell

_PATIENCE_SECONDS = 120.0
NOTHING_ELSE = Topology(network=IPv4Network("10.20.0.0/24"), domain="shop.example", machines=())
_FENCE = re.compile(r"(`{3,})(?:sh (\S+) (before|do|undo) (\d+))?.*")
_SPAN = r"(`+) ?(.+?) ?\1(?!`)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of commands as whoever reads a document finds it, with what the document says around it.

    Args:
        machine: where it is typed; empty for the operator's own computer.
        asked: what it waits for, in order.
        prints: the line that it ends with when all went well.
    """

    part: str
    kind: str
    number: int
    text: str
    machine: str
    asked: tuple[str, ...]
    prints: str


def read(document: str) -> tuple[Block, ...]:
    """Return the blocks of commands of a document's Markdown, in order; nothing else than its text is known."""
    lines, found, machine, here = document.split("\n"), list[Block](), "?", None
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.startswith("#"):
            machine = "?"
        if typed := re.search(
            rf"Typed (?:on {_SPAN}, as root|on your own computer, in the project's directory)\.", line
        ):
            if line.startswith("**"):  # this one step alone
                here = typed[2] or ""
            else:
                machine = typed[2] or ""
        if not (fence := _FENCE.fullmatch(line)):
            continue
        end = lines.index(fence[1], at)
        text, told = "".join(f"{inner}\n" for inner in lines[at:end]), lines[end + 2] if end + 2 < len(lines) else ""
        at = end + 1
        if fence[2]:
            prints = re.search(rf"Last, it prints {_SPAN}\.$", told)
            place = machine if here is None else here
            assert place != "?", f"{line}: nothing says where it is typed"
            assert prints, f"{line}: nothing says what it prints: {told}"
            here = None
            asked = tuple(each[1] for each in re.findall(rf"It waits for {_SPAN}: type it, then Enter\.", told))
            found.append(
                Block(
                    part=fence[2],
                    kind=fence[3],
                    number=int(fence[4]),
                    text=text,
                    machine=place,
                    asked=asked,
                    prints=prints[2],
                )
            )
    return tuple(found)


def document_of(part: Part) -> str:
    """Return the text of a document with one part, as `understudy change document` puts it together."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return markdown(
        written(parser.parse_args(["--why", "A robot tries it."]), "prod", NOTHING_ELSE, [Told(part=part)], ())
    )


class Robot:
    """Has one root shell on one machine, and knows nothing but what stands in a document.

    Args:
        shell: the machine.
        home: an empty directory, for what the commands need that are typed on the operator's computer.
        known_hosts: the line by which that computer knows the machine.
        private_key: what the machine accepts.
        secrets: what it types when a command waits for a secret, by the secret's name.
    """

    def __init__(
        self,
        shell: Shell,
        home: Path,
        known_hosts: str = "",
        private_key: str = "",
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self._shell, self._secrets, self._typed = shell, secrets or {}, deque[bytes]()
        self._path = _own_computer(home, known_hosts, private_key)
        self._more, self._lines, self._done = threading.Condition(), list[str](), False

    def type_part(self, document: str, part: str, kind: str) -> int:
        """Type the blocks of a part and return how many; stop where one does not print what the document says."""
        mine = [block for block in read(document) if (block.part, block.kind) == (part, kind)]
        for block in mine:
            self.type(block)
        return len(mine)

    def type(self, block: Block) -> None:
        """Type one block."""
        where = f"{block.part} {block.kind} {block.number}"
        if not block.machine:
            environment = {**os.environ, "PATH": f"{self._path}:{os.environ['PATH']}"}
            argv = ("bash", "--norc")
            done = subprocess.run(
                argv, input=block.text, env=environment, capture_output=True, text=True, timeout=300, check=False
            )
            assert done.stdout.splitlines()[-1:] == [block.prints], f"{where}: {done.stdout}{done.stderr}"
            return
        typed = block.text + "".join(f"{self._secrets[name]}\n" for name in block.asked)
        with self._more:
            before = len(self._lines)
            self._typed.append(typed.encode())
            heard = self._more.wait_for(lambda: block.prints in self._lines[before:] or self._done, _PATIENCE_SECONDS)
            assert heard, f"{where}: {self._lines[before:]}"
            assert block.prints in self._lines[before:], f"{where}: the shell ended: {self._lines[before:]}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._more:
            self._typed.append(b"exit\n")
        self._thread.join(30)

    def _run(self) -> None:
        try:
            self._shell.stream_lines(("bash", "-c", "exec bash 2>&1"), self._hear, stdin=self._keys(), check=False)
        finally:
            with self._more:
                self._done = True
                self._more.notify_all()

    def _keys(self) -> Iterator[bytes]:
        while True:
            with self._more:
                typed = self._typed.popleft() if self._typed else b""
            if typed:
                yield typed
            if typed == b"exit\n" or self._done:
                return
            threading.Event().wait(0.02)
            yield b""

    def _hear(self, line: str) -> None:
        with self._more:
            self._lines.append(line)
            self._more.notify_all()


def _own_computer(home: Path, known_hosts: str, private_key: str) -> Path:
    """Make the operator's computer: an `ssh` that knows the machine, as `~/.ssh` of whoever types would have it."""
    home.mkdir(exist_ok=True)
    (home / "known_hosts").write_text(f"{known_hosts}\n")
    (home / "key").write_text(private_key)
    (home / "key").chmod(0o600)
    options = (f"-oUserKnownHostsFile={home}/known_hosts", "-oStrictHostKeyChecking=yes", "-i", f"{home}/key")
    (home / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh {command_line(options)} "$@"\n')
    (home / "ssh").chmod(0o755)
    return home
