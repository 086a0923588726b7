"""Parsers over what real and odd machines print: a table."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioners.facts import memory
from tests.adopt.simulated import smbios
from tests.reading import cases

CASES = cases("facts.yaml")
PARSERS = sorted({case["fact"] for case in CASES})


def parser(name: str) -> Callable[[str], Any]:
    module, function = name.split(".")
    found: Callable[[str], Any] = getattr(importlib.import_module(f"provisioners.facts.{module}"), function)
    return found


def plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, IPv4Address | IPv4Interface | IPv6Address | IPv6Interface) else value


@pytest.mark.parametrize("case", CASES, ids=[f"{case['fact']}: {case['from']}" for case in CASES])
def test_what_is_made_of_an_output(case: dict[str, Any]) -> None:
    parse = parser(case["fact"])
    if case.get("refused"):
        with pytest.raises((ValueError, KeyError)):
            parse(case["output"])
    else:
        assert plain(parse(case["output"])) == case["is"]


@pytest.mark.parametrize("name", PARSERS)
@given(st.text(max_size=200) | st.text(alphabet='{}[]":,=. \n\t\\/0123456789abLISTEN', max_size=200))
def test_no_output_breaks_a_parser(name: str, output: str) -> None:
    with suppress(ValueError, KeyError, IndexError, TypeError):  # what `ask` takes for "could not be understood"
        parser(name)(output)


@pytest.mark.parametrize(
    ("sizes", "total"), [((1024,), 1024), ((8192, 0, 8192, 0), 16384), ((32768, 65536), 98304), ((512, 256), 768)]
)
def test_installed_memory_is_the_sum_of_the_modules(sizes: tuple[int, ...], total: int) -> None:
    assert memory.parse_installed(smbios(*sizes)) == total


@pytest.mark.parametrize("length", range(0, 60, 4))
def test_a_table_that_was_cut_short_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=r"SMBIOS|memory device"):
        memory.parse_installed(smbios(1024)[:length])
