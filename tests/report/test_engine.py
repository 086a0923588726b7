"""The report's resource under the real Pulumi engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.evidence import drill_line
from model.evidence.records import drill_from_values
from provisioners.report.kind import refresh
from tests.doubles.pulumi import Project
from tests.report.values import CHECKS, document, drill, restore


def resource(folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    inputs = {"path": str(folder / "report.html"), "document": values, "drills_path": str(folder / "drills.jsonl")}
    return {"kind": "Report", "inputs": inputs, "outputs": ["digest"]}


def test_the_whole_life_of_a_report(tmp_path: Path) -> None:
    project, folder = Project(tmp_path), tmp_path / "stage"
    unknown = document(restores=[restore(data_age_seconds=None, checks=[{**CHECKS[0], "seconds": None}])])
    project.resources({"report": resource(folder, unknown)})
    assert "+ 2 created" in project.run("up", "--yes", "--skip-preview")
    page = folder / "report.html"
    assert "could not be told" in page.read_text()
    project.run("preview", "--expect-no-changes", "--refresh", "--diff")

    # A change is one update in place.
    project.resources({"report": resource(folder, document())})
    assert "~ 1 updated" in project.run("up", "--yes", "--skip-preview")
    assert "All that was checked works" in page.read_text()

    # A drill writes itself into the page, and that is no difference.
    (folder / "drills.jsonl").write_text(drill_line(drill_from_values(drill(7))) + "\n")
    refresh(str(page), str(folder / "drills.jsonl"))
    assert "20261107-010002F" in page.read_text()
    project.run("preview", "--expect-no-changes", "--refresh", "--diff")

    # What somebody does by hand shows, and is put right.
    page.write_text(page.read_text().replace("All that was checked works", "All is well"))
    assert "changed by hand" in project.run("preview", "--refresh", "--diff")
    project.run("up", "--yes", "--skip-preview", "--refresh")
    assert "All that was checked works" in page.read_text()
    assert "20261107-010002F" in page.read_text()

    # So does a page that is gone.
    page.unlink()
    project.run("up", "--yes", "--skip-preview", "--refresh")
    assert page.is_file()

    project.run("destroy", "--yes", "--skip-preview")
    assert [each.name for each in folder.iterdir()] == ["drills.jsonl"]


def test_a_document_that_is_none_is_refused_with_its_place(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.resources({"report": resource(tmp_path / "stage", {**document(), "colour": "red"})})
    printed = project.run("up", "--yes", "--skip-preview", succeeds=False)
    assert "unknown: colour" in printed
    assert not (tmp_path / "stage").exists()
