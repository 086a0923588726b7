"""How the tests share the computer's cores: a file's tests stay together, and machines are one group of their own."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Gives whole files to workers, and all files with real machines to one worker.

    xdist's own ``loadgroup`` puts the group's name into the test's id, which pytest 9.2 no longer lets it change.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "tests/vm" if path.startswith("tests/vm/") else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """Return the scheduler; xdist asks for it where tests run side by side."""
    return ByFile(config, log)
