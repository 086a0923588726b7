"""The page in a real browser: on a screen, on a phone, on paper, by day and by night."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver

from model.evidence.records import drill_from_values
from provisioners.report.page import report_html
from tests.report.browser import headless, log
from tests.report.values import PAGES, document, drill, large, restore

LONG = "x" * 300

PAGES_SHOWN = {
    "green": (document(), [drill(day) for day in range(1, 31)]),
    "red": (
        document(
            checks=[{**PAGES[0], "ok": False, "detail": LONG}, {**PAGES[1], "ran": False}],
            restores=[restore(data_age_seconds=None, snapshot="20261123-010002F_20261124-010002I")],
            notes=[LONG],
        ),
        [drill(3, fault=f"db1: {LONG}", recovery_seconds=None)],
    ),
    "large": (large(), []),
    "empty": (document(machines=[], arrows=[], restores=[], checks=[], notes=[]), []),
}

# The contrast of every text with what is behind it, by WCAG 2.1's formula (1.4.3).
CONTRASTS = """
const parse = text => text.match(/[0-9.]+/g).map(Number);
const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
  .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = element => {
  for (let each = element; each; each = each.parentElement) {
    const colour = parse(getComputedStyle(each).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || element.closest('script, title, desc')) continue;
  const style = getComputedStyle(element);
  const svg = element instanceof SVGElement;
  const front = luminance(parse(svg ? style.fill : style.color));
  const back = luminance(behind(element));
  const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  if (ratio < 4.5) found.push([walker.currentNode.data.trim().slice(0, 40), ratio]);
}
return found;
"""

# Texts of the drawing that leave their box.
OUTSIDE = """
return [...document.querySelectorAll('.drawing g.machine')].flatMap(group => {
  const box = group.querySelector('rect:last-of-type').getBBox();
  return [...group.querySelectorAll('text')].filter(text => {
    const own = text.getBBox();
    return own.x < box.x || own.x + own.width > box.x + box.width || own.y + own.height > box.y + box.height;
  }).map(text => text.textContent);
});
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with headless(tmp_path_factory.mktemp("profile")) as chrome:
        yield chrome


@pytest.fixture(params=sorted(PAGES_SHOWN))
def shown(request: pytest.FixtureRequest, browser: webdriver.Chrome, tmp_path: Path) -> webdriver.Chrome:
    values, drills = PAGES_SHOWN[request.param]
    path = tmp_path / "report.html"
    path.write_text(report_html(values, [drill_from_values(each) for each in drills]))
    log(browser, "browser"), log(browser, "performance")
    light(browser)
    browser.get(path.as_uri())
    return browser


def light(browser: webdriver.Chrome, *, scheme: str = "light", width: int = 1200) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def requests(browser: webdriver.Chrome) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in log(browser, "performance")]
    return [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]


def test_it_asks_for_nothing_and_complains_about_nothing(shown: webdriver.Chrome) -> None:
    assert [entry["message"] for entry in log(shown, "browser")] == []
    # Chromium loads its own first page (chrome:) beside ours.
    asked = [url for url in requests(shown) if not url.startswith(("data:", "chrome:"))]
    assert asked == [shown.current_url]


@pytest.mark.parametrize("width", [320, 360, 768, 961, 1200])
def test_it_never_scrolls_sideways(shown: webdriver.Chrome, width: int) -> None:
    light(shown, width=width)
    wide: Any = shown.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= width
    assert wide[1] == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(shown: webdriver.Chrome, scheme: str) -> None:
    light(shown, scheme=scheme)
    assert shown.execute_script(CONTRASTS) == []


def test_by_night_it_is_dark(shown: webdriver.Chrome) -> None:
    backgrounds = []
    for scheme in ("light", "dark"):
        light(shown, scheme=scheme)
        backgrounds.append(shown.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert backgrounds[0] != backgrounds[1]


def test_the_drawing_keeps_its_texts_in_their_boxes(shown: webdriver.Chrome) -> None:
    assert shown.execute_script(OUTSIDE) == []


def test_it_prints(shown: webdriver.Chrome) -> None:
    printed = shown.execute_cdp_cmd("Page.printToPDF", {"printBackground": False, "preferCSSPageSize": True})
    pdf = base64.b64decode(printed["data"])
    assert pdf.startswith(b"%PDF-")
    assert b"/Type /Page" in pdf
    shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert shown.execute_script(CONTRASTS) == []
    assert shown.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_whoever_does_not_see_it_is_told(shown: webdriver.Chrome) -> None:
    tree = shown.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    by_role: dict[str, list[str]] = {}
    for node in tree:
        if not node.get("ignored"):
            by_role.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert all(name for role in ("image", "table", "columnheader", "heading") for name in by_role.get(role, []))
    assert any("Topology" in name for name in by_role.get("image", by_role.get("img", [])))
    assert shown.execute_script("return document.documentElement.lang") == "en"
    assert len(by_role["main"]) == 1
    levels = shown.execute_script("return [...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("width", [360, 1200])
def test_a_table_stays_one_where_its_rows_are_cards(shown: webdriver.Chrome, width: int) -> None:
    light(shown, width=width)
    tree = shown.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = [node["role"]["value"] for node in tree if not node.get("ignored")]
    tables = shown.execute_script("return document.querySelectorAll('table').length")
    rows = shown.execute_script("return document.querySelectorAll('tr').length")
    assert roles.count("table") == tables
    assert roles.count("row") == rows
