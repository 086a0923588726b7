"""The whole page from the document and the drills. Pure: the same values give the same text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.evidence import Check, Document, Drill, document_from, to_values
from provisioners.report.markup import Markup, element, escaped, joined
from provisioners.report.sections import (
    checks_section,
    drills_section,
    mark,
    placement_section,
    restores_section,
    section,
)
from provisioners.report.topology import topology_figure
from provisioners.report.words import count, duration, moment

_STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def report_html(values: Mapping[str, Any], drills: Sequence[Drill] = (), unreadable: int = 0, failure: str = "") -> str:
    """Return the page.

    Args:
        values: the document as plain values, such as `model.evidence.document_values` makes.
        drills: the history, in any order.
        unreadable: how many lines of the history could not be read.
        failure: why the update after which the document was not written again failed; empty for none.

    Raises:
        UnderstudyError: the values describe no document.
    """
    document = document_from(values)
    data = _data(values, drills, unreadable, failure)
    parts = _header(document, drills, failure), _main(document, drills, unreadable), data
    return framed(f"{document.stack}: report", joined(*parts))


def framed(title: str, body: Markup, more_style: str = "") -> str:
    """Return a whole page around its body: it fetches nothing, and runs nothing."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Markup(_STYLE + more_style)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', body), lang='en')}\n"


def page_data(page: str) -> tuple[dict[str, Any], list[Any], int, str] | None:
    """Return what a page was made of: the document's and the drills' values, unreadable lines, and the failure.

    None where the text is no such page.
    """
    match = _DATA.search(page)
    try:
        data = json.loads(match[1] if match else "")
        return data["document"], data["drills"], int(data["unreadable"]), str(data.get("failure", ""))
    except (ValueError, KeyError, TypeError):
        return None


def _data(values: Mapping[str, Any], drills: Sequence[Drill], unreadable: int, failure: str) -> Markup:
    """Return the values themselves for programs; nothing in them can end the element that holds them."""
    data = {"document": values, "drills": [to_values(drill) for drill in drills], "unreadable": unreadable}
    if failure:
        data["failure"] = failure
    text = json.dumps(data, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(f'<script type="application/json" id="data">{text}</script>')


def all_checks(document: Document) -> tuple[Check, ...]:
    """Return the checks of the environment and of its restores."""
    return (*document.checks, *(check for restore in document.restores for check in restore.checks))


def _verdict(document: Document, drills: Sequence[Drill], failure: str) -> Markup:
    newest = max(drills, key=lambda drill: drill.at, default=None)
    checks = all_checks(document)
    red = [check for check in checks if not check.green]
    unsure = [restore for restore in document.restores if not restore.green]
    if red:
        first = ", ".join(check.name for check in red[:3]) + (" …" if len(red) > 3 else "")
        return _banner("bad", f"{count(len(red), 'check is', 'checks are')} red", first)
    if unsure:
        stores = ", ".join(restore.store for restore in unsure)
        return _banner("bad", "A restore does not count", f"{stores}: not checked, not ended, or of unknown age")
    if newest is not None and not newest.ok:
        return _banner("bad", "The newest drill is red", newest.fault or "Drills, below, has what was wrong.")
    if failure:
        return _banner("bad", "The last update failed, and this page is of before it", failure)
    if not checks:
        return _banner("unknown", "Nothing was checked", "So nothing is shown to work.")
    return _banner("good", "All that was checked works", count(len(checks), "check"))


def _banner(state: str, words: str, more: str) -> Markup:
    return element("p", mark(state, words), element("small", more), class_=f"verdict {state}", role="status")


def _two(alarm: str) -> tuple[str, str]:
    """Return the first words of an alarm, which say what it is, and the rest."""
    what, _, more = alarm.partition(": ")
    return what, more


def _header(document: Document, drills: Sequence[Drill], failure: str) -> Markup:
    mirror = f"Mirror of {document.mirror_of}" if document.mirror_of else ""
    about = [text for text in (mirror, document.domain, document.network) if text]
    return element(
        "header",
        element("p", "Understudy", class_="kicker"),
        element("h1", document.stack),
        element("p", " · ".join(about), class_="muted") if about else "",
        *(_banner("bad", *_two(alarm)) for alarm in document.alarms),
        _verdict(document, drills, failure),
        _figures(document, drills),
    )


def _figures(document: Document, drills: Sequence[Drill]) -> Markup:
    checks = all_checks(document)
    ages = [restore.data_age_seconds for restore in document.restores]
    known = [age for age in ages if age is not None]
    spare = sum(machine.spare for machine in document.machines)
    figures = [_figure("Machines", str(len(document.machines)), f"{spare} standing by" if spare else "")]
    if checks:
        green = sum(check.green for check in checks)
        figures.append(_figure("Checks passed", f"{green} of {len(checks)}", ""))
    if document.restores:
        age = duration(max(known)) if len(known) == len(ages) else "not known"
        took = [restore.restore_seconds for restore in document.restores if restore.restore_seconds is not None]
        figures.append(_figure("Age of the data", age, "after the restore"))
        figures.append(_figure("Restored in", duration(max(took)) if took else "did not end", ""))
    if drills:
        last = max(drills, key=lambda drill: drill.at)
        figures.append(_figure("Last drill", "green" if last.ok else "red", moment(last.at)))
    return element("dl", *figures, class_="figures")


def _figure(name: str, value: str, more: str) -> Markup:
    return element("div", element("dt", name), element("dd", value, element("small", more) if more else ""))


def _main(document: Document, drills: Sequence[Drill], unreadable: int) -> Markup:
    notes = [element("li", escaped(note)) for note in document.notes]
    return element(
        "main",
        section("topology", "Topology", topology_figure(document)),
        restores_section(document),
        checks_section(document),
        placement_section(document),
        drills_section(drills, unreadable),
        section("notes", "Notes", element("ul", joined(*notes))) if notes else "",
    )
