"""A long step is never a silent one: what was said last is said again, on a real job on a machine."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from provisioners.jobs import end_job, run_job
from provisioners.shell import Shell
from provisioners.stores.story import Story
from provisioners.ticker import ticking
from tests.doubles.pulumi import wait_until

SILENT = r"""
mkdir -p /srv
printf '@phase\tpages\t1\n'
until [ -e /srv/go ]; do sleep 0.05; done
printf '@doing\tevery table and index is readable\n'
until [ -e /srv/go-on ]; do sleep 0.05; done
printf '@done\n'
"""


def test_a_phase_of_a_job_that_prints_nothing_is_told_until_it_ends(shell: Shell) -> None:
    shell.run(("rm", "-f", "/srv/go", "/srv/go-on"))
    shown: list[str] = []
    with ThreadPoolExecutor(1) as beside, ticking(shown.append, 0.02) as say:
        story = Story(say=say)
        job = beside.submit(run_job, shell, "silent", "k", ("bash", "-c", SILENT), on_line=story.heard)
        pages, tables = (
            rf"{words}( \(\d+ s\))?" for words in ("reading every page", "checking: every table and index is readable")
        )
        wait_until(lambda: sum(bool(re.fullmatch(pages, line)) for line in shown) > 3)
        shell.run(("touch", "/srv/go"))
        wait_until(lambda: sum(bool(re.fullmatch(tables, line)) for line in shown) > 3)
        shell.run(("touch", "/srv/go-on"))
        job.result(30)
    assert story.done
    told = [line for line in shown if not line.startswith("at work")]
    assert told[0] == "reading every page"
    first = told.index("checking: every table and index is readable")
    assert all(re.fullmatch(pages, line) for line in told[:first])
    assert all(re.fullmatch(tables, line) for line in told[first:])
    end_job(shell, "silent")


def test_a_line_said_twice_is_shown_once_and_nothing_after_the_end() -> None:
    shown: list[str] = []
    with ticking(shown.append, 60) as say:
        for line in ("restoring 1 %", "restoring 1 %", "restoring 2 %"):
            say(line)
    assert shown == ["restoring 1 %", "restoring 2 %"]


def test_it_ends_when_the_work_fails() -> None:
    shown: list[str] = []

    def fail() -> None:
        with ticking(shown.append, 0.01):
            wait_until(lambda: bool(shown))
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert not [thread for thread in threading.enumerate() if thread.name == "ticker"]
