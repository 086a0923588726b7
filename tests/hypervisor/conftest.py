"""A host of its own for each test: a directory in place of the real ones, and a virsh that answers from a table."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

FAKE = f"""#!{sys.executable}
import json, os, sys
asked = [word for word in sys.argv[1:] if not word.startswith("--quiet")][2:]
with open(os.environ["FAKE_VIRSH_ASKED"], "a") as log: log.write(json.dumps(asked) + "\\n")
answers = json.load(open(os.environ["FAKE_VIRSH"]))
whole = " ".join(asked)
for key in [whole] if whole in answers else whole.split("; "):
    failed = False
    if key.startswith("echo "):  # quietly, virsh ends no line there
        print(key.removeprefix("echo "), end="")
        continue
    if key not in answers: sys.exit(f"error: nobody expected {{key}}")
    answer = answers[key]
    if isinstance(answer, list):
        left = answer[1:] or answer[-1:]
        answers[key] = left
        json.dump(answers, open(os.environ["FAKE_VIRSH"], "w"))
        answer = answer[0]
    if answer.startswith("error: "):  # the real one goes on, and ends as the last one does
        print(answer, file=sys.stderr)
        failed = True
        continue
    print(answer)
sys.exit(failed)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeVirsh:
    """What virsh answers, by command; a list is answered one after the other. What is not in it is an error."""

    answers: Path
    log: Path

    def answer(self, answers: Mapping[str, str | list[str]]) -> None:
        """Say what it answers from now on."""
        self.answers.write_text(json.dumps(answers))

    def asked(self) -> list[str]:
        """Return the commands that it was given."""
        return [" ".join(json.loads(line)) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture
def virsh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeVirsh:
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "virsh").write_text(FAKE)
    (directory / "virsh").chmod(0o755)
    fake = FakeVirsh(answers=tmp_path / "answers.json", log=tmp_path / "asked")
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_VIRSH", str(fake.answers))
    monkeypatch.setenv("FAKE_VIRSH_ASKED", str(fake.log))
    monkeypatch.setattr("provisioners.hypervisor.virsh._VERSIONS", {})
    fake.answer({})
    return fake
