"""A service's folder: what may stand in it, and how its templates are filled."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.site import read_services
from components.templates import marks
from model.errors import ConfigurationError
from tests.components.conftest import MakeSite
from tests.components.doubles import ROOT


def test_our_own_services_are_read() -> None:
    assert set(read_services(ROOT)) == {path.name for path in (ROOT / "services").iterdir() if path.is_dir()}


def test_a_folder_without_its_file_is_told(project: Path) -> None:
    (project / "services/mail").mkdir()
    with pytest.raises(ConfigurationError, match="the file: found no such file"):
        read_services(project)


def test_secrets_are_marked_not_rendered(make_site: MakeSite) -> None:
    files = {text.file.path: text.content for app in make_site("stage").services["app1"] for text in app.files}
    assert marks(files["/etc/app/app.env"]) == {"shop"}
    assert "PGHOST=10.20.0.31,10.20.0.32\n" in files["/etc/app/app.env"]


def test_a_file_that_is_no_template_is_left_alone(make_site: MakeSite) -> None:
    files = {text.file.path: text.content for app in make_site("stage").services["app1"] for text in app.files}
    assert files["/usr/local/lib/app/app.py"] == (ROOT / "services/app/app.py").read_text()


def test_the_samples_are_the_same_each_time(make_site: MakeSite) -> None:
    init = make_site("prod").engines["shop"].init
    assert init.startswith("-- ")
    assert "SET ROLE shop;" in init
    assert "random" not in init
    assert "CREATE TABLE heartbeat (beat_at timestamptz PRIMARY KEY);" in init
