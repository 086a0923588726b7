"""The file that lists where machines may run is read whole, and whatever is wrong with it is told at once."""

from __future__ import annotations

from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.strict_yaml import parse
from model.capacity import HERE, CapacityHost, Headroom, Hours
from model.capacity_reader import FILE, read_capacity
from model.errors import ConfigurationError
from model.topology import Access
from tests.reading import cases

CASES = Path(__file__).parents[1] / "cases"
VALID = (CASES / "valid.capacity.yaml").read_text(encoding="utf-8")
TABLE = cases("capacity.yaml")
NIGHT = Hours(begin=time(22), until=time(6), time_zone="Europe/Berlin")


def test_every_key_arrives() -> None:
    here, desk, rack, rented = read_capacity(*parse(FILE, VALID))
    assert here == CapacityHost(name=HERE, headroom=Headroom(cores=1, memory_mib=4096))
    assert desk.access == Access(
        host="desk.office.example", port=2222, user="admin", sudo=True, jump="gate.office.example"
    )
    assert desk.headroom == Headroom(cores=2, memory_mib=4096, disk_mib=102_400)
    assert (desk.known_hosts, desk.hours) == ("keys/desk", NIGHT)
    assert rack.access == Access(host="rack.office.example")
    assert (rented.kind, rented.region, rented.budget_per_month) == ("aws", "eu-central-1", 200.0)
    assert (rented.stacks, rented.is_cloud, rack.is_cloud, rented.access) == (("dr",), True, False, None)


@pytest.mark.parametrize("case", TABLE, ids=[case["name"] for case in TABLE])
def test_wrong_files(case: dict[str, Any]) -> None:
    assert VALID.count(case["replace"]) == 1
    with pytest.raises(ConfigurationError) as raised:
        read_capacity(*parse(FILE, VALID.replace(case["replace"], case["by"])))
    told = sorted((fault.key, fault.found) for fault in raised.value.faults)
    assert told == sorted((key, found) for key, found, _ in case["faults"])
    for fault in raised.value.faults:
        (part,) = [part for key, _, part in case["faults"] if key == fault.key]
        assert part in fault.allowed
        assert fault.file == FILE


ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["hosts", "here", "desk", "kind", "host", "only_at_night", "from", "headroom", "aws"])
            | st.integers(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(ANY)
def test_no_value_breaks_the_reader(values: Any) -> None:
    try:
        assert read_capacity(values)
    except ConfigurationError as error:
        assert error.faults  # noqa: PT017


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        (datetime(2026, 11, 25, 20, 59, tzinfo=UTC), False),
        (datetime(2026, 11, 25, 21, 0, tzinfo=UTC), True),
        (datetime(2026, 11, 26, 4, 59, tzinfo=UTC), True),
        (datetime(2026, 11, 26, 5, 0, tzinfo=UTC), False),
        (datetime(2026, 7, 25, 20, 0, tzinfo=UTC), True),  # summer: an hour earlier
        (datetime(2026, 7, 26, 4, 0, tzinfo=UTC), False),
    ],
)
def test_the_night_is_that_of_the_hosts_place(moment: datetime, inside: bool) -> None:
    assert NIGHT.include(moment) == inside


def test_hours_within_one_day() -> None:
    day = Hours(begin=time(9), until=time(17), time_zone="UTC")
    inside = [day.include(datetime(2026, 1, 1, hour, tzinfo=UTC)) for hour in (8, 9, 16, 17)]
    assert inside == [False, True, True, False]
    assert str(day) == "09:00 to 17:00 (UTC)"
