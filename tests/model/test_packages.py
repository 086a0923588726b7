"""A service's lock of packages: what may stand in it, what is said of what may not, and whether it fits the service."""

from __future__ import annotations

import pytest

from components.strict_yaml import dump, parse
from model.errors import ConfigurationError
from model.packages import Package, PackageLock, as_values, lock_fault, read_lock
from model.service import Service
from tests.reading import cases

CASES = cases("packages.yaml")
FILE = "services/web/packages.lock.yaml"
VALID: str = CASES["valid"]


def read(text: str) -> PackageLock:
    values, faults = parse(FILE, text)
    assert not faults
    return read_lock(FILE, values)


@pytest.mark.parametrize(
    ("old", "new", "key", "found", "allowed"),
    [case[1:] for case in CASES["faults"]],
    ids=[c[0] for c in CASES["faults"]],
)
def test_a_fault(old: str, new: str, key: str, found: str, allowed: str) -> None:
    assert old in VALID
    with pytest.raises(ConfigurationError) as caught:
        read(VALID.replace(old, new, 1))
    told = {(fault.file, fault.key, fault.found): fault.allowed for fault in caught.value.faults}
    assert (FILE, key, found) in told
    assert allowed in told[FILE, key, found]


def test_what_is_written_is_read_as_the_same() -> None:
    number = Package(name="aa", version="12e45", architecture="all", file="aa_12e45_all.deb", size=7, sha256="0" * 64)
    lock = PackageLock(wanted=("no", "on"), packages=(number, *read(VALID).packages))
    assert read(dump(as_values(lock))) == lock


@pytest.mark.parametrize(
    ("packages", "lock", "found"),
    [
        (("cron",), None, "no such file"),
        (("cron", "at"), PackageLock(wanted=("cron",)), "for cron, while service.yaml names cron, at"),
        ((), PackageLock(wanted=("cron",)), "for cron, while service.yaml names none"),
        (("cron", "at"), PackageLock(wanted=("at", "cron")), ""),
        ((), None, ""),
    ],
)
def test_a_lock_fits_its_service_or_the_command_is_told(
    packages: tuple[str, ...], lock: PackageLock | None, found: str
) -> None:
    fault = lock_fault(Service(name="web", packages=packages), lock)
    assert (fault.found if fault else "") == found
    assert fault is None or "`./run understudy packages web`" in fault.allowed
