"""A measurement's directory, and what is left of one that was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.room import room, sites
from bench.site import Site


def test_what_was_left_is_taken_away_and_nothing_stays(tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    Site(left)  # it never came to an `up`, so there is nothing to destroy
    said: list[str] = []
    with room(said.append, tmp_path) as directory:
        assert not left.exists()
        assert not list(directory.iterdir())
    assert not directory.exists()
    assert said == [f"taking away what an earlier measurement left in {left}"]


def test_left_sites_are_found_one_level_below_too_with_the_stacks_that_have_a_state(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "5warm"):
        place.mkdir(exist_ok=True)
    made = {Site(tmp_path).name, Site(tmp_path / "5warm").name}
    found = sites(tmp_path)
    assert {site.name for site in found} == made
    site = found[0]
    assert not site.has_begun(site.stage)
    states = site.directory / ".state/understudy/state/.pulumi/stacks/understudy"
    states.mkdir(parents=True)
    (states / f"{site.stage}.json").write_text("{}")
    assert site.has_begun(site.stage)


def test_a_room_whose_stage_cannot_be_destroyed_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Site, *stacks: str) -> None:
        raise AssertionError(stacks)

    monkeypatch.setattr(Site, "end", refuse)
    monkeypatch.setattr(Site, "has_begun", lambda self, stack: True)
    with pytest.raises(AssertionError), room(lambda _: None, tmp_path) as directory:
        Site(directory)
    assert directory.exists()
