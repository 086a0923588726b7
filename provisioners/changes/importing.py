"""A service that is on a machine already, as inputs: named by an address, ``ssh://[user@]host[:port]/SERVICE?file=…``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from model.errors import UnderstudyError
from provisioners.changes import checked
from provisioners.changes.apply import observe
from provisioners.changes.observed import Observed
from provisioners.changes.seen import SHOWN_BYTES, Seen
from provisioners.shell import Shell
from provisioners.units import Status

_FORM = "ssh://[user@]host[:port]/SERVICE?file=/etc/a.conf&unit=a.service, with as many files and units as it has"


def imported(shell: Shell, identifier: str, reach: Mapping[str, Any]) -> tuple[dict[str, Any], Observed]:
    """Return the inputs of a service as it is on a machine, and what was found there.

    It has the files and units that the address names, and those that the machine remembers of earlier changes.

    Args:
        shell: the machine.
        identifier: the address.
        reach: the inputs that say how the machine is reached.

    Raises:
        UnderstudyError: the address is none, or something that it names cannot be taken over.
    """
    asked = {**reach, **_asked(identifier, reach)}
    first = observe(shell, asked)
    whole = {
        **asked,
        "files": {path: {} for path in (*first.first_files, *asked["files"])},
        "units": {unit: {} for unit in (*first.first_units, *asked["units"])},
    }
    found = observe(shell, whole)
    files = {path: seen for path, seen in found.files.items() if seen or path in asked["files"]}
    units = {unit: status for unit, status in found.units.items() if status.runs or unit in asked["units"]}
    wrong = [*_wrong_files(files), *_wrong_units(units)]
    if not files and not units:
        wrong = ["it names no file and no unit, and the machine remembers none of such a service"]
    if wrong:
        raise UnderstudyError(where=identifier, found="; ".join(wrong), wanted=_FORM)
    return {
        **asked,
        "files": {path: _file(seen) for path, seen in files.items() if seen},
        "units": {unit: {"restart_on": []} for unit in units},
    }, found


def _asked(identifier: str, reach: Mapping[str, Any]) -> dict[str, Any]:
    parts = urlsplit(identifier)
    query = parse_qs(parts.query, keep_blank_values=True)
    asked = {
        "service": parts.path.removeprefix("/"),
        "files": {path: {"content": ""} for path in query.pop("file", ())},
        "units": {unit: {"restart_on": []} for unit in query.pop("unit", ())},
    }
    wrong = [f"{each.property}: {each.reason}" for each in checked.failures({**reach, **asked})]
    wrong += [f"{key}: there is no such word" for key in query]
    if wrong:
        raise UnderstudyError(where=identifier, found="; ".join(wrong), wanted=_FORM)
    return asked


def _file(seen: Seen) -> dict[str, Any]:
    about = {"mode": seen.mode, "owner": seen.owner, "group": seen.group}
    usual = {"mode": "0644", "owner": "root", "group": "root"}
    return {
        "content": seen.content.decode(),
        **{key: value for key, value in about.items() if value != usual[key]},
    }


def _wrong_files(files: Mapping[str, Seen | None]) -> Iterator[str]:
    """Yield what is no text that may stand in a state. One that not everybody may read could hold a secret."""
    for path, seen in files.items():
        if seen is None:
            yield f"{path} is not there"
        elif seen.mode.startswith("("):
            yield f"{path} is no file: {seen.mode}"
        elif not int(seen.mode, 8) & 0o004:
            yield f"{path} may hold a secret, since not everybody may read it: let the program describe it"
        elif seen.size > SHOWN_BYTES:
            yield f"{path} has {seen.size} bytes, more than {SHOWN_BYTES}"
        elif not _is_text(seen.content):
            yield f"{path} is no text"


def _wrong_units(units: Mapping[str, Status]) -> Iterator[str]:
    for unit, status in units.items():
        if not (status.runs and status.enabled):
            yield f"{unit} does not run" if not status.runs else f"{unit} is not started at boot"


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
