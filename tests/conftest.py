"""How the tests share the computer's cores, and which of them are left out where an answer is wanted soon.

A file's tests stay together. Those with machines begin first: they take longest.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from pathlib import Path
from threading import Thread
from zlib import crc32

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

settings.register_profile("no deadline", deadline=None)  # computers are noisy, and no test asserts a time
settings.load_profile("no deadline")

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
MACHINES = "tests/vm/"
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

UNDIVIDED = (
    *("tests/test_style.py", "tests/hypervisor/test_tunnel_rules.py", "tests/cli/test_host_lost.py"),
    *("tests/cli/test_preflight.py", "tests/run/test_stack.py", "tests/report/test_browser.py"),
    *("tests/components/test_environment.py", "tests/changes/test_mariadb.py", "tests/adopt/test_command.py"),
)
"""Of the files that are left, those that keep a worker longest."""

COMPANY = ("tests/vm/test_prod.py", "tests/vm/test_stage.py")
"""They share a stage."""
HARDEST = tuple(
    f"tests/vm/test_{name}.py"
    for name in (
        *("stage", "change_story", "three_computers", "document", "own_image", "other_host", "spread", "mirror"),
        *("tools", "warm_start", "killed"),
    )
)
"""The tests with machines that take longest, from the longest on."""
BUILDERS = 2
"""How many workers build machines at a time: a core each. The others do so when nothing else is left."""


def group(path: str) -> str:
    """Return the group to which a file of tests belongs.

    >>> group("tests/vm/test_prod.py"), group("tests/vm/test_tools.py"), group("tests/model/test_units.py")
    ('tests/vm/test_stage.py', 'tests/vm/test_tools.py', 'tests/model/test_units.py')
    """
    return COMPANY[-1] if path in COMPANY else path


def rank(path: str) -> int:
    """Return when a file's turn is: what takes long comes first, so that nobody waits for it in the end.

    >>> sorted(("model/units.py", "tests/stores/test_files.py", "tests/vm/test_prod.py"), key=rank)
    ['tests/vm/test_prod.py', 'tests/stores/test_files.py', 'model/units.py']
    """
    if (own := group(path)) in HARDEST:
        return HARDEST.index(own)
    if path.startswith(MACHINES):
        return len(HARDEST)
    return len(HARDEST) + (1 if path.startswith(LONG) else 2 if path in UNDIVIDED else 3)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Gives whole groups to workers; those with machines to few of them.

    xdist's own ``loadgroup`` puts the group's name into the test's id, which pytest 9.2 no longer lets it change.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid.partition("::")[0])

    def _assign_work_unit(self, node: object) -> None:
        if node not in self.nodes[:BUILDERS]:
            others = (scope for scope in self.workqueue if not scope.startswith(MACHINES))
            self.workqueue.move_to_end(next(others, next(iter(self.workqueue))), last=False)
        super()._assign_work_unit(node)


def soon(config: pytest.Config) -> bool:
    """Return whether an answer is wanted soon."""
    marked: str = config.option.markexpr
    return marked == "not vm"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many workers there are: one more than builds machines, or as many as wait for each other's sleep."""
    return 4 if soon(config) else BUILDERS + 1


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """Return the scheduler; xdist asks for it where tests run side by side."""
    return ByFile(config, log)


@pytest.hookimpl(trylast=True)  # Hypothesis wants to be left alone until its own has been called
def pytest_sessionstart() -> None:
    """Find out beside the workers what characters there are, which takes each a second where no file has it yet."""
    if not WORKER:
        Thread(target=st.text().validate, daemon=True).start()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where an answer is wanted soon, leave out files of which nothing would run: a worker imports what it collects."""
    path = f"{os.path.relpath(collection_path, config.rootpath)}/"
    return True if soon(config) and path.startswith((MACHINES, *LONG)) else None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let each worker go through the folders in another order: what one has compiled the others only read."""
    report = yield
    if isinstance(collector, pytest.Directory) and report.passed:
        report.result.sort(key=lambda each: crc32(f"{WORKER} {each.path}".encode()))
    return report


@pytest.hookimpl(tryfirst=True)  # before those that a mark deselects are taken out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long, and let it begin first."""
    for item in items:
        if item.nodeid.startswith(LONG):
            item.add_marker(pytest.mark.vm)
    paths = {item: item.nodeid.partition("::")[0] for item in items}
    items.sort(key=lambda item: (rank(paths[item]), paths[item]))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the collector of garbage what stays to the end: hundreds of modules and thousands of tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
