"""How the tests share the computer's cores: a file's tests stay together, and machines are one group of their own."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name each test's group: real machines, one after the other; all others by their file."""
    for item in items:
        group = "vm" if item.get_closest_marker("vm") else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
