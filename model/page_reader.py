"""Reads the pages that must come."""

from __future__ import annotations

from collections.abc import Collection

from model import rules
from model.readers import (
    Place,
    meant,
    one_of,
    read_choice,
    read_keys,
    read_list,
    read_mapping,
    read_name,
    read_text,
)
from model.topology import HttpPage


def read_pages(place: Place, value: object, machines: Collection[str]) -> tuple[HttpPage, ...]:
    """Return the pages that could be read.

    Args:
        place: where they are described.
        value: what stands there.
        machines: names of the machines.
    """
    pages = [_read_page(place / name, name, entry, machines) for name, entry in read_mapping(place, value).items()]
    return tuple(sorted((page for page in pages if page), key=lambda page: page.name))


def _read_page(place: Place, name: object, value: object, machines: Collection[str]) -> HttpPage | None:
    known = read_name(place, name, "page")
    section = read_keys(place, value, required=("via", "url", "text"), optional=("stopping",))
    via = section.read("via", read_choice, machines)
    url = section.read("url", read_text, rules.is_url, rules.URL_ALLOWED)
    text = section.read("text", read_text, rules.is_line, rules.LINE_ALLOWED)
    stopping = section.read("stopping", _read_stopping, machines) or ()
    if known is None or via is None or url is None or text is None:
        return None
    return HttpPage(name=known, via=via, url=url, text=text, stopping=stopping)


def _read_stopping(place: Place, value: object, machines: Collection[str]) -> tuple[str, ...]:
    return read_list(place, value, lambda at, item: _read_stopped(at, item, machines))


def _read_stopped(place: Place, value: object, machines: Collection[str]) -> str | None:
    text = read_text(place, value, rules.STOPPED_UNIT, rules.STOPPED_UNIT_ALLOWED)
    machine = text.partition("/")[0] if text is not None else None
    if machine is not None and machine not in machines:
        place.fault(value, f"a unit of a machine, {one_of(machines)}{meant(machine, machines)}")
        return None
    return text
