"""Why a machine is where it is, why it is nowhere else, and what would change that, in words; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from model.packing import (
    CENT,
    RESOURCES,
    Answer,
    Cloud,
    Need,
    OwnHost,
    Problem,
    rent,
    rent_cents,
    spent_cents,
    taken,
    weight,
)

_UNITS = ("", " MiB", " MiB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a machine cannot be at a place.

    Args:
        why: the reason, with the shortfall in figures.
        fix: what would take it away; empty where nothing can.
        share: how large the shortfall is, as a share of what is needed: the smallest is the easiest to mend.
    """

    why: str
    fix: str
    share: float = 1.0


def obstacles(problem: Problem, places: Mapping[str, str], need: Need, place: OwnHost | Cloud) -> tuple[Obstacle, ...]:
    """Return everything that keeps a machine from a place, with all others where they are."""
    others = {name: where for name, where in places.items() if name != need.name}
    found = (
        _in_cloud(problem, others, need, place) if isinstance(place, Cloud) else _on_host(problem, others, need, place)
    )
    return tuple(found)


def _on_host(problem: Problem, others: Mapping[str, str], need: Need, host: OwnHost) -> Iterable[Obstacle]:
    if need.architecture != host.architecture:
        yield Obstacle(why=f"its processors are {host.architecture}, the machine's {need.architecture}", fix="")
    if need.vcpus > host.cores:
        fix = f"give it at most {host.cores} processors"
        yield Obstacle(why=f"{need.vcpus} processors, and it has {host.cores} cores", fix=fix if host.cores else "")
    used = taken(problem, others, host.name)
    for what, wanted, limit, spent, unit in zip(RESOURCES, need.amounts, host.amounts, used, _UNITS, strict=True):
        if (short := wanted + spent - limit) > 0:
            why = f"{what}: {wanted}{unit} needed, {max(0, limit - spent)}{unit} left, {short}{unit} short"
            more = ", or raise its vcpus_per_core" if what == "processors" else ""
            yield Obstacle(why=why, fix=f"free {short}{unit} of {what} there{more}", share=short / wanted)
    for other in _beside(problem, others, need.name, host.name):
        yield Obstacle(why=f"{other} is there, its {_role(problem, need.name, other)}", fix="one host more")


def _in_cloud(problem: Problem, others: Mapping[str, str], need: Need, cloud: Cloud) -> Iterable[Obstacle]:
    rented = rent(need, cloud)
    if rented is None:
        size = f"{need.vcpus} processors and {need.memory_mib} MiB of {need.architecture}"
        yield Obstacle(why=f"no known price of anything with {size}", fix="")
        return
    cents, left = rent_cents(need, rented), cloud.budget_cents - spent_cents(problem, others, cloud)
    if cents > left:
        short = (cents - left) / CENT
        why = f"{rented.name} costs {cents / CENT:.2f} a month, {left / CENT:.2f} of its budget are left"
        yield Obstacle(why=why, fix=f"raise its budget_per_month by {short:.2f}", share=(cents - left) / cents)


def _beside(problem: Problem, places: Mapping[str, str], name: str, host: str) -> Iterable[str]:
    for pair in () if problem.has_one_host else problem.apart:
        if name in pair:
            other = pair[1] if pair[0] == name else pair[0]
            if places.get(other) == host:
                yield other


def _role(problem: Problem, name: str, other: str) -> str:
    return "primary" if (other, name) in problem.apart else "replica"


def why_there(problem: Problem, answer: Answer, name: str) -> str:
    """Return why a machine is where it is, in one line."""
    place, need = answer.places[name], problem.need(name)
    cloud = next((cloud for cloud in problem.clouds if cloud.name == place), None)
    if cloud is not None and (rented := rent(need, cloud)) is not None:
        return f"{rented.name} for {rent_cents(need, rented) / CENT:.2f} a month: no host of your own has room for it"
    if problem.before.get(name) == place:
        return "it was there before"
    elsewhere = [each for each in problem.places if each.name != place]
    if not elsewhere:
        beside = [other for pair in problem.apart if name in pair for other in pair if other != name]
        there = [f"{other}, its {_role(problem, name, other)}" for other in beside if answer.places.get(other) == place]
        return f"there is one host only{f', so it is beside {there[0]}' if there else ''}"
    if all(obstacles(problem, answer.places, need, each) for each in elsewhere):
        return "nowhere else can it be"
    return "of the hosts that could have it, this is the best"


def why_not_there(problem: Problem, answer: Answer, name: str) -> Iterable[tuple[str, str]]:
    """Return each place where a machine is not, and why it is not there."""
    need = problem.need(name)
    for place in problem.places:
        if place.name == answer.places.get(name):
            continue
        found = obstacles(problem, answer.places, need, place)
        if found:
            fixes = [each.fix for each in found if each.fix]
            mend = f" ({'; '.join(fixes)})" if name not in answer.places and len(fixes) == len(found) else ""
            yield place.name, "; ".join(each.why for each in found) + mend
        else:
            yield place.name, _what_it_would_cost(problem, answer, name, place)


def _what_it_would_cost(problem: Problem, answer: Answer, name: str, place: OwnHost | Cloud) -> str:
    moved = Answer(places={**answer.places, name: place.name}, stranded=answer.stranded)
    if isinstance(place, Cloud):
        return "it would cost money"
    if problem.before.get(name) == answer.places.get(name):
        return "it would have to move"
    if place.emulated and not _emulated(problem, answer.places[name]):
        return "it has no hardware virtualisation that works"
    if weight(problem, moved) > weight(problem, answer):
        return "one host more would be used, or fewer machines would survive another's death"
    return "it would do as well"


def _emulated(problem: Problem, name: str) -> bool:
    return any(host.emulated for host in problem.hosts if host.name == name)


def easiest_fix(problem: Problem, places: Mapping[str, str], name: str) -> str:
    """Return what would let a machine in with the least ado; empty where no place could ever have it."""
    ways = []
    for place in problem.places:
        found = obstacles(problem, places, problem.need(name), place)
        if found and all(each.fix for each in found):
            ways.append(
                (sum(each.share for each in found), f"{place.name}: {' and '.join(each.fix for each in found)}")
            )
    return min(ways)[1] if ways else ""


def explained(problem: Problem, answer: Answer) -> Iterable[str]:
    """Return, for each machine, where it is and why, and for each place where it is not, why not."""
    for need in problem.needs:
        name = need.name
        if name in answer.places:
            yield f"{name}: on {answer.places[name]}: {why_there(problem, answer, name)}"
        else:
            yield f"{name}: nowhere"
        for place, why in why_not_there(problem, answer, name):
            yield f"  not on {place}: {why}"
        if name not in answer.places:
            fix = easiest_fix(problem, answer.places, name)
            yield f"  to fix it: {fix or 'give it less, or list a host that is large enough'}"


def survivors(problem: Problem, answer: Answer) -> Iterable[str]:
    """Return what happens when any one host dies."""
    used = [host.name for host in problem.hosts if host.name in answer.places.values()]
    if len(used) == 1 and len(problem.places) == 1:
        yield f"if {used[0]} died, all would be gone: there is no other host"
        return
    lost = {host: names for host, names in answer.stranded.items() if names}
    for host, names in lost.items():
        yield f"if {host} died, the others would have no room for {', '.join(names)}"
    if used and not lost:
        yield "when any one host dies, the others can take its load"


def summary(problem: Problem, answer: Answer) -> Iterable[str]:
    """Return how good the answer is: what it costs, and how far a better one could be."""
    for cloud in problem.clouds:
        if spent := spent_cents(problem, answer.places, cloud):
            yield f"{cloud.name}: about {spent / CENT:.2f} a month of {cloud.budget_per_month:.2f}"
    moved = [name for name, host in problem.before.items() if answer.places.get(name, host) != host]
    if moved:
        yield f"moved: {', '.join(moved)}"
    if answer.bound is not None:
        found = weight(problem, answer)
        gap = (found - answer.bound) / found if found else 0.0
        proof = "proven: no placement is better" if gap <= 0 else f"proven to be within {gap:.1%} of the best"
        hosts = len(set(answer.places.values()))
        yield f"{len(answer.places)} machines on {hosts} hosts, found in {answer.seconds:.2f} s; {proof}"
