"""A robot that types a change document into plain root shells, word for word, as a patient person would."""

from __future__ import annotations

import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from model.change.document import Block, Part, blocks
from provisioners.shell import Shell

_PATIENCE_SECONDS = 120.0


class Robot:
    """Has one root shell on one machine, and knows nothing but what stands in a document.

    Args:
        shell: the machine.
        known_hosts: a file with the machine's host key, for the commands that are typed on the operator's computer.
        key: a file with the private key that the machine accepts.
        secrets: what it types when a command waits for a secret, by the secret's name.
    """

    def __init__(self, shell: Shell, known_hosts: Path, key: Path, secrets: Mapping[str, str]) -> None:
        self._shell, self._secrets, self._typed = shell, secrets, deque[bytes]()
        self._options = ("-o", f"UserKnownHostsFile={known_hosts}", "-o", "StrictHostKeyChecking=yes", "-i", str(key))
        self._more, self._lines, self._done = threading.Condition(), list[str](), False

    def type_part(self, markdown: str, part: Part, kind: str) -> None:
        """Type the blocks of a part; stop where one does not print what the document says."""
        steps = part.steps if kind == "do" else part.undo
        for block in blocks(markdown):
            if (block.part, block.kind) == (part.name, kind):
                step = steps[block.number - 1]
                self._type(block, step.prints, step.secrets, on_machine=step.place == "machine")

    def _type(self, block: Block, prints: str, secrets: tuple[str, ...], *, on_machine: bool) -> None:
        where = f"{block.part} {block.kind} {block.number}"
        if not on_machine:
            text = block.text.replace("ssh ", f"ssh {' '.join(self._options)} ", 1)
            done = subprocess.run(["bash"], input=text, capture_output=True, text=True, timeout=300, check=False)
            assert prints in done.stdout.splitlines(), f"{where}: {done.stdout}{done.stderr}"
            return
        typed = block.text + "".join(f"{self._secrets[name]}\n" for name in secrets)
        with self._more:
            before = len(self._lines)
            self._typed.append(typed.encode())
            heard = self._more.wait_for(lambda: prints in self._lines[before:] or self._done, _PATIENCE_SECONDS)
            assert heard, f"{where}: {self._lines[before:]}"
            assert prints in self._lines[before:], f"{where}: the shell ended: {self._lines[before:]}"

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
