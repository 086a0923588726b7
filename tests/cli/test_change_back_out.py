"""Which changes are taken back, and in which order."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.change._machines import There, chosen, named
from cli.change.back_out import in_order
from model.change.kept import KeptChange
from model.errors import UnderstudyError


def there(at: int, identifier: str, machine: str = "lb", service: str = "web", state: str = "kept") -> There:
    """Return a change of the minute ``at``."""
    moment = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=at)
    directory = f"/root/configs/{service}/{moment:%Y%m%dT%H%M%SZ}-{identifier}"
    return There(machine=machine, change=KeptChange(service=service, directory=directory, state=state))


OLD, MIDDLE, NEW = there(1, "aaaa11112222"), there(2, "bbbb11112222"), there(3, "cccc11112222")
OTHER = there(4, "aaaa33334444", machine="app1")
FOUND = (OTHER, NEW, MIDDLE, OLD)


def test_a_change_is_meant_by_its_first_digits() -> None:
    assert chosen(FOUND, ("cccc",)) == (NEW,)
    assert chosen(FOUND, ("aaaa",)) == (OTHER, OLD)
    assert chosen(FOUND, ("aaaa",), "app1") == (OTHER,)


@pytest.mark.parametrize("identifier", ["", "a", "ccc", "dddd"])
def test_what_names_no_change_is_refused(identifier: str) -> None:
    with pytest.raises(UnderstudyError, match="no machine has copies"):
        chosen(FOUND, (identifier,))


def test_the_id_of_a_document_means_all_changes_in_it(tmp_path: Path) -> None:
    for name, changes in (
        ("2026-11-01-eeee00000000", ["aaaa11112222", "cccc11112222"]),
        ("2026-11-02-bbbb11112222", ["bbbb11112222"]),
    ):
        (tmp_path / "changes" / name).mkdir(parents=True)
        (tmp_path / "changes" / name / "changes.json").write_text(json.dumps({each: ["lb:web"] for each in changes}))
    assert chosen(FOUND, named(tmp_path, "eeee")) == (NEW, OLD)
    assert chosen(FOUND, named(tmp_path, "bbbb11112222")) == (MIDDLE,)
    assert (named(tmp_path, "ffff"), named(tmp_path, "../e")) == (("ffff",), ("../e",))


def test_the_newest_goes_first() -> None:
    assert in_order(FOUND, {OLD, NEW, MIDDLE}) == (NEW, MIDDLE, OLD)


def test_an_old_one_does_not_go_under_newer_ones_in_silence() -> None:
    with pytest.raises(UnderstudyError, match="newer changes of it were kept: cccc11112222 bbbb11112222"):
        in_order(FOUND, {OLD})


def test_what_another_machine_or_service_has_or_what_is_backed_out_is_nothing_to_it() -> None:
    later = there(9, "dddd11112222", machine="app1"), there(9, "eeee11112222", service="cron")
    back = there(9, "ffff11112222", state="backed-out")
    assert in_order((*later, back, NEW), {NEW, back}) == (NEW,)
