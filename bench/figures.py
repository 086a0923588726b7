"""What is measured, one function a figure."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.bare import Size, seconds_to_ssh
from bench.room import room
from bench.site import Site
from bench.woken import seconds_to_wake
from images import build

Say = Callable[[str], None]
ONE = Size(vcpus=2, memory_mib=1024)
FIVE = (*[Size(vcpus=1, memory_mib=512)] * 3, *[Size(vcpus=2, memory_mib=1024)] * 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table.

    Args:
        ours: seconds that Understudy took.
        by_hand: seconds of what it is compared with, in the same run; None where there is nothing to compare with.
        goal: what the ratio should be at most; None where there is none.
        goal_beyond: how many seconds more it should be at most; None where that is no goal.
    """

    name: str
    ours: float
    against: str = ""
    by_hand: float | None = None
    goal: float | None = None
    goal_beyond: float | None = None

    @property
    def ratio(self) -> float | None:
        """Return ours to by hand."""
        return None if self.by_hand is None else self.ours / self.by_hand

    @property
    def beyond(self) -> float | None:
        """Return how many seconds ours took more."""
        return None if self.by_hand is None else self.ours - self.by_hand


def medians(runs: int, ways: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Return how many seconds each way takes; they are run in turn, so that a busy minute is nobody's alone."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            began = time.monotonic()
            way()
            taken[name].append(time.monotonic() - began)
    return {name: statistics.median(each) for name, each in taken.items()}


def _only_machines(site: Site, sizes: dict[str, Size], *, warm: bool) -> None:
    """Make a stack of machines with nothing on them."""
    machines: dict[str, Any] = {
        name: {"address": f"10.20.0.{number}", "vcpus": size.vcpus, "memory": f"{size.memory_mib}MiB"}
        for number, (name, size) in enumerate(sizes.items(), start=50)
    }
    site.configure(site.prod, machines=machines, services={}, stores={}, pages={})
    site.configure(site.stage, warm_start=warm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """How many seconds an `up` took.

    Args:
        answered: until all machines had run their first command over SSH.
        whole: until it ended.
        by_hand: until the same machines, woken again by hand, had; None where they were not.
    """

    answered: float
    whole: float
    by_hand: float | None


def _up(site: Site, *, by_hand: bool = False) -> Up:
    """Measure `up` from nothing, and a wake by hand where that is wanted; then destroy what it made.

    The template is there before.
    """
    answered, whole = timed_up(site)
    woken = seconds_to_wake(site) if by_hand else None
    site.pulumi("destroy", site.stage)
    return Up(answered=answered, whole=whole, by_hand=woken)


def timed_up(site: Site) -> tuple[float, float]:
    """Run `up`; return how many seconds it took until all machines had run their first command, and altogether."""
    began, times = time.monotonic(), list[tuple[float, str]]()
    process = site.start(
        "pulumi", "up", "-s", site.stage, "--non-interactive", "--color=never", "--yes", "--skip-preview"
    )
    assert process.stdout is not None
    for line in process.stdout:
        times.append((time.monotonic() - began, line))
    if process.wait():
        raise RuntimeError("".join(line for _, line in times))
    return last_created(times, "Boot"), time.monotonic() - began


def last_created(times: Sequence[tuple[float, str]], kind: str) -> float:
    """Return when the last of a kind was created; of a machine's `Boot` that is when it had run its first command.

    Args:
        times: the lines that `pulumi up` printed, with the seconds at which it did.
        kind: of our provider's.

    >>> last_created([(3.0, " +  understudy:index:Boot a creating (0s)"),
    ...     (4.5, " +  understudy:index:Boot a created (2s)"),
    ...     (5.0, " +  understudy:index:Checks checks created (0.1s)")], "Boot")
    4.5
    """
    return max(seconds for seconds, line in times if f":{kind} " in line and " created" in line)


def boots(say: Say, runs: int = 3) -> tuple[Figure, ...]:
    """Measure `up` of one machine and of five, woken and cold, against bare boots; medians of alternating runs."""
    image = build.ensure(say)
    figures: list[Figure] = []
    with room(say) as directory:
        for title, sizes in (("one machine", (ONE,)), ("five machines with nothing on them", FIVE)):
            bare: dict[int, list[float]] = {1: [], len(sizes): []}
            ups: dict[str, list[Up]] = {"woken": [], "cold": []}
            sites = {way: _site(directory / f"{len(sizes)}{way}", sizes, warm=way == "woken") for way in ups}
            for turn in range(runs):
                say(f"{title}: turn {turn + 1} of {runs}")
                for count, taken in bare.items():
                    taken.append(seconds_to_ssh(image, (ONE,) if count == 1 else sizes, directory))
                for way, site in sites.items():
                    ups[way].append(_up(site, by_hand=way == "woken"))
            figures += _boot_figures(title, {count: statistics.median(each) for count, each in bare.items()}, ups)
    return tuple(figures)


def _site(directory: Path, sizes: tuple[Size, ...], *, warm: bool) -> Site:
    directory.mkdir()
    site = Site(directory)
    _only_machines(site, {f"m{number}": size for number, size in enumerate(sizes)}, warm=warm)
    site.run("understudy", "place", "-s", site.stage)
    if warm:
        _up(site)
    return site


def _boot_figures(title: str, bare: Mapping[int, float], ups: Mapping[str, Sequence[Up]]) -> Iterator[Figure]:
    """Yield what was wanted, up to the first command over SSH, and what a person waits for, with the same reference."""
    count = max(bare)
    goals = {"woken": (1, 0.5 if count == 1 else 1.2), "cold": (count, 1.4 if count == 1 else 1.3)}
    for way, (reference, goal) in goals.items():
        against = "one by bare qemu" if reference == 1 else f"{reference} by bare qemu"
        by_hand = bare[reference]
        first = statistics.median(each.answered for each in ups[way])
        whole = statistics.median(each.whole for each in ups[way])
        what = "its first command" if count == 1 else "the last one's first command"
        name = f"{title}, {way}: from `up` to {what} over SSH"
        yield Figure(name=name, ours=first, against=against, by_hand=by_hand, goal=goal)
        yield Figure(name=f"{title}, {way}: whole `up`", ours=whole, against=against, by_hand=by_hand)
        if woken := [each.by_hand for each in ups[way] if each.by_hand is not None]:
            name = f"{title}, woken by hand with libvirt alone: to {what} over SSH"
            yield Figure(name=name, ours=statistics.median(woken), against=against, by_hand=by_hand)
