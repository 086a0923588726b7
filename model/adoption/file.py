"""The text of a stack's file: keys, values, and the comments beside them."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from model.adoption.remarks import ASKED, Path, Remark
from model.adoption.tree import Adoption

PREFIX = "understudy:"

# Conservative: whatever is not plainly a word or a whole number is put in quotes.
_PLAIN = re.compile(
    r"[A-Za-z_/][A-Za-z0-9_./:-]*[A-Za-z0-9_/]|[A-Za-z]|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+(/[0-9]+)?|[0-9]+[KMGT]iB"
)
# Source: YAML 1.1, https://yaml.org/type/bool.html and null.html, which PyYAML and Pulumi's reader follow.
_WORDS = frozenset({"y", "yes", "n", "no", "true", "false", "on", "off", "null", "none"})
_SPECIAL = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")

_INLINE = frozenset({"existing", "backup", "heartbeat"})
"""Mappings that stand in one line, unless something is to be said about one of their keys."""


def scalar(value: object) -> str:
    r"""Return a value as YAML has it; a text that could be read as anything else is put in quotes.

    >>> scalar("db1"), scalar("no"), scalar("15"), scalar("?"), scalar("a: b\n")
    ('db1', '"no"', '"15"', '"?"', '"a: b\\n"')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS and "://" not in text and not text.endswith(":"):
        return text
    return _SPECIAL.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))


def file_text(adoption: Adoption, *, command: str) -> str:
    """Return the whole file.

    Args:
        adoption: what stands in it.
        command: the command that made it, for its head.
    """
    remarks: dict[Path, list[Remark]] = defaultdict(list)
    for remark in adoption.remarks:
        remarks[remark.path].append(remark)
    lines = [f"# Written by `{command}` from what the machines told."]
    count = len(adoption.questions())
    if count:
        lines.append(
            f"# {count} open: each is marked QUESTION and has {scalar(ASKED)}, or a value that is not taken yet."
        )
    lines += [
        "# Sizes have units: MiB, GiB, TiB. Machines that exist are never created or destroyed;",
        "# of what is on them, only the services listed below are changed.",
        *(f"# {remark.text}" for remark in remarks[()]),
        "config:",
    ]
    for key, value in adoption.config.items():
        if isinstance(value, Mapping):
            lines.append("")
        lines += _entry(f"{PREFIX}{key}", value, (key,), remarks, 1)
    return "\n".join(lines) + "\n"


def _entry(key: str, value: object, path: Path, remarks: Mapping[Path, list[Remark]], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for remark in remarks.get(path, ()):
        yield f"{indent}# {'QUESTION: ' if remark.asked else ''}{remark.text}"
    name = key if key.startswith(PREFIX) else scalar(key)
    if not isinstance(value, Mapping) or _in_one_line(path, remarks):
        yield f"{indent}{name}: {_flow(value)}"
        return
    yield f"{indent}{name}:"
    for inner, item in value.items():
        yield from _entry(str(inner), item, (*path, str(inner)), remarks, depth + 1)


def _in_one_line(path: Path, remarks: Mapping[Path, list[Remark]]) -> bool:
    return path[-1] in _INLINE and not any(other[: len(path)] == path and other != path for other in remarks)


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return scalar(value)
