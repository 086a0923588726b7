"""How the tests share the computer's cores, and which of them are left out where an answer is wanted soon.

A file's tests stay together, and machines are one group of their own.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

settings.register_profile("no deadline", deadline=None)  # computers are noisy, and no test asserts a time
settings.load_profile("no deadline")

LONG = (
    "tests/bench/test_hundred.py",
    *("tests/changes/test_acts.py", "tests/changes/test_crashes.py", "tests/changes/test_document.py"),
    *("tests/changes/test_faults.py", "tests/changes/test_packages.py", "tests/changes/test_plan.py"),
    *("tests/changes/test_postgresql.py", "tests/placement/test_solver.py", "tests/run/test_toolchain.py"),
    *("tests/changes/test_service_files.py", "tests/changes/test_service_kind.py", "tests/changes/test_tool.py"),
    *("tests/clouds/", "tests/cli/test_evidence.py", "tests/cli/test_rehearsal_play.py", "tests/cli/test_rollout.py"),
    *("tests/damage/", "tests/facts/test_real_databases.py", "tests/probe/", "tests/provider/test_engine.py"),
    *("tests/provider/test_gate.py", "tests/provider/test_import.py", "tests/report/test_engine.py"),
    *("tests/run/test_existing.py", "tests/run/test_real_pulumi.py", "tests/stores/"),
)
"""No machine is booted here, but real servers and engines are walked through everything that can go wrong, for minutes:
``-m "not vm"``, which answers in less than two, leaves them out as well."""


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


@pytest.hookimpl(tryfirst=True)  # before those that a mark deselects are taken out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long."""
    for item in items:
        if item.nodeid.startswith(LONG):
            item.add_marker(pytest.mark.vm)
