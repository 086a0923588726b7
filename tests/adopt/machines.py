"""Machines behind real SSH servers that answer as simulated ones, and note every command line that reaches them."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from provisioners.facts.fact import NoAnswerError
from provisioners.facts.gather import gather
from tests.adopt.simulated import Simulated
from tests.doubles.sshd import Machine

# Stands for every program that is asked: prints what was prepared for exactly these arguments.
_ANSWER = r"""#!/bin/bash
key=$(printf '%s\0' "${0##*/}" "$@" | /usr/bin/sha256sum)
file=/etc/answers/${key%% *}
[ -e "$file" ] || { echo "env: '${0##*/}': No such file or directory" >&2; exit 127; }
[ ! -e /etc/answers/slow ] || [ "${0##*/}" != lsblk ] || sleep 30
printf '%s' "$(<"$file")"
"""
# Takes a command only in the ways that never ask for a password.
_SUDO = r"""#!/bin/bash
[ ! -e /etc/answers/no-sudo ] || { echo "sudo: a password is required" >&2; exit 1; }
[ "$1" = -n ] || exit 99
shift
[ "$1" != -u ] || shift 2
[ "$1" = -- ] || exit 99
shift
exec "$@"
"""
_RECORD = r"""#!/bin/bash
printf '%s\0' "$SSH_ORIGINAL_COMMAND" >>/run/commands
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""


class AnsweringMachine(Machine):
    """A machine with an SSH server that lets in one key and answers as a simulated one."""

    def __init__(self, simulated: Simulated, public_key: str) -> None:
        super().__init__(simulated.machine.name, "ForceCommand /usr/local/sbin/record")
        self._simulated, self.public_key = simulated, public_key

    def _seed(self, seed: Path) -> None:
        super()._seed(seed)
        programs, answers = seed / "usr" / "local" / "sbin", seed / "etc" / "answers"
        programs.mkdir(parents=True)
        answers.mkdir()
        paths = tuple(sorted({path for paths in self._simulated.files.values() for path in paths}))
        gather(self._simulated.access, self._simulated.answer, paths)
        for question in tuple(self._simulated.asked):
            (programs / question.argv[0]).write_text(_ANSWER)
            with suppress(NoAnswerError):
                (answers / _key(question.argv)).write_text(self._simulated.answer(question))
        (programs / "sudo").write_text(_SUDO)
        (programs / "record").write_text(_RECORD)
        for program in programs.iterdir():
            program.chmod(0o755)

    def have(self, name: str) -> None:
        """Switch on a fault: ``no-sudo`` or ``slow``."""
        (self.root / "etc" / "answers" / name).touch()

    def commands(self) -> list[list[str]]:
        """Return every command that came over SSH."""
        path = self.root / "run" / "commands"
        lines = path.read_text().split("\0")[:-1] if path.exists() else []
        return [shlex.split(line) for line in lines]


def _key(argv: Sequence[str]) -> str:
    return hashlib.sha256("".join(f"{word}\0" for word in argv).encode()).hexdigest()
