"""The README's whole example of a service: read, refused with its faults, and put on a machine as it stands there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from cli.__main__ import main
from components.service import service_inputs
from components.site import read_site
from provisioners.shell import close_all
from tests.changes.values import SERVICE, quiet, read
from tests.components.conftest import project  # noqa: F401
from tests.doubles.sshd import Machine

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = dict(re.findall(r"<!-- example: (\S+) -->\n```\w+\n(.*?)```", README, re.DOTALL))
UNIT = "etc/systemd/system/tidy.service"


@pytest.fixture
def site(project: Path) -> Path:  # noqa: F811
    """The sample company's project with the example in it."""
    shutil.copy(ROOT / "Pulumi.yaml", project)
    folder = project / "services/tidy"
    folder.mkdir()
    for name, text in EXAMPLE.items():
        (folder / name).write_text(text, encoding="utf-8")
    path, line = project / "Pulumi.prod.yaml", re.findall(r"`(tidy: \[.*?\])`", README)[0]
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("  understudy:services:\n", f"  understudy:services:\n    {line}\n"), encoding="utf-8")
    return project


def test_it_comes_to_a_machine_and_goes_again(site: Path) -> None:
    read_in = read_site(site, "stage", "file:///state", None).services
    assert [name for name, every in read_in.items() if any(each.service.name == "tidy" for each in every)] == [
        "app1",
        "app2",
    ]
    (rendered,) = (each for each in read_in["app1"] if each.service.name == "tidy")
    with Machine("app1") as machine:
        reach = {"connection": machine.connection.values(), "private_key": machine.private_key, "generation": "1"}
        wanted = {**reach, **service_inputs(rendered)}
        assert SERVICE.check(wanted) == ()
        identifier, outputs = SERVICE.create(wanted, quiet)
        assert "Description=Old files of app1\n" in (machine.root / UNIT).read_text()
        assert "-mtime +14 -delete\n" in (machine.root / UNIT).read_text()
        assert read(wanted).inputs == wanted
        SERVICE.delete(identifier, wanted, outputs, quiet)
        assert not (machine.root / UNIT).exists()
        close_all()


def test_preflight_names_its_faults(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preflight", "-s", "stage", "-C", str(site)]) == 0
    path = site / "services/tidy/service.yaml"
    path.write_text(path.read_text().replace("days: 14", "nights: 14").replace("- unit:", "- name:"), encoding="utf-8")
    assert main(["preflight", "-s", "stage", "-C", str(site)]) == 1
    said = capsys.readouterr().err
    assert "services/tidy/service.yaml: units.1" in said or "services/tidy/service.yaml: units.0" in said, said
