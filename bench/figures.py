"""What is measured, one function a figure."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.bare import Size, seconds_to_ssh
from bench.room import room
from bench.site import Site
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


def _up(site: Site) -> float:
    """Return how long `up` takes from nothing; then destroy what it made. The template is there before."""
    began = time.monotonic()
    site.pulumi("up", site.stage)
    taken = time.monotonic() - began
    site.pulumi("destroy", site.stage)
    return taken


def boots(say: Say, runs: int = 3) -> tuple[Figure, ...]:
    """Measure `up` of one machine and of five, woken and cold, against bare boots; medians of alternating runs."""
    image = build.ensure(say)
    figures: list[Figure] = []
    with room(say) as directory:
        for title, sizes in (("one machine", (ONE,)), ("five machines with nothing on them", FIVE)):
            taken: dict[str, list[float]] = {"bare": [], "warm": [], "cold": [], "bare one": []}
            sites = {way: _site(directory / f"{len(sizes)}{way}", sizes, way == "warm") for way in ("warm", "cold")}
            for turn in range(runs):
                say(f"{title}: turn {turn + 1} of {runs}")
                if len(sizes) > 1:
                    taken["bare one"].append(seconds_to_ssh(image, (ONE,), directory))
                taken["bare"].append(seconds_to_ssh(image, sizes, directory))
                for way, site in sites.items():
                    taken[way].append(_up(site))
            figures += _boot_figures(title, {way: statistics.median(each) for way, each in taken.items() if each})
    return tuple(figures)


def _site(directory: Path, sizes: tuple[Size, ...], warm: bool) -> Site:
    directory.mkdir()
    site = Site(directory)
    _only_machines(site, {f"m{number}": size for number, size in enumerate(sizes)}, warm=warm)
    site.run("understudy", "place", "-s", site.stage)
    if warm:
        _up(site)
    return site


def _boot_figures(title: str, seconds: dict[str, float]) -> list[Figure]:
    single = "bare one" not in seconds
    bare = "bare qemu" if single else "five by bare qemu"
    warm_goal, cold_goal = (0.5, 1.4) if single else (1.2, 1.3)
    reference = ("bare qemu", seconds["bare"]) if single else ("one by bare qemu", seconds["bare one"])
    return [
        Figure(
            name=f"{title}, woken: whole `up`",
            ours=seconds["warm"],
            against=reference[0],
            by_hand=reference[1],
            goal=warm_goal,
        ),
        Figure(
            name=f"{title}, cold: whole `up`",
            ours=seconds["cold"],
            against=bare,
            by_hand=seconds["bare"],
            goal=cold_goal,
        ),
    ]
