"""A service that is a Puppet manifest or an Ansible playbook: what it may change is stated, since no text shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from model.readers import Place, read_keys, read_list, read_text

KINDS = ("ansible", "puppet")
_NAMES = {
    "ansible": (re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.ya?ml(\.j2)?"), "a playbook's file, such as playbook.yml"),
    "puppet": (re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.pp(\.j2)?"), "a manifest's file, such as manifest.pp"),
}
_PATH = re.compile(r"(/(?!\.\.?(/|$))[A-Za-z0-9@_+.,-]+)+")
_UNIT = re.compile(r"[A-Za-z0-9@_.\\-]+\.(service|socket|timer|path|mount|target)")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A manifest or a playbook, and what it may change: that is copied before, and put back in a back-out.

    Args:
        kind: one of ``KINDS``.
        source: its name in the service's folder.
        path: where it lies on the machine, and is applied by the machine itself.
    """

    kind: str
    source: str
    path: str
    files: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    units: tuple[str, ...] = ()


def read_tool(place: Place, service: str, values: Mapping[object, object]) -> Tool | None:
    """Return the manifest or playbook of a service; None where it has none.

    Args:
        place: of the whole ``service.yaml``.
        service: its name.
        values: the file's keys; ``ansible``, ``puppet`` and ``touches`` are read.
    """
    kinds = [kind for kind in KINDS if kind in values]
    if len(kinds) > 1:
        (place / kinds[1]).fault(values[kinds[1]], f"nothing beside `{kinds[0]}`: a service is one or the other")
    if not kinds:
        if "touches" in values:
            (place / "touches").fault(values["touches"], "only beside `ansible` or `puppet`")
        return None
    kind = kinds[0]
    source = read_text(place / kind, values[kind], *_NAMES[kind])
    if "touches" not in values:
        (place / "touches").note("nothing", "the files, packages and units that it may change: they are copied before")
    section = read_keys(
        place / "touches", values.get("touches", {}), required=(), optional=("files", "packages", "units")
    )
    tool = Tool(
        kind=kind,
        source=source or "",
        path=f"/etc/understudy/{service}/{(source or '').removesuffix('.j2')}",
        files=section.read("files", read_list, lambda at, item: read_text(at, item, _PATH, "an absolute path")) or (),
        packages=section.read("packages", read_list, lambda at, item: read_text(at, item, _PACKAGE, "a package")) or (),
        units=section.read("units", read_list, lambda at, item: read_text(at, item, _UNIT, "a unit")) or (),
    )
    if tool.path in tool.files:
        (place / "touches" / "files").fault(tool.path, "other files than itself")
    return tool
