"""How long it takes to probe twenty hosts, and to place sixty machines on them."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Figure, Say
from model.capacity import CapacityHost
from model.packing import Problem, weight
from model.topology import Access
from provisioners.probe import Prober
from provisioners.shell import close_all
from tests.doubles.host import COMES_UP, Host
from tests.doubles.sshd import keypair
from tests.placement.problems import large_problem

_HOSTS = 20
_QUESTIONS = 5
_QUICKEST, _SLOWEST = 2.0, 6.0
"""Seconds that a tiny guest takes without hardware virtualisation on the quickest and the slowest of the hosts."""


def probing(say: Say, runs: int = 3) -> tuple[Figure, ...]:
    """Measure a probe of twenty hosts side by side against one of the slowest of them alone; medians.

    The hosts are SSH servers with files and processes of their own. What their libvirt and their tiny guests say, and
    how long a guest takes, is made up: twenty real guests would share this computer's cores, which no hosts do.
    """
    step = (_SLOWEST - _QUICKEST) / (_HOSTS - 1)
    private, public = keypair()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-bench-")))
        hosts = [
            stack.enter_context(_host(f"h{number}", _QUICKEST + number * step, public)) for number in range(_HOSTS)
        ]
        _let_in(home, private, hosts)
        stack.callback(_with_home(str(home)))
        stack.callback(close_all)
        described = [CapacityHost(name=each.name, access=Access(host="127.0.0.1", port=each.port)) for each in hosts]
        kernel = home / "kernel"
        kernel.write_text("a kernel")
        prober = Prober(directory=home, moment=datetime.now(UTC), kernel=lambda: kernel, say=lambda _: None, disk_mib=8)
        alone, together = [], []
        for turn in range(runs):
            say(f"probing {_HOSTS} hosts: turn {turn + 1} of {runs}")
            alone.append(_seconds(prober, described[-1:]))
            together.append(_seconds(prober, described))
    return (
        Figure(
            name=f"probing {_HOSTS} hosts side by side, the ways between them too",
            ours=statistics.median(together),
            against="the slowest of them alone",
            by_hand=statistics.median(alone),
            goal=1.3,
        ),
    )


def _host(name: str, seconds: float, public: str) -> Host:
    host = Host(name, tcg=COMES_UP.format(f"{seconds:.2f}"), kvm=COMES_UP.format(0.5), recording=False)
    host.public_key = public
    return host


def _let_in(home: Path, private: str, hosts: Sequence[Host]) -> None:
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh" / "id_ed25519").write_text(private)
    (home / ".ssh" / "id_ed25519").chmod(0o600)
    known = "".join(f"[127.0.0.1]:{each.port} {each.host_key}\n" for each in hosts)
    (home / ".ssh" / "known_hosts").write_text(known)


def _with_home(home: str) -> Callable[[], None]:
    """Let this process have another home, and return what gives it back."""
    before = os.environ["HOME"]
    os.environ["HOME"] = home
    return lambda: os.environ.update(HOME=before)


def _seconds(prober: Prober, hosts: Sequence[CapacityHost]) -> float:
    close_all()
    began = time.monotonic()
    found = prober.probe_all(hosts)
    taken = time.monotonic() - began
    out = [f"{each.host.name}: {each.why_not}" for each in found if not each.usable]
    if out:
        raise RuntimeError(f"could not be probed: {', '.join(out)}")
    return taken


def placing(say: Say) -> tuple[Figure, ...]:
    """Measure how long sixty machines on twenty hosts take, the slowest of several questions, with the proven gap."""
    from provisioners.solver import solve

    solve(large_problem(0, hosts=2, machines=4))  # what is loaded once is not counted again
    figures = []
    for title, change in (("", _as_it_is), (", one of them gone", _without_one)):
        taken, gaps = [], []
        for seed in range(1, _QUESTIONS + 1):
            problem = change(large_problem(seed))
            began = time.monotonic()
            answer = solve(problem)
            taken.append(time.monotonic() - began)
            found = weight(problem, answer)
            gaps.append((found - (answer.bound or 0)) / found)
            say(f"question {seed}{title}: {taken[-1]:.2f} s, gap {gaps[-1]:.1%}")
        proven = f"proven best {sum(gap <= 0 for gap in gaps)} times of {_QUESTIONS}, largest gap {max(gaps):.1%}"
        figures.append(
            Figure(
                name=f"placing 60 machines on 20 hosts{title}: {proven}",
                ours=max(taken),
                against="the limit",
                by_hand=2.0,
                goal=1.0,
            )
        )
    return tuple(figures)


def _as_it_is(problem: Problem) -> Problem:
    return problem


def _without_one(problem: Problem) -> Problem:
    """Place it all, then take the fullest host away: the others' machines want to stay where they are."""
    from provisioners.solver import solve

    places = solve(problem).places
    fullest = max(problem.hosts, key=lambda host: sum(place == host.name for place in places.values()))
    left = {name: place for name, place in places.items() if place != fullest.name}
    return replace(problem, hosts=tuple(host for host in problem.hosts if host != fullest), before=left)
