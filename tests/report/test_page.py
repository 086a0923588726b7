"""The page as text: nothing in it is markup that a value brought, and what matters stands there in words."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import UnderstudyError
from model.evidence.records import drill_from_values
from provisioners.report.layout import HEIGHT, MOST_IN_A_ROW, WIDTH, drawing
from provisioners.report.page import page_data, report_html
from tests.report.values import CHECKS, PAGES, document, drill, large, restore

NASTY = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "</style></title></svg><b>",
    "\"' onmouseover=alert(1) x='",
    "&lt;b&gt;&amp;",
    "<!-- ]]> -->",
    "javascript:alert(1)",
    "\u202egpj.exe\u2066",
    "a\x00b\x1b[31m\u2028\ufeff\ud800",
)


class Structure(HTMLParser):
    """The tags of a page with the names of their attributes, and its text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.addresses: list[str] = []
        self.text: list[str] = []
        self.comments = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href", "action")]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments += 1


def structure(page: str) -> Structure:
    parser = Structure()
    parser.feed(page)
    parser.close()
    return parser


def with_text(values: Any, text: str) -> Any:
    """Put the text in place of every text that does not choose what is drawn."""
    if isinstance(values, dict):
        kept = {"kind", "roles", "name", "source", "target", "machine", "at"}
        return {key: item if key in kept else with_text(item, text) for key, item in values.items()}
    if isinstance(values, list):
        return [with_text(item, text) for item in values]
    return text if isinstance(values, str) else values


def page_with(text: str) -> str:
    return report_html(with_text(document(), text), [drill_from_values(with_text(drill(3), text))], 1)


@pytest.mark.parametrize("text", NASTY)
def test_no_text_becomes_markup(text: str) -> None:
    nasty, tame = structure(page_with(text)), structure(page_with("tame"))
    assert nasty.tags == tame.tags
    assert nasty.comments == 0
    assert nasty.addresses == ["data:,"]


@given(st.text(min_size=1, max_size=40))
@settings(max_examples=60)
def test_no_text_at_all_becomes_markup(text: str) -> None:
    assert structure(page_with(text)).tags == structure(page_with("tame")).tags


@pytest.mark.parametrize("text", NASTY)
def test_names_of_machines_and_checks_are_escaped_too(text: str) -> None:
    values = document(checks=[{"name": text, "ok": False, "detail": text}], notes=[text])
    values["machines"].append({"name": text, "address": text, "roles": [text], "vcpus": 1, "memory_mib": 1})
    values["arrows"].append({"source": "lb", "target": text, "kind": text})
    found = structure(report_html(values, [drill_from_values(drill(3, at=text, fault=text))]))
    names = {name for _, attributes in found.tags for name in attributes}
    assert not [name for name in names if name.startswith("on")]
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in structure(page_with("tame")).tags} | {"p", "path"}
    assert sum(tag == "script" for tag, _ in found.tags) == 1


def test_bidirectional_and_control_characters_are_made_visible() -> None:
    page = page_with("\u202egpj\x00\x1b[31m")
    assert not re.search("[\x00\x1b\u202e\u2066\u2028]", page)
    assert "�gpj��[31m" in page


def test_nothing_is_fetched() -> None:
    page = report_html(document(), [drill_from_values(drill(3))])
    assert "default-src &#x27;none&#x27;" in page
    assert "url(" not in re.sub(r"url\(#head-\w+\)", "", page)
    assert "@import" not in page
    assert "http" not in re.sub(r"http-equiv", "", page)


def words(values: dict[str, Any], *drills: dict[str, Any], unreadable: int = 0) -> str:
    page = report_html(values, [drill_from_values(each) for each in drills], unreadable)
    return " ".join(" ".join(structure(page).text).split())


def test_green_is_said_in_words() -> None:
    text = words(document())
    assert "All that was checked works" in text
    assert "4 of 4" in text
    assert "1 min 33 s" in text
    assert "could not" not in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"checks": [{**PAGES[0], "ok": False, "detail": "503"}]}, ["1 check is red", "failed", "503"]),
        ({"checks": [{**PAGES[0], "ok": True, "ran": False}]}, ["1 check is red", "could not run"]),
        ({"restores": [restore(data_age_seconds=None)]}, ["A restore does not count", "could not be told"]),
        ({"restores": [restore(restore_seconds=None)]}, ["A restore does not count", "did not end"]),
        ({"restores": [restore(checks=[])]}, ["A restore does not count", "Nothing was checked"]),
        ({"restores": [restore(checks=[{**CHECKS[0], "ok": False}])]}, ["1 check is red", "not good"]),
        ({"restores": [], "checks": []}, ["Nothing was checked", "nothing is shown to work"]),
    ],
)
def test_whatever_is_not_shown_to_work_is_red(change: dict[str, Any], said: list[str]) -> None:
    text = words(document(**change))
    assert "All that was checked works" not in text
    for each in said:
        assert each in text


def test_an_alarm_stands_first_whatever_else_is_green() -> None:
    alarm = "EMERGENCY: web changes without a rehearsal (record 2: <the site is down>)"
    page = report_html(document(alarms=[alarm]))
    assert page.index("EMERGENCY") < page.index("All that was checked works")
    assert "web changes without a rehearsal (record 2: &lt;the site is down&gt;)" in page
    assert "EMERGENCY" not in report_html(document())


def test_the_drawing_is_told_in_words() -> None:
    text = words(document())
    assert "lb hands requests to app1, app2 (spare)." in text
    assert "db1 is copied to db2." in text
    assert "Standing by: app2." in text


def test_machines_stand_under_their_host_with_the_way_they_started() -> None:
    text = words(document())
    assert "this machine" in text
    assert "warm in 7.5 s" in text
    assert "cold in 34.1 s another processor" in text


def test_drills_come_newest_first_and_old_ones_are_counted() -> None:
    drills = [drill(day) for day in range(1, 31)] + [drill(day, at=f"2026-10-{day:02}T02:00:00Z") for day in (1, 2)]
    drills[-1]["fault"] = "broken"
    text = words(document(), *drills, unreadable=2)
    assert text.index("2026-11-30 02:00 UTC green") < text.index("2026-11-29 02:00 UTC green")
    assert "2026-10" not in text
    assert "And 2 earlier ones, 1 of them red." in text
    assert "2 lines of the history cannot be read." in text


def test_the_page_holds_what_it_was_made_of() -> None:
    values = with_text(document(), "</script>")
    data = page_data(report_html(values, [drill_from_values(drill(3))], 4))
    assert data is not None
    assert data[0] == values
    assert drill_from_values(data[1][0]) == drill_from_values(drill(3))
    assert data[2] == 4


def test_another_file_holds_nothing() -> None:
    assert page_data("<html></html>") is None
    assert page_data('<script type="application/json" id="data">{"document":</script>') is None


def test_the_same_values_give_the_same_page() -> None:
    assert report_html(document()) == report_html(document())


def test_values_that_are_no_document_are_refused() -> None:
    with pytest.raises(UnderstudyError, match="colour"):
        report_html({**document(), "colour": "red"})


@pytest.mark.parametrize("values", [document(), large(), document(machines=[], arrows=[])])
def test_boxes_do_not_overlap_and_stand_within_the_drawing(values: dict[str, Any]) -> None:
    from model.evidence import document_from

    drawn = drawing(document_from(values))
    places = [(box.x, box.y) for box in drawn.boxes]
    assert len(set(places)) == len(places)
    for x, y in places:
        assert 0 <= x <= drawn.width - WIDTH
        assert 0 <= y <= drawn.height - HEIGHT
        assert not [1 for u, v in places if (u, v) != (x, y) and abs(u - x) < WIDTH and abs(v - y) < HEIGHT]
    assert max((sum(v == y for _, v in places) for _, y in places), default=0) <= MOST_IN_A_ROW
    drawn_names = [machine.name for box in drawn.boxes for machine in box.machines]
    assert sorted(drawn_names) == sorted(machine["name"] for machine in values["machines"])
