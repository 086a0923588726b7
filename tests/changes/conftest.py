"""One machine for the tests of a module, and what a service on it may be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provisioners.shell import Shell, close_all, connect
from tests.doubles.sshd import Machine


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A running machine."""
    with Machine() as running:
        yield running
    close_all()


@pytest.fixture
def shell(machine: Machine) -> Iterator[Shell]:
    """A shell on it."""
    with connect(machine.connection, machine.private_key, lambda _: None, 10) as opened:
        yield opened
