"""What is written into the README, and what a state and a configuration of the measurements are."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml

from bench.__main__ import PARTS
from bench.figures import Figure, medians
from bench.hundred import grown, placement
from bench.table import caption, replaced, table
from components.site import read_site
from model.placement import as_values, file_name

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_row_has_its_ratio_and_its_goal() -> None:
    figure = Figure(name="one", ours=30.0, against="bare", by_hand=60.0, goal=0.5)
    assert table([figure]).splitlines()[2:] == ["| one | 30.0 | bare | 60.0 | 0.50 | 0.5 |"]


def test_a_goal_in_seconds_beyond_says_how_far_beyond_it_is() -> None:
    figure = Figure(name="one", ours=7.25, against="engine", by_hand=5.0, goal_beyond=3.0)
    assert table([figure]).splitlines()[2:] == [
        "| one | 7.2 | engine | 5.0 | 1.45 | 3.0 s beyond; it is 2.2 |",
    ]


def test_nothing_to_compare_with_is_no_ratio() -> None:
    assert table([Figure(name="one", ours=2.0)]).splitlines()[2:] == ["| one | 2.0 | – | – | – | – |"]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_measured_leaves_the_others(part: str) -> None:
    new = replaced(README, part, "measured now")
    assert f"<!-- bench:{part} -->\nmeasured now\n<!-- bench:{part} end -->" in new
    for other in set(PARTS) - {part}:
        begin, end = f"<!-- bench:{other} -->", f"<!-- bench:{other} end -->"
        assert new.partition(begin)[2].partition(end)[0] == README.partition(begin)[2].partition(end)[0]
    assert replaced(new, part, "measured now") == new


def test_a_readme_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="bench:boots"):
        replaced("# Understudy\n", "boots", "text")


def test_the_caption_names_day_and_machine() -> None:
    assert caption(date(2026, 11, 25), 2, "kvm") == "Measured on 2026-11-25, on 2 cores, machines with KVM:"
    assert caption(date(2026, 11, 25), 2, "") == "Measured on 2026-11-25, on 2 cores:"


def test_ways_are_run_in_turn() -> None:
    order: list[str] = []
    assert set(medians(2, {"a": lambda: order.append("a"), "b": lambda: order.append("b")})) == {"a", "b"}
    assert order == ["a", "b", "a", "b"]


def test_a_hundred_machines_are_a_configuration_without_faults(tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text(encoding="utf-8"))
    values = grown({key.removeprefix("understudy:"): value for key, value in document["config"].items()}, 100)
    (tmp_path / "services").symlink_to(ROOT / "services")
    config = {"config": {f"understudy:{key}": value for key, value in values.items()}}
    (tmp_path / "Pulumi.prod.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / file_name("prod")).write_text(yaml.safe_dump(as_values(placement(values["machines"]))))
    site = read_site(tmp_path, "prod", "file:///state", None)
    assert len(site.environment.topology.machines) == 100
    assert sum("app" in {each.service.name for each in services} for services in site.services.values()) == 97
