"""Which disks and how much memory a mirror of a machine needs: tables."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.adoption.sizes import rounded_memory, sizes
from model.adoption.tree import size_text
from model.facts import Block, Database, HostFacts, Server
from model.topology import Access
from model.units import mib
from tests.reading import cases

CASES = cases("disks.yaml")
GIB = 1024**3


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_disks(case: dict[str, Any]) -> None:
    stored = (Database(name="shop", owner="shop", size_bytes=3 * GIB + 1),)
    facts = HostFacts(
        access=Access(host="a"),
        blocks=tuple(
            Block(name=name, kind=kind, size_bytes=size * GIB, mount=mount, parents=tuple(parents))
            for name, kind, size, mount, parents in case["blocks"]
        ),
        servers=tuple(
            Server(engine="postgresql", port=5432, mount=mount, databases=stored) for mount in case.get("data", ())
        ),
    )
    found = sizes(facts)
    assert {"system": found.system_disk_mib, "data": found.data_disk_mib} == {
        key: value * 1024 for key, value in case["is"].items()
    }
    assert case.get("said", "") in " ".join(found.notes)


# What Linux says it manages of what is installed; measured or published for machines of these sizes.
@pytest.mark.parametrize(
    ("managed", "installed"),
    [(221, 256), (460, 512), (974, 1024), (1975, 2048), (3916, 4096), (7937, 8192), (15993, 16384), (24105, 24576)],
)
def test_rounding_finds_what_is_installed(managed: int, installed: int) -> None:
    assert rounded_memory(managed) == installed


@given(st.integers(1, 1 << 24))
def test_rounding_never_goes_down_nor_far_up(managed: int) -> None:
    assert managed <= rounded_memory(managed) <= max(managed * 1.26, managed + 128)


@given(st.integers(1, 1 << 24))
def test_a_size_is_written_as_it_is_read(size: int) -> None:
    assert mib(size_text(size)) == size
