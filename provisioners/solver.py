"""Finds the best placement, with OR-Tools' CP-SAT; the only place that imports it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ortools.sat.python import cp_model

from model.packing import (
    Answer,
    Cloud,
    Need,
    OwnHost,
    Problem,
    broken_rules,
    fewest_hosts,
    first_fit,
    fits_alone,
    rent,
    rent_cents,
    weight,
    weights,
    without,
)

SECONDS = 1.5
"""How long the best placement is looked for; what was found by then is taken, with the gap that is left."""
_SMALL = 3000
"""Up to so many ways of surviving, all of them are part of the question from the start."""
_ROUNDS = 3
_CHECK_SECONDS = 0.2
_FEW = 400
"""Up to so many yes or no, one worker is quickest; more than there are cores find and prove a large one sooner."""
_WORKERS = 8


def solve(problem: Problem, seconds: float = SECONDS) -> Answer:
    """Return the best placement that is found in time, with a bound on how much better another could be.

    Which machines would find no place when a host dies is part of the question for all hosts of a small one; of a
    large one it is looked at afterwards, and becomes part of the question for the hosts where it went wrong.

    Raises:
        AssertionError: the answer breaks a rule; it is checked by other code than found it.
    """
    began = time.monotonic()
    ways = len(problem.needs) * len(problem.hosts) * len(problem.places)
    watched = {host.name for host in problem.hosts} if ways <= _SMALL else set()
    best, bound = _answer(problem, first_fit(problem)), 0
    for number in range(_ROUNDS):
        left = seconds - (time.monotonic() - began)
        if number and left < seconds / 4:
            break
        places, proven = _Model(problem, watched, best).solve(max(left, 0.1))
        bound, answer = max(bound, proven), _answer(problem, places)
        if weight(problem, answer) < weight(problem, best):
            best = answer
        new = {host for host, names in answer.stranded.items() if names} - watched
        if not new or _hopeless(problem):
            break
        watched |= new
    broken = broken_rules(problem, best.places)
    assert not broken, broken
    return replace(best, bound=bound, seconds=time.monotonic() - began)


def _hopeless(problem: Problem) -> bool:
    """Tell whether nothing but the host that died is there: then no placement strands fewer machines."""
    return len(problem.places) < 2


def stranded(problem: Problem, places: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return, for each own host with machines, those that would find no place on the others if it died."""
    found = {}
    for host in problem.hosts:
        rest = without(problem, places, host.name)
        if rest.needs:
            found[host.name] = _left_out(rest)
    return found


def _answer(problem: Problem, places: Mapping[str, str]) -> Answer:
    return Answer(places=places, stranded=stranded(problem, places))


def _left_out(rest: Problem) -> tuple[str, ...]:
    places = first_fit(rest)
    if len(places) < len(rest.needs) and rest.places:
        places, _ = _Model(rest, set(), Answer(places=places, stranded={})).solve(_CHECK_SECONDS)
    return tuple(need.name for need in rest.needs if need.name not in places)


class _Model:
    """A problem in CP-SAT's terms: one yes or no for each machine and each place that could have it."""

    def __init__(self, problem: Problem, watched: Iterable[str], known: Answer) -> None:
        """Ask only for what could be better than the answer that is known.

        Where that one leaves out nothing, no better one does; where it also costs nothing, no better one does either;
        and so on, in the order of the rules.
        """
        places = known.places
        emulated = {host.name for host in problem.hosts if host.emulated}
        self._whole = len(places) == len(problem.needs)
        self._free = self._whole and not {cloud.name for cloud in problem.clouds} & set(places.values())
        safe = self._free and not any(known.stranded.values())
        still = safe and all(places[name] == host for name, host in problem.before.items())
        self._pairs = () if problem.has_one_host else problem.apart
        problem = replace(problem, clouds=()) if self._free and not watched else problem
        self._problem, self._model, self._hint = problem, cp_model.CpModel(), places
        self._stays = problem.before if still else {}
        self._unused = emulated if still and not emulated & set(places.values()) else frozenset[str]()
        self._on: dict[tuple[str, str], cp_model.IntVar] = {}
        self._cents: dict[tuple[str, str], int] = {}
        self._used: dict[str, cp_model.IntVar] = {}
        for need in problem.needs:
            for place in self._possible(need):
                self._on[need.name, place] = self._model.new_bool_var(f"{need.name}@{place}")
        self._once()
        self._rooms()
        self._apart()
        terms = [*self._costs(), *(term for host in watched for term in self._survive(host))]
        self._model.minimize(cp_model.LinearExpr.sum(terms))

    def solve(self, seconds: float) -> tuple[dict[str, str], int]:
        """Return the best places that were found, and the bound that was proven."""
        for (name, place), variable in self._on.items():
            self._model.add_hint(variable, self._hint.get(name) == place)
        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = seconds
        solver.parameters.num_workers = 1 if len(self._on) <= _FEW else _WORKERS
        solver.parameters.random_seed = 1
        status = solver.solve(self._model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return dict(self._hint), 0  # no time for more than the quick answer, which keeps the rules
        places = {name: place for (name, place), variable in self._on.items() if solver.value(variable)}
        return places, max(0, round(solver.best_objective_bound))

    def _possible(self, need: Need) -> Iterable[str]:
        yield from (host.name for host in self._problem.hosts if fits_alone(need, host))
        for cloud in self._problem.clouds:
            rented = rent(need, cloud)
            if rented is not None and (cents := rent_cents(need, rented)) <= cloud.budget_cents:
                self._cents[need.name, cloud.name] = cents
                yield cloud.name

    def _once(self) -> None:
        self._placed: dict[str, cp_model.LinearExpr] = {}
        for need in self._problem.needs:
            here = [variable for (name, _), variable in self._on.items() if name == need.name]
            self._placed[need.name] = _total((variable, 1) for variable in here)
            if self._whole:
                self._model.add_exactly_one(here)
            else:
                self._model.add_at_most_one(here)

    def _rooms(self) -> None:
        for host in self._problem.hosts:
            self._used[host.name] = self._model.new_bool_var(f"{host.name} used")
            for taken, limit in zip(self._taken(host), host.amounts, strict=True):
                self._model.add(taken <= limit * self._used[host.name])
        for cloud in self._problem.clouds:
            self._used[cloud.name] = self._model.new_bool_var(f"{cloud.name} used")
            self._model.add(self._spent(cloud) <= cloud.budget_cents)
        for (_, place), variable in self._on.items():
            self._model.add_implication(variable, self._used[place])
        for name, place in self._stays.items():
            self._model.add(self._on[name, place] == 1)
        if self._free:
            for place in {*self._unused, *(cloud.name for cloud in self._problem.clouds)}:
                self._model.add(self._used[place] == 0)
            hosts = tuple(host for host in self._problem.hosts if host.name not in self._unused)
            least = fewest_hosts(replace(self._problem, hosts=hosts))
            self._model.add(_total((used, 1) for used in self._used.values()) >= least)

    def _taken(self, host: OwnHost) -> tuple[cp_model.LinearExpr, ...]:
        needs = [need for need in self._problem.needs if (need.name, host.name) in self._on]
        return tuple(
            _total((self._on[need.name, host.name], need.amounts[which]) for need in needs) for which in range(3)
        )

    def _spent(self, cloud: Cloud) -> cp_model.LinearExpr:
        return _total((self._on[key], cents) for key, cents in self._cents.items() if key[1] == cloud.name)

    def _apart(self) -> None:
        for primary, replica in self._pairs:
            for host in self._problem.hosts:
                both = [self._on[name, host.name] for name in (primary, replica) if (name, host.name) in self._on]
                if len(both) > 1:
                    self._model.add_at_most_one(both)

    def _costs(self) -> Iterable[cp_model.LinearExpr]:
        problem, scale = self._problem, weights(self._problem)
        yield from (scale.left_out * (1 - placed) for placed in self._placed.values())
        yield from (scale.cent * self._spent(cloud) for cloud in problem.clouds)
        for name, host in problem.before.items():
            stays = self._on.get((name, host))
            yield scale.moved * (1 - (stays if stays is not None else _total(())))
        emulated = {host.name for host in problem.hosts if host.emulated}
        yield from (scale.emulated * variable for (_, place), variable in self._on.items() if place in emulated)
        yield from (scale.host * used for used in self._used.values())

    def _survive(self, dead: str) -> Iterable[cp_model.LinearExpr]:
        """Let each machine of a host that dies find a place elsewhere, or be stranded."""
        problem, scale = self._problem, weights(self._problem).stranded
        again: dict[tuple[str, str], cp_model.IntVar] = {}
        for need in problem.needs:
            if (need.name, dead) not in self._on:
                continue
            elsewhere = [place for name, place in self._on if name == need.name and place != dead]
            for place in elsewhere:
                again[need.name, place] = self._model.new_bool_var(f"{need.name}@{place} after {dead}")
            lost = self._model.new_bool_var(f"{need.name} lost with {dead}")
            found = _total((again[need.name, place], 1) for place in elsewhere)
            self._model.add(found + lost >= self._on[need.name, dead])
            yield scale * lost
        for host in problem.hosts:
            if host.name != dead:
                more = [(problem.need(name), found) for (name, place), found in again.items() if place == host.name]
                for which, used in enumerate(self._taken(host)):
                    after = _total((variable, need.amounts[which]) for need, variable in more)
                    self._model.add(used + after <= host.amounts[which])
        for cloud in problem.clouds:
            after = _total((variable, self._cents[key]) for key, variable in again.items() if key[1] == cloud.name)
            self._model.add(self._spent(cloud) + after <= cloud.budget_cents)


def _total(terms: Iterable[tuple[cp_model.IntVar, int]]) -> cp_model.LinearExpr:
    pairs = list(terms)
    return cp_model.LinearExpr.weighted_sum([variable for variable, _ in pairs], [factor for _, factor in pairs])
