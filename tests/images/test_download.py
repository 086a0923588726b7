"""A download that is cut off goes on where it was, and is never taken for whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from images import download as module
from images.download import download
from model.errors import UnderstudyError
from tests.images.server import Served, serving

CONTENT = os.urandom(3_000_000)
MOST = 4_000_000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(Served(content=CONTENT)) as served:
        yield served


def get(served: Served, tmp_path: Path, said: list[str] | None = None) -> bytes:
    heard = said if said is not None else []
    return download(served.address, tmp_path, MOST, heard.append).read_bytes()


def test_it_comes_whole_and_says_how_much(served: Served, tmp_path: Path) -> None:
    said: list[str] = []
    assert get(served, tmp_path, said) == CONTENT
    assert said[0].endswith("of 2 MiB have come")
    assert served.asked == [""]


def test_it_goes_on_where_it_was_cut_off(served: Served, tmp_path: Path) -> None:
    served.cuts = [1_000_000, 500_000]
    said: list[str] = []
    assert get(served, tmp_path, said) == CONTENT
    assert served.asked == ["", "bytes=1000000-", "bytes=1500000-"]
    assert "image: cut off after 0 MiB (the connection ended early); going on" in said


def test_it_begins_anew_where_the_server_cannot_resume(served: Served, tmp_path: Path) -> None:
    served.cuts, served.resumes = [1_000_000], False
    assert get(served, tmp_path) == CONTENT
    assert served.asked == ["", "bytes=1000000-"]


def test_without_a_name_for_the_content_nothing_is_resumed(served: Served, tmp_path: Path) -> None:
    served.cuts, served.etag = [1_000_000], ""
    assert get(served, tmp_path) == CONTENT
    assert served.asked == ["", ""]


def test_halves_of_two_files_are_never_put_together(served: Served, tmp_path: Path) -> None:
    served.cuts = [1_000_000, 0, 0, 0, 0]
    with pytest.raises(UnderstudyError, match="4 times; 0 MiB have come"):
        get(served, tmp_path)
    served.cuts, served.content, served.etag = [], os.urandom(2_000_000), '"two"'
    assert get(served, tmp_path) == served.content


def test_the_next_run_goes_on_too(served: Served, tmp_path: Path) -> None:
    served.cuts = [1_000_000, 0, 0, 0, 0]
    with pytest.raises(UnderstudyError, match="run it again: it goes on from there"):
        get(served, tmp_path)
    served.cuts, served.asked = [], []
    assert get(served, tmp_path) == CONTENT
    assert served.asked == ["bytes=1000000-"]


def test_what_is_whole_already_is_not_fetched_again(served: Served, tmp_path: Path) -> None:
    get(served, tmp_path)
    served.asked = []
    assert get(served, tmp_path) == CONTENT
    assert served.asked == ["bytes=3000000-"]


@pytest.mark.parametrize("length", [True, False])
def test_too_large(served: Served, tmp_path: Path, length: bool) -> None:
    served.length = length
    with pytest.raises(UnderstudyError, match="at most 1 MiB"):
        download(served.address, tmp_path, 1 << 20, lambda _: None)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.part")) <= 2 << 20


@pytest.mark.parametrize(("status", "times"), [(404, 1), (403, 1), (503, 4)])
def test_a_server_that_refuses(served: Served, tmp_path: Path, status: int, times: int) -> None:
    served.status = status
    with pytest.raises(UnderstudyError, match=f"the server answers {status}"):
        get(served, tmp_path)
    assert len(served.asked) == times


def test_nobody_there(served: Served, tmp_path: Path) -> None:
    with pytest.raises(UnderstudyError, match="refused, 4 times"):
        download("http://127.0.0.1:1/own.qcow2", tmp_path, MOST, lambda _: None)
