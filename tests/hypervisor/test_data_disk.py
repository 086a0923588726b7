"""A data disk becomes bigger where it is, through the machine that has it open or in its file, and never smaller."""

from __future__ import annotations

from typing import Any

import pytest

from model.errors import UnderstudyError
from provisioners.hypervisor.data_disk import DataDisk
from provisioners.provider.kinds import UNKNOWN, Telling
from provisioners.provider.registry import kinds
from tests.hypervisor.conftest import FakeVirsh

KIND, PATH = DataDisk(), "/pool/db1-data.qcow2"
WANTED: dict[str, Any] = {
    "domain": "prod-db1",
    "path": PATH,
    "pool": "prod",
    "size_mib": 4096,
    "key": "Pulumi.prod.yaml: machines.db1.data_disk",
}
BEFORE = {**WANTED, "size_mib": 2048}
REFUSED = r"^Pulumi.prod.yaml: machines.db1.data_disk: 2048 MiB; the data disk of prod-db1 has 4096 MiB"


def quiet(_: str) -> None: ...


def of_size(mebibytes: int) -> str:
    return f"Capacity:       {mebibytes << 20}\nAllocation:     200704\nPhysical:       196616"


@pytest.fixture
def there(virsh: FakeVirsh) -> FakeVirsh:
    """A running machine whose disk has 2 GiB."""
    virsh.answer(
        {
            f"domblkinfo prod-db1 {PATH}": of_size(2048),
            "domstate prod-db1": "running",
            f"blockresize prod-db1 {PATH} {4096 << 20}B": "Block device is resized",
            "pool-refresh prod": "Pool prod refreshed",
        }
    )
    return virsh


def test_it_becomes_bigger_while_its_machine_runs(there: FakeVirsh) -> None:
    assert KIND.check(WANTED) == ()
    assert KIND.update(PATH, BEFORE, WANTED, {}, quiet) == {}
    assert there.asked()[-2:] == [f"blockresize prod-db1 {PATH} {4096 << 20}B", "pool-refresh prod"]


def test_of_a_machine_that_is_off_its_file_becomes_bigger(there: FakeVirsh) -> None:
    answers = {f"domblkinfo prod-db1 {PATH}": of_size(2048), "domstate prod-db1": "shut off", "pool-refresh prod": ""}
    there.answer({**answers, f"vol-resize {PATH} {4096 << 20}": ""})
    KIND.update(PATH, BEFORE, WANTED, {}, quiet)
    assert f"vol-resize {PATH} {4096 << 20}" in there.asked()


def test_what_has_its_size_already_is_left_alone(there: FakeVirsh) -> None:
    """So it is where somebody typed it, and where a state of before did not know of it."""
    assert KIND.create(BEFORE, quiet) == (PATH, {})
    assert there.asked() == [f"domblkinfo prod-db1 {PATH}"]


def test_what_somebody_made_bigger_by_hand_is_seen(there: FakeVirsh) -> None:
    there.answer({"domstate prod-db1": "running", f"domblkinfo prod-db1 {PATH}": of_size(4096)})
    real = KIND.read(PATH, BEFORE, {}, quiet)
    assert real is not None
    assert real.inputs == WANTED
    there.answer({"domstate prod-db1": "error: failed to get domain 'prod-db1'"})
    assert KIND.read(PATH, BEFORE, {}, quiet) is None


def test_a_smaller_one_is_refused_by_the_preview_already(there: FakeVirsh) -> None:
    kind = kinds()[KIND.token]
    assert isinstance(kind, Telling)
    with pytest.raises(UnderstudyError, match=REFUSED):
        kind.consequence(WANTED, BEFORE)
    there.answer({f"domblkinfo prod-db1 {PATH}": of_size(4096)})
    with pytest.raises(UnderstudyError, match=REFUSED):
        KIND.update(PATH, BEFORE, BEFORE, {}, quiet)
    assert there.asked() == [f"domblkinfo prod-db1 {PATH}"]


def test_what_will_be_done_is_said() -> None:
    said = "prod-db1: its data disk becomes bigger where it is: 2048 MiB → 4096 MiB; its data stays"
    assert KIND.consequence(BEFORE, WANTED) == said
    assert KIND.consequence(WANTED, {**WANTED, "key": "other"}) == ""
    assert KIND.consequence(BEFORE, {**WANTED, "size_mib": UNKNOWN}) == ""
