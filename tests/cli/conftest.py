"""A project of its own for each test, with the files of `tests/cases`."""

from __future__ import annotations

from pathlib import Path

import pytest

CASES = Path(__file__).parents[1] / "cases"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return the directory of a project: prod with three stores, a stage that mirrors it, and prod's services."""
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "Pulumi.yaml").write_text("name: understudy\nruntime: python\n")
    for stack in ("prod", "stage"):
        text = (CASES / f"valid.{stack}.yaml").read_text(encoding="utf-8")
        (directory / f"Pulumi.{stack}.yaml").write_text(text, encoding="utf-8")
    for service in ("haproxy", "app", "heartbeat", "postgresql"):
        (directory / "services" / service).mkdir(parents=True)
    return directory


@pytest.fixture
def nothing_to_build(project: Path) -> Path:
    """Return a project whose prod exists already, every machine of it, without services: placing it touches nothing."""
    path = project / "Pulumi.prod.yaml"
    path.write_text(all_existing(path.read_text(encoding="utf-8")), encoding="utf-8")
    return project


def all_existing(text: str) -> str:
    """Return prod's file with machines that all exist already, and no service on them."""
    text = text.replace("GiB}", "GiB, existing: true}").replace("MiB}", "MiB, existing: true}")
    before, _, rest = text.partition("  understudy:services:\n")
    return before + rest[rest.index("  understudy:stores:\n") :]
