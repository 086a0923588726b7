"""Credentials for Google: those that its plugin would find, or the line to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.errors import UnderstudyError
from provisioners.clouds.google import examine


@pytest.mark.parametrize("name", ["GOOGLE_OAUTH_ACCESS_TOKEN", "GOOGLE_CREDENTIALS"])
def test_in_the_environment(name: str, tmp_path: Path) -> None:
    examine({name: "given"}, tmp_path)


def test_of_a_login_and_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(UnderstudyError, match=r"none: no .*gcloud auth application-default login"):
        examine({}, tmp_path)
    usual = tmp_path / ".config/gcloud/application_default_credentials.json"
    usual.parent.mkdir(parents=True)
    usual.write_text('{"type": "authorized_user"}')
    examine({}, tmp_path)
    examine({"CLOUDSDK_CONFIG": str(usual.parent)}, tmp_path / "elsewhere")
    with pytest.raises(UnderstudyError, match="none: no /nowhere"):
        examine({"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"}, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type": 1}', "not json"])
def test_what_cannot_be_used(text: str, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(text)
    with pytest.raises(UnderstudyError, match="cannot be used"):
        examine({"GOOGLE_APPLICATION_CREDENTIALS": str(path)}, tmp_path)
