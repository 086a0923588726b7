"""What is said beside the values of an adopted file: questions, whose value is missing, and notes."""

from __future__ import annotations

from dataclasses import dataclass, field

ASKED = "?"
"""Stands for a value that could not be told. The configuration's reader refuses it and names the key."""

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A comment at a key.

    Args:
        path: the keys that lead to it, such as ``("machines", "db1", "memory")``; none for the whole file.
        text: one line.
        asked: whether it is a question, which must be answered before the file can be used.
    """

    path: Path
    text: str
    asked: bool = False

    @property
    def key(self) -> str:
        """Return the key as faults name it."""
        return ".".join(self.path)


@dataclass(slots=True)
class Remarks:
    """Collects the remarks while a file is put together; each is kept once."""

    all: list[Remark] = field(default_factory=list)

    def note(self, path: Path, text: str) -> None:
        """Add a note."""
        self._add(Remark(path=path, text=line(text)))

    def ask(self, path: Path, text: str) -> str:
        """Add a question and return what stands in place of the value."""
        self._add(Remark(path=path, text=line(text), asked=True))
        return ASKED

    def _add(self, remark: Remark) -> None:
        if remark not in self.all:
            self.all.append(remark)


def line(text: str) -> str:
    r"""Return a text as one line that a comment can hold, whatever a machine put into it.

    >>> line("a\nb\x1b[31m")
    'a b [31m'
    """
    shown = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(shown.split())[:300]


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Return names as a sentence lists them.

    >>> listed(["db1", "db2", "db3"])
    'db1, db2 and db3'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def gibibytes(size_bytes: int) -> str:
    """Return a size as people read it.

    >>> gibibytes(7 * 1024**2), gibibytes(21 * 1024**3)
    ('7 MiB', '21.0 GiB')
    """
    return f"{size_bytes / 1024**3:.1f} GiB" if size_bytes >= 1024**3 else f"{size_bytes / 1024**2:.0f} MiB"
