"""What a filling tells while it goes on: phases, facts and checks, one a line. Pure but for what it is told to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model.evidence import Check
from model.evidence.values import to_values

_WORDS = {
    "clean": "making room",
    "make": "making an empty database",
    "restore": "restoring",
    "recovery": "recovering: PostgreSQL replays its log",
    "checks": "checking",
    "stop": "checked; stopping the private server",
    "pages": "reading every page",
    "copy": "copying from the primary",
}


@dataclass(slots=True)
class Story:
    """Collects a filling's lines, and says on the way what is going on.

    Args:
        say: is told each step.
        size_bytes: of what is restored, for the progress in bytes; 0 where it is not known.
    """

    say: Callable[[str], None]
    size_bytes: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    done: bool = False
    bring_seconds: float = 0.0
    """How long the backup took to reach the machine; 0 where it was there already."""
    _phases: list[tuple[str, float]] = field(default_factory=list)

    def heard(self, line: str) -> None:
        """Take one line."""
        word, *rest = line.rstrip("\n").split("\t")
        if word == "@phase" and len(rest) == 2:
            self._phases.append((rest[0], _seconds(rest[1])))
            if rest[0] in _WORDS:
                self.say(_WORDS[rest[0]])
        elif word == "@percent" and rest and rest[0].isdigit():
            self.say(self._progress(int(rest[0])))
        elif word == "@doing" and rest:
            self.say(f"checking: {rest[0]}")
        elif word == "@fact" and len(rest) == 2:
            self.facts[rest[0]] = rest[1]
        elif word == "@check" and len(rest) == 4:
            self._check(*rest)
        elif word == "@done":
            self.done = True
        elif line.startswith("pg_restore: ") and self._phases and self._phases[-1][0] == "restore":
            self.say(f"restoring: {line.removeprefix('pg_restore: ')[:100]}")

    @property
    def phase(self) -> str:
        """Return the phase that it is in; empty before the first."""
        return self._phases[-1][0] if self._phases else ""

    def timings(self) -> dict[str, float]:
        """Return the seconds that each phase took, by its name."""
        spans = zip(self._phases, self._phases[1:], strict=False)
        told = {name: round(after - before, 3) for (name, before), (_, after) in spans}
        return {"bring": round(self.bring_seconds, 3), **told} if self.bring_seconds else told

    def _progress(self, percent: int) -> str:
        doing = "copying" if self.phase == "copy" else "restoring"
        if self.size_bytes < 1 << 20:
            return f"{doing} {percent} %"
        mib = self.size_bytes / (1 << 20)
        return f"{doing} {percent} %: {mib * percent / 100:.0f} of {mib:.0f} MiB"

    def _check(self, name: str, state: str, seconds: str, detail: str) -> None:
        check = Check(
            name=name, ok=state == "ok", detail=detail.strip(), seconds=_seconds(seconds) if seconds else None
        )
        self.checks.append(check)
        self.say(f"{'passed' if check.ok else 'FAILED'}: {name}{'' if check.ok else f': {check.detail}'}"[:200])


def _seconds(text: str) -> float:
    try:
        return round(float(text.replace(",", ".")), 3)
    except ValueError:
        return 0.0


def check_values(checks: list[Check]) -> list[Mapping[str, Any]]:
    """Return checks as a resource's output has them."""
    return [to_values(check) for check in checks]
