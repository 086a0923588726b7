"""The resource that keeps the report's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.errors import UnderstudyError
from model.evidence import drill_line
from model.evidence.records import drill_from_values
from provisioners.provider.kinds import UNKNOWN, Values
from provisioners.provider.registry import kinds
from provisioners.report.kind import Report, read_drills, refresh
from tests.report.values import document, drill


def say(_: str) -> None:
    """Show nothing."""


@pytest.fixture
def inputs(tmp_path: Path) -> Values:
    folder = tmp_path / "reports" / "stage"
    return {
        "path": str(folder / "report.html"),
        "document": document(),
        "drills_path": str(folder / "drills.jsonl"),
    }


def test_it_is_registered() -> None:
    assert isinstance(kinds()["understudy:index:Report"], Report)


def test_it_writes_the_page_whole_and_nothing_else(inputs: Values) -> None:
    identifier, outputs = Report().create(inputs, say)
    path = Path(identifier)
    assert path.read_text().startswith("<!doctype html>")
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert outputs == Report().create(inputs, say)[1]


def test_what_it_wrote_is_read_back_as_the_same(inputs: Values) -> None:
    identifier, outputs = Report().create(inputs, say)
    real = Report().read(identifier, inputs, outputs, say)
    assert real is not None
    assert (real.inputs, real.outputs) == (inputs, outputs)


def test_a_file_that_is_gone_is_gone(inputs: Values) -> None:
    identifier, outputs = Report().create(inputs, say)
    Path(identifier).unlink()
    assert Report().read(identifier, inputs, outputs, say) is None


@pytest.mark.parametrize(
    ("old", "new"), [("All that was checked works", "All is well"), ('"stack":"stage"', '"stack":"prod"'), ("html", "")]
)
def test_a_page_that_was_changed_by_hand_shows_as_another(inputs: Values, old: str, new: str) -> None:
    identifier, outputs = Report().create(inputs, say)
    path = Path(identifier)
    path.write_text(path.read_text().replace(old, new, 1))
    real = Report().read(identifier, inputs, outputs, say)
    assert real is not None
    assert real.inputs["document"] != inputs["document"]
    Report().update(identifier, inputs, inputs, outputs, say)
    again = Report().read(identifier, inputs, outputs, say)
    assert again is not None
    assert again.inputs == inputs


def test_a_drill_shows_in_the_page_and_is_no_difference(inputs: Values) -> None:
    identifier, outputs = Report().create(inputs, say)
    history = Path(inputs["drills_path"])
    history.write_text(drill_line(drill_from_values(drill(3))) + "\n{}\n\n")
    refresh(identifier, str(history))
    page = Path(identifier).read_text()
    assert "20261103-010002F" in page
    assert "1 line of the history cannot be read." in page
    real = Report().read(identifier, inputs, outputs, say)
    assert real is not None
    assert (real.inputs, real.outputs) == (inputs, outputs)


def test_a_failed_update_shows_in_the_page_until_one_ends_well(inputs: Values) -> None:
    identifier, outputs = Report().create(inputs, say)
    path, drills = Path(identifier), inputs["drills_path"]
    good = path.read_text()
    refresh(identifier, drills, "front: no page <b>")
    page = path.read_text()
    assert "All that was checked works" not in page
    assert "The last update failed, and this page is of before it" in page
    assert "front: no page &lt;b&gt;" in page
    real = Report().read(identifier, inputs, outputs, say)
    assert real is not None
    assert (real.inputs, real.outputs) == (inputs, outputs), "it is no difference"
    refresh(identifier, drills)
    assert path.read_text() == page, "a drill does not change it"
    refresh(identifier, drills, "")
    assert path.read_text() == good


def test_there_is_nothing_to_refresh_without_a_page(inputs: Values, tmp_path: Path) -> None:
    with pytest.raises(UnderstudyError, match="pulumi up"):
        refresh(inputs["path"], "")
    other = tmp_path / "other.html"
    other.write_text("<html>mine</html>")
    with pytest.raises(UnderstudyError, match="another file"):
        refresh(str(other), "")
    assert other.read_text() == "<html>mine</html>"


def test_deleting_leaves_the_history_and_no_empty_folder(inputs: Values) -> None:
    identifier, outputs = Report().create(inputs, say)
    folder = Path(identifier).parent
    history = folder / "drills.jsonl"
    history.write_text("")
    Report().delete(identifier, inputs, outputs, say)
    assert [each.name for each in folder.iterdir()] == ["drills.jsonl"]
    history.unlink()
    Report().delete(identifier, inputs, outputs, say)
    assert not folder.exists()


def test_a_folder_that_is_not_ours_stays(inputs: Values, tmp_path: Path) -> None:
    own = {**inputs, "path": str(tmp_path / "mine" / "report.html")}
    Report().create(own, say)
    Report().delete(own["path"], own, {}, say)
    assert (tmp_path / "mine").is_dir()


def test_wrong_inputs_are_told_with_their_place(inputs: Values) -> None:
    assert Report().check(inputs) == ()
    assert [each.property for each in Report().check({**inputs, "path": "report.html"})] == ["path"]
    (failure,) = Report().check({**inputs, "document": {**document(), "colour": "red"}})
    assert failure.property == "document"
    assert "unknown: colour" in failure.reason


def test_a_preview_may_not_know_everything_yet(inputs: Values) -> None:
    assert Report().check({**inputs, "document": UNKNOWN}) == ()
    assert Report().check({**inputs, "document": {**document(), "restores": [UNKNOWN]}}) == ()


def test_a_place_that_cannot_be_written_is_named(inputs: Values) -> None:
    with pytest.raises(UnderstudyError, match=r"/proc/nothing/report\.html"):
        Report().create({**inputs, "path": "/proc/nothing/report.html"}, say)


def test_no_history_is_no_drill(tmp_path: Path) -> None:
    assert read_drills("") == ((), 0)
    assert read_drills(str(tmp_path / "none")) == ((), 0)
