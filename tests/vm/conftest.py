"""What tests with machines share: the sample company, and libvirt's daemon.

Of the company `test_prod.py` builds prod and, beside it, the stage, with which `test_stage.py` goes on.
"""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from bench.site import Site

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("company"))
    yield site
    site.end(site.stage, site.prod)


@pytest.fixture(scope="session")
def first(company: Site) -> str:
    """Make the stage, whether its prod runs or was never built; return what `up` printed."""
    return company.pulumi("up", company.stage)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Who restarts libvirt's daemon does it while no other test makes machines; of those, two run at a time."""
    if item.path.parent != HERE:  # pytest asks here for each test of the run
        return (yield)
    alone = item.path.name == "test_daemon.py"
    with _locked("turn", fcntl.LOCK_EX) as turn, _locked("libvirtd", fcntl.LOCK_EX if alone else fcntl.LOCK_SH):
        fcntl.flock(turn, fcntl.LOCK_UN)  # while it waited for the daemon, nobody else could begin
        return (yield)


@contextmanager
def _locked(name: str, how: int) -> Iterator[IO[str]]:
    with (Path(tempfile.gettempdir()) / f"understudy-tests-{name}.lock").open("w") as lock:
        fcntl.flock(lock, how)
        yield lock
