"""The sections of the page: what was checked, restored, built where, and how the drills went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from model.evidence import Check, Document, DrawnMachine, Drill, Restore
from provisioners.report.markup import Markup, element, joined
from provisioners.report.words import count, duration, moment, size

MOST_DRILLS = 30
"""So many of the newest drills are listed; the older ones are counted."""

_NOTHING = "–"
_SEEN, _WRONG = "What was seen", "What was wrong"
_FREE = {_SEEN: "free", _WRONG: "free", "Started": "free"}
"""Columns whose text may be long, and broken anywhere."""

_SHAPES = {
    "good": "M12 2a10 10 0 1 0 0 20a10 10 0 1 0 0-20M7 12.5l3.5 3.5L17 9",
    "bad": "M8 2h8l6 6v8l-6 6H8l-6-6V8zM8.5 8.5l7 7M15.5 8.5l-7 7",
    "unknown": "M12 2.5L22.5 21h-21zM12 9v6M12 17.6v.6",
}


def mark(state: str, word: str) -> Markup:
    """Return a state as shape, word and colour; ``state`` is ``good``, ``bad`` or ``unknown`` (which is bad too)."""
    shape = element(
        "svg", element("path", d=_SHAPES[state]), viewBox="0 0 24 24", width="20", height="20", aria_hidden="true"
    )
    return element("span", shape, element("span", word), class_=f"mark {state}")


def check_mark(check: Check) -> Markup:
    """Return how a check went. One that could not run has not passed."""
    if not check.ran:
        return mark("unknown", "could not run")
    return mark("good", "passed") if check.ok else mark("bad", "failed")


def section(identifier: str, title: str, *content: str) -> Markup:
    """Return a section with its heading."""
    heading = element("h2", title, id=identifier)
    return element("section", heading, *content, aria_labelledby=identifier)


def table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]], class_: str = "") -> Markup:
    """Return a table. On a narrow screen its rows become cards, each cell with its heading: roles keep it a table."""
    head = [element("th", heading, scope="col", role="columnheader") for heading in headings]
    body = []
    for first, *rest in rows:
        cells = [_cell(heading, cell) for heading, cell in zip(headings[1:], rest, strict=True)]
        body.append(element("tr", element("th", first, scope="row", role="rowheader"), *cells, role="row"))
    return element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *head, role="row"), role="rowgroup"),
        element("tbody", *body, role="rowgroup"),
        role="table",
        class_=class_ or None,
    )


def _cell(heading: str, cell: str) -> Markup:
    nothing = "none" if cell in (_NOTHING, _whole(_NOTHING)) else None
    return element(
        "td", element("div", cell, class_=_FREE.get(heading)), role="cell", data_label=heading, class_=nothing
    )


def checks_table(caption: str, checks: Sequence[Check]) -> Markup:
    """Return checks, the failed ones first."""
    ordered = sorted(checks, key=lambda check: check.green)
    rows = [
        (check.name, check_mark(check), check.detail or _NOTHING, _whole(duration(check.seconds, _NOTHING)))
        for check in ordered
    ]
    return table(caption, ("Check", "Result", _SEEN, "Took"), rows, "checks")


def checks_section(document: Document) -> Markup:
    """Return the checks of the environment; those of the restores stand with them."""
    if not document.checks:
        return section(
            "checks", "Checks", element("p", "No page is asked for: nothing is shown to work.", class_="muted")
        )
    return section("checks", "Checks", checks_table("Checks of the whole environment", document.checks))


def restores_section(document: Document) -> Markup:
    """Return each restore: the snapshot, its age, how long it took, and its checks."""
    if not document.restores:
        return section("restores", "Restore", element("p", "No store was filled from a backup.", class_="muted"))
    return section("restores", "Restore", *(_restore(restore) for restore in document.restores))


def _restore(restore: Restore) -> Markup:
    state = mark("good", "good") if restore.green else mark("bad", "not good")
    where = f"{restore.engine} {restore.version}".strip()
    age = duration(restore.data_age_seconds, "could not be told")
    took = duration(restore.restore_seconds, "did not end")
    facts = [
        _fact("Snapshot", element("code", restore.snapshot)),
        _fact("Taken", _time(restore.taken_at)),
        _fact("Age of the data", age, bad=restore.data_age_seconds is None),
        _fact("Restored in", took, bad=restore.restore_seconds is None),
    ]
    if restore.system_identifier:
        facts.append(_fact("Cluster", element("code", restore.system_identifier)))
    heading = element("h3", restore.store, element("small", f" {where} on {restore.machine}"), state)
    checks = checks_table(f"Checks of {restore.store}", restore.checks) if restore.checks else _unchecked()
    return element("article", heading, element("dl", *facts, class_="facts"), checks, class_="card")


def _unchecked() -> Markup:
    return element("p", mark("unknown", "Nothing was checked: this does not count as restored."))


def _fact(name: str, value: str, *, bad: bool = False) -> Markup:
    shown = mark("unknown", value) if bad else value
    return element("div", element("dt", name), element("dd", shown))


def _time(text: str) -> Markup:
    shown = moment(text)
    return element("time", shown, datetime=text) if shown != text else element("span", text or "not known")


def placement_section(document: Document) -> Markup:
    """Return which machine runs on which computer."""
    hosts: dict[str, list[DrawnMachine]] = defaultdict(list)
    for machine in document.machines:
        hosts[machine.host or ("Existing machines" if machine.existing else "Not placed")].append(machine)
    return section("placement", "Machines, and where they run", *(_host(name, group) for name, group in hosts.items()))


def _host(name: str, machines: Sequence[DrawnMachine]) -> Markup:
    backends = ", ".join(dict.fromkeys(machine.backend for machine in machines if machine.backend))
    total = f"{count(len(machines), 'machine')}, {count(sum(m.vcpus for m in machines), 'processor')}"
    memory = size(sum(machine.memory_mib for machine in machines))
    heading = element("h3", name, element("small", f" {backends}" if backends else ""))
    about = element(
        "p", ", ".join(text for text in (total, f"{memory} memory" if memory else "") if text), class_="muted"
    )
    headings = ("Machine", "Role", "Address", "Processors", "Memory", "Disks", "Started")
    rows = [_machine(machine) for machine in machines]
    return element("article", heading, about, table(f"Machines on {name}", headings, rows), class_="card")


def _machine(machine: DrawnMachine) -> tuple[str, ...]:
    roles = [*machine.roles, *(["spare"] if machine.spare else [])]
    disks = " + ".join(text for text in (size(machine.system_disk_mib), size(machine.data_disk_mib)) if text)
    control = element("small", f" {machine.control_address} for control", class_="whole")
    return (
        machine.name,
        ", ".join(roles) or _NOTHING,
        joined(element("code", machine.address), control if machine.control_address else ""),
        str(machine.vcpus),
        _whole(size(machine.memory_mib) or _NOTHING),
        _whole(disks or _NOTHING),
        _started(machine),
    )


def _started(machine: DrawnMachine) -> Markup:
    if machine.existing:
        return joined("existing: left alone")
    if not machine.started:
        return joined(_NOTHING)
    took = f" in {duration(machine.boot_seconds)}" if machine.boot_seconds is not None else ""
    why = machine.started_reason.removeprefix(f"{machine.started}: ")
    reason = element("small", f" {why}") if why else ""
    return joined(f"{machine.started}{took}", reason)


def drills_section(drills: Sequence[Drill], unreadable: int) -> Markup:
    """Return the newest drills as a table under a chart, and count the rest."""
    parts: list[Markup] = []
    if unreadable:
        parts.append(element("p", mark("bad", f"{count(unreadable, 'line')} of the history cannot be read.")))
    if not drills:
        parts.append(element("p", "There was no drill yet: ", element("code", "understudy drill"), " makes one."))
        return section("drills", "Drills", *parts)
    newest = sorted(drills, key=lambda drill: drill.at, reverse=True)
    shown, older = newest[:MOST_DRILLS], newest[MOST_DRILLS:]
    headings = ("Drill", "Result", "Recovery", "Age of the data", "Snapshot", _WRONG)
    parts.append(_chart(shown[::-1]))
    parts.append(table("The newest drills", headings, [_drill(drill) for drill in shown]))
    if older:
        red = sum(not drill.ok for drill in older)
        parts.append(element("p", f"And {count(len(older), 'earlier one')}, {red} of them red.", class_="muted"))
    return section("drills", "Drills", *parts)


def _whole(text: str) -> Markup:
    return element("span", text, class_="whole")


def _drill(drill: Drill) -> tuple[str, ...]:
    wrong = [drill.fault] if drill.fault else []
    wrong += [f"{check.name}: {check.detail or 'failed'}" for check in drill.all_checks if not check.green]
    wrong += [f"age of {item.store} unknown" for item in drill.restores if item.data_age_seconds is None]
    return (
        _time(drill.at),
        mark("good", "green") if drill.ok else mark("bad", "red"),
        _whole(duration(drill.recovery_seconds, "not reached")),
        _whole(duration(drill.data_age_seconds, "not known") if drill.restores else _NOTHING),
        joined(*(element("code", restore.snapshot) for restore in drill.restores)) or _NOTHING,
        "; ".join(wrong) or (_NOTHING if drill.ok else "nothing was restored or checked"),
    )


def _chart(drills: Sequence[Drill]) -> Markup:
    """Return the recovery times as bars, the oldest first; a red drill is an empty bar with a cross."""
    longest = max((drill.recovery_seconds or 0 for drill in drills), default=0) or 1
    step, height = 14.0, 64.0
    bars = []
    for index, drill in enumerate(drills):
        tall = max((drill.recovery_seconds or 0) / longest * (height - 14), 4.0) if drill.ok else height - 14
        x, y = index * step + 2, height - tall
        bars.append(
            element(
                "g",
                element("title", f"{moment(drill.at)}: {duration(drill.recovery_seconds, 'not reached')}"),
                element("rect", x=x, y=round(y, 1), width=10.0, height=round(tall, 1), rx=2.0),
                "" if drill.ok else element("path", d=f"M{x + 1:g} {height - tall / 2 - 4:g}l8 8m0-8l-8 8"),
                class_="good" if drill.ok else "bad",
            )
        )
    green = sum(drill.ok for drill in drills)
    words = f"Recovery times of the newest drills, oldest first: {green} of {len(drills)} green."
    width = max(len(drills) * step + 4, 60)
    chart = element(
        "svg",
        element("title", words),
        *bars,
        viewBox=f"0 0 {width:g} {height:g}",
        width=f"{width:g}",
        height=f"{height:g}",
        role="img",
        class_="chart",
    )
    longest_words = f"{green} of {len(drills)} green. The longest took {duration(longest)}." if green else words
    return element("figure", chart, element("figcaption", longest_words, class_="muted"), class_="history")
