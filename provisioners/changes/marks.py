"""Secrets in files: a mark stands for each, in the program, the state, the steps and what is read back. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

_HIDDEN = "(changed by hand; not shown, because a secret belongs here)"


def mark(name: str) -> str:
    """Return what stands in a content for a secret.

    >>> mark("password of shop")
    '@@password of shop@@'
    """
    return f"@@{name}@@"


def marked(content: str, secrets: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the secrets whose marks a content has, in the order in which they are filled in.

    >>> marked("a @@b@@ @@c@@", {"b": "1", "x": "2"})
    ('b',)
    """
    return tuple(name for name in sorted(secrets) if mark(name) in content)


def filled(content: str, secrets: Mapping[str, str]) -> str:
    """Return a content with the secrets in the places of their marks.

    >>> filled("PGPASSWORD=@@password of shop@@", {"password of shop": "x"})
    'PGPASSWORD=x'
    """
    for name in marked(content, secrets):
        content = content.replace(mark(name), secrets[name])
    return content


def hidden(real: str, wanted: str, secrets: Mapping[str, str]) -> str:
    """Return what is really in a file so that it can be shown: with marks for the secrets, and without unknown ones.

    A line that begins as one with a secret does, and has another secret than ours, is not shown.

    Args:
        real: what is there.
        wanted: what was written there, with marks.
        secrets: what stood in the places of the marks.

    >>> hidden("user=me\\npassword=old\\n", "password=@@p@@\\n", {"p": "new"})
    'user=me\\npassword=(changed by hand; not shown, because a secret belongs here)\\n'
    >>> hidden("other\\n", "@@p@@\\n", {"p": "new"})
    '(changed by hand; not shown, because a secret belongs here)\\n'
    >>> hidden("port=2\\npassword=new\\n", "password=@@p@@\\n", {"p": "new"})
    'port=2\\npassword=@@p@@\\n'
    """
    names = marked(wanted, secrets)
    if not names:
        return real
    for name in sorted(names, key=lambda name: -len(secrets[name])):
        real = real.replace(secrets[name], mark(name))
    marks = tuple(mark(name) for name in names)
    begins = {_key(line) for line in wanted.splitlines() if any(each in line for each in marks)}
    return "".join(_hidden(line, begins, marks) for line in real.splitlines(keepends=True))


def _hidden(line: str, begins: set[str], marks: tuple[str, ...]) -> str:
    key = _key(line)
    if any(each in line for each in marks) or not (key in begins or "" in begins):
        return line
    end = line[len(line.rstrip("\r\n")) :]
    shown = line[: line.index(key) + len(key)] + ("=" if "=" in line else " ") if key in begins else ""
    return f"{shown}{_HIDDEN}{end}"


def _key(line: str) -> str:
    """Return how a line begins; nothing where it begins with a secret."""
    found = re.match(r"\s*([^\s=:\"'@]*)", line)
    return found[1] if found else ""
