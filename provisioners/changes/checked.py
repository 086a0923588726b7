"""What the inputs of a service on a machine must be. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from provisioners.changes.marks import mark
from provisioners.changes.seen import SHOWN_BYTES
from provisioners.provider.inputs import ACCOUNT, COMMON, FLAG, MODE, PATH, TEXT, UNIT, WORDS, Rule, number, optional
from provisioners.provider.inputs import failures as wrong
from provisioners.provider.kinds import UNKNOWN, Failure, has_unknown

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_SECONDS = (5, 86400)


def _matches(pattern: str) -> Callable[[Any], bool]:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and bool(compiled.fullmatch(value))


def _line(value: Any) -> bool:
    return isinstance(value, str) and not _CONTROL.search(value)


_MAP = Rule(good=lambda value: isinstance(value, Mapping), allowed="values by their names")
_LIST = Rule(good=lambda value: isinstance(value, list), allowed="a list")
_NAME = Rule(good=_matches(r"[a-z][a-z0-9-]{0,62}"), allowed="lower case letters, digits, hyphens")
_LINE = Rule(good=_line, allowed="one line of text")
_PLACE = Rule(
    good=lambda value: PATH.good(value) and _line(value), allowed=f"{PATH.allowed}, and without control characters"
)
_COMMAND = Rule(
    good=lambda value: WORDS.good(value) and bool(value) and all(_line(item) for item in value),
    allowed="a list of at least one text, each of one line",
)
_SECRET = Rule(
    good=lambda value: _line(value) and value != "",
    allowed="one line of text, not empty and without control characters",
)
_SECRET_NAME = Rule(good=_matches(r"[A-Za-z0-9][A-Za-z0-9 ._-]*"), allowed="letters, digits, spaces and ._-")
_DIGEST = Rule(good=_matches(r"[0-9a-f]{64}"), allowed="a SHA-256 in hexadecimal")
_PACKAGE = Rule(good=_matches(r"[a-z0-9][a-z0-9+.-]*"), allowed="a package's name")  # Debian Policy 5.6.1
_VERSION = Rule(good=_matches(r"[0-9][A-Za-z0-9.+~:-]*"), allowed="a package's version")  # Debian Policy 5.6.12


def _every(rule: Rule) -> Rule:
    good = lambda value: isinstance(value, list) and all(rule.good(item) for item in value)  # noqa: E731
    return Rule(good=good, allowed=f"a list, each {rule.allowed}")


_TOP: Mapping[str, Rule] = {
    **COMMON,
    "service": _NAME,
    "confirm_seconds": optional(number(*_SECONDS)),
    "digest": optional(TEXT),
    "adopt": optional(FLAG),
    **dict.fromkeys(("files", "validate", "reload", "packages", "units", "secrets"), optional(_MAP)),
    **dict.fromkeys(("checks", "by_hand", "migrations"), optional(_LIST)),
    **dict.fromkeys(("tool", "evidence", "forecasts"), optional(_MAP)),
}
_CONTENT = Rule(
    good=lambda value: isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) <= SHOWN_BYTES,
    allowed=f"text of at most {SHOWN_BYTES} bytes",
)
_FILE: Mapping[str, Rule] = {
    "content": _CONTENT,
    "mode": optional(MODE),
    "owner": optional(ACCOUNT),
    "group": optional(ACCOUNT),
    "absent": optional(FLAG),
}
_ABSENT: Mapping[str, Rule] = {**_FILE, "content": optional(TEXT)}
_PARTS: Mapping[str, tuple[Rule, Mapping[str, Rule]]] = {
    "packages": (_PACKAGE, {"version": _VERSION, "sha256": _DIGEST, "source": _LINE}),
    "units": (UNIT, {"restart_on": optional(WORDS)}),
}
_SINGLE: Mapping[str, tuple[Rule, Rule]] = {
    "validate": (_PLACE, _COMMAND),
    "reload": (_PLACE, Rule(good=lambda value: value == "" or UNIT.good(value), allowed=UNIT.allowed)),
    "secrets": (_SECRET_NAME, _SECRET),
}
_TOOL: Mapping[str, Rule] = {
    "kind": Rule(good=lambda value: value in ("ansible", "puppet"), allowed="ansible or puppet"),
    "path": _PLACE,
    "files": optional(_every(_PLACE)),
    "packages": optional(_every(_PACKAGE)),
    "units": optional(_every(UNIT)),
}
_CHECK: Mapping[str, Rule] = {"name": _LINE, "command": _COMMAND, "prints": optional(_LINE)}
_BY_HAND: Mapping[str, Rule] = {
    "name": _NAME,
    "text": _LINE,
    "needs": optional(_every(_LINE)),
    "check": optional(_every(_LINE)),
    "prints": optional(_LINE),
    "back_out": optional(_LINE),
}
_SQL_TEXT = Rule(
    good=lambda value: isinstance(value, str) and "\0" not in value and len(value.encode()) <= SHOWN_BYTES,
    allowed=f"SQL of at most {SHOWN_BYTES} bytes",
)
_MIGRATION: Mapping[str, Rule] = {
    "name": _NAME,
    "store": _NAME,
    "version": Rule(good=_matches(r"[0-9]+(\.[0-9]+)?"), allowed="a major version"),
    "port": Rule(good=_matches(r"[0-9]{1,5}"), allowed="a port"),
    "database": _LINE,
    "owner": _LINE,
    "up": _SQL_TEXT,
    "back_out": optional(_SQL_TEXT),
}
_ITEMS: Mapping[str, Mapping[str, Rule]] = {"checks": _CHECK, "by_hand": _BY_HAND, "migrations": _MIGRATION}


def failures(inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
    """Return all that is wrong with a service's inputs; what is not known yet passes, and no secret is shown."""
    found = list(_shown(wrong({**inputs, "secrets": {}}, _TOP)))
    for key in ("files", *_PARTS, *_SINGLE):
        value = inputs.get(key)
        if value is UNKNOWN or value is None:
            continue
        if not isinstance(value, Mapping):
            found += [] if key != "secrets" else [Failure(property=key, reason=f"allowed: {_MAP.allowed}")]
            continue
        for name, item in value.items():
            found += _item(key, name, item, inputs)
    if isinstance(inputs.get("tool"), Mapping):
        found += _inside("tool", inputs["tool"], _TOOL)
    for key, rules in _ITEMS.items():
        if isinstance(inputs.get(key), list):
            for at, item in enumerate(inputs[key]):
                found += _inside(f"{key}[{at}]", item, rules)
    return tuple(found)


def _shown(found: tuple[Failure, ...]) -> Iterator[Failure]:
    """Yield failures whose text shows nothing of a file."""
    for failure in found:
        if failure.property == "files":
            yield Failure(property="files", reason=f"allowed: {_MAP.allowed}")
        else:
            yield failure


def _item(key: str, name: str, item: Any, inputs: Mapping[str, Any]) -> Iterator[Failure]:
    at = f'{key}["{name}"]'
    if key in _SINGLE:
        names, rule = _SINGLE[key]
        if not has_unknown(item) and not rule.good(item):
            shown = "" if key == "secrets" else f"found {item!r:.80}; "
            yield Failure(property=at, reason=f"{shown}allowed: {rule.allowed}")
    elif key == "files":
        names = _PLACE
        absent = isinstance(item, Mapping) and item.get("absent") is True
        yield from _inside(at, item, _ABSENT if absent else _FILE)
        yield from _marked_zero(at, item, inputs)
    else:
        names, rules = _PARTS[key]
        yield from _inside(at, item, rules)
    if not names.good(name):
        yield Failure(property=at, reason=f"the name is not allowed; allowed: {names.allowed}")


def _inside(at: str, item: Any, rules: Mapping[str, Rule]) -> Iterator[Failure]:
    if item is UNKNOWN:
        return
    if not isinstance(item, Mapping):
        yield Failure(property=at, reason=f"allowed: {', '.join(rules)}")
        return
    for failure in wrong(item, rules):
        yield Failure(property=f"{at}.{failure.property}", reason=failure.reason)


def _marked_zero(at: str, item: Any, inputs: Mapping[str, Any]) -> Iterator[Failure]:
    content, secrets = item.get("content") if isinstance(item, Mapping) else None, inputs.get("secrets")
    names = secrets if isinstance(secrets, Mapping) else ()
    if isinstance(content, str) and "\0" in content and any(mark(name) in content for name in names):
        yield Failure(property=f"{at}.content", reason="a file with a secret can have no zero byte")
