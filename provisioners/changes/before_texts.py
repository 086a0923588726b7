"""What a machine must be like before a change is typed: the same as when the change was planned for it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from model.change import Step
from provisioners.changes.marks import marked
from provisioners.changes.observed import Observed
from provisioners.changes.seen import SHOWN_BYTES, Seen
from provisioners.commands import scripted, typed_with

SAYS = "as planned"


def before_step(inputs: Mapping[str, Any], found: Observed, paths: Sequence[str], packages: Sequence[str]) -> Step:
    """Return the step that shows whether a machine still is what a change was planned for.

    Of a file with a secret, and of one that is larger than is fetched, only mode and owner are compared.

    Args:
        inputs: of the kind ``understudy:index:Service``.
        found: what was on the machine then.
        paths: of the files that change, in order.
        packages: those that change, in order.
    """
    shown = [path for path in paths if path.isprintable() and path in found.files]  # no other can be typed
    how = {path: _how(inputs, path, found.files[path]) for path in shown}
    argv = scripted("as_planned", *(word for path in shown for word in (how[path], path)), "--", *packages)
    lines = (
        "open changes: none",
        *(f"{path} {_line(found.files[path], how[path])}" for path in shown),
        *(f"package {name} {found.packages.get(name, '-')}" for name in packages),
    )
    name = f"what changes of {inputs['service']} is there as it was, and nobody else is changing it"
    return Step(name=name, command=typed_with(argv, "\n".join(lines)), prints=SAYS)


def _how(inputs: Mapping[str, Any], path: str, is_there: Seen | None) -> str:
    wanted = (inputs.get("files") or {}).get(path)
    content = str((wanted or {}).get("content") or "")
    private = wanted is None and is_there is not None and is_there.mode[-1] in "0123"
    cut = is_there is not None and is_there.size > SHOWN_BYTES
    return "about" if marked(content, inputs.get("secrets") or {}) or private or cut else "digest"


def _line(is_there: Seen | None, how: str) -> str:
    return " ".join(_words(is_there, how))


def _words(is_there: Seen | None, how: str) -> Iterator[str]:
    if is_there is None:
        yield "absent"
    elif is_there.mode.startswith("(symbolic link to "):
        target = is_there.mode.removeprefix("(symbolic link to ").removesuffix(")")
        yield from ("link", hashlib.sha256(target.encode("utf-8", "surrogatepass")).hexdigest())
    elif is_there.mode.startswith("("):
        yield "other"
    else:
        yield from ("file", f"{int(is_there.mode, 8):o}", f"{is_there.owner}:{is_there.group}")
        if how == "digest":
            yield hashlib.sha256(is_there.content).hexdigest()
