"""The solver's answers keep the rules, and none is worse than what trying everything finds."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.capacity import InstanceType
from model.packing import (
    Answer,
    Cloud,
    Need,
    OwnHost,
    Problem,
    broken_rules,
    first_fit,
    weight,
    without,
)
from provisioners.solver import solve, stranded
from tests.placement.problems import large_problem, random_problem

RANDOM = st.integers(0, 1 << 32).map(Random)


def need(name: str, memory_mib: int = 1000, **more: int) -> Need:
    return Need(name=name, vcpus=more.get("vcpus", 1), memory_mib=memory_mib, disk_mib=more.get("disk_mib", 1000))


def host(name: str, memory_mib: int = 4000, *, emulated: bool = False, cores: int = 4) -> OwnHost:
    return OwnHost(name=name, cores=cores, vcpus=4 * cores, memory_mib=memory_mib, disk_mib=50_000, emulated=emulated)


def cloud(name: str, budget: float, price: float = 10.0) -> Cloud:
    rented = InstanceType(name="t1", vcpus=2, memory_mib=4096, architecture="x86_64", price_per_month=price)
    return Cloud(name=name, budget_per_month=budget, types=(rented,))


def problem(
    needs: tuple[Need, ...],
    *places: OwnHost | Cloud,
    apart: tuple[tuple[str, str], ...] = (),
    before: Mapping[str, str] | None = None,
) -> Problem:
    return Problem(
        needs=needs,
        hosts=tuple(place for place in places if isinstance(place, OwnHost)),
        clouds=tuple(place for place in places if isinstance(place, Cloud)),
        apart=apart,
        before=before or {},
    )


@settings(max_examples=300)
@given(RANDOM)
def test_no_answer_breaks_a_rule(random: Random) -> None:
    asked = random_problem(random)
    answer = solve(asked)
    assert broken_rules(asked, answer.places) == ()
    assert answer.bound is None or answer.bound <= weight(asked, answer)
    assert len(answer.places) >= len(first_fit(asked))


@settings(max_examples=300)
@given(RANDOM)
def test_the_quick_answer_breaks_no_rule(random: Random) -> None:
    asked = random_problem(random, most_hosts=8, most_machines=30)
    assert broken_rules(asked, first_fit(asked)) == ()


def every_answer(asked: Problem) -> list[dict[str, str]]:
    names = [each.name for each in asked.needs]
    places = [None, *(each.name for each in asked.places)]
    tried = (
        {name: at for name, at in zip(names, each, strict=True) if at} for each in product(places, repeat=len(names))
    )
    return [each for each in tried if not broken_rules(asked, each)]


def most_placed(asked: Problem) -> int:
    return max(len(each) for each in every_answer(asked))


def best_weight(asked: Problem) -> int:
    best = None
    for places in every_answer(asked):
        bare = weight(asked, Answer(places=places, stranded={}))
        if best is not None and bare >= best:
            continue
        lost = {}
        for each in asked.hosts:
            rest = without(asked, places, each.name)
            lost[each.name] = ("x",) * (len(rest.needs) - most_placed(rest))
        found = weight(asked, Answer(places=places, stranded=lost))
        best = found if best is None else min(best, found)
    assert best is not None
    return best


@settings(max_examples=100)
@given(RANDOM)
def test_none_is_worse_than_what_trying_everything_finds(random: Random) -> None:
    asked = random_problem(random, most_hosts=3, most_machines=4)
    assert weight(asked, solve(asked)) <= 1.01 * best_weight(asked)


def test_what_would_be_lost_with_a_host_is_counted_exactly() -> None:
    asked = problem((need("a", 3000), need("b", 2000), need("c", 2000)), host("x"), host("y"), host("z", 4100))
    places = {"a": "x", "b": "y", "c": "z"}
    assert stranded(asked, places) == {"x": ("a",), "y": (), "z": ()}


def test_a_replica_is_never_beside_its_primary() -> None:
    pair = (need("db1"), need("db2"))
    answer = solve(problem(pair, host("x"), host("y", 500), apart=(("db1", "db2"),)))
    assert len(answer.places) == 1
    answer = solve(problem(pair, host("x"), host("y"), apart=(("db1", "db2"),)))
    assert sorted(answer.places.values()) == ["x", "y"]


def test_on_one_host_it_has_to_be() -> None:
    asked = problem((need("db1"), need("db2")), host("x"), apart=(("db1", "db2"),))
    assert solve(asked).places == {"db1": "x", "db2": "x"}


def test_a_cloud_beside_one_host_is_a_second_place() -> None:
    asked = problem((need("db1"), need("db2")), host("x"), cloud("rented", 100), apart=(("db1", "db2"),))
    assert sorted(solve(asked).places.values()) == ["rented", "x"]


def test_hardware_before_money_and_nothing_beyond_the_budget() -> None:
    needs = tuple(need(f"m{number}") for number in range(5))
    assert set(solve(problem(needs, host("x", 9000), cloud("rented", 100))).places.values()) == {"x"}
    answer = solve(problem(needs, host("x", 2000), cloud("rented", 20)))
    assert sorted(answer.places.values()) == ["rented", "rented", "x", "x"]
    cheaper = solve(problem(needs[:1], cloud("dear", 100, 30.0), cloud("cheap", 100, 8.0)))
    assert cheaper.places == {"m0": "cheap"}


def test_as_few_as_possible_are_moved() -> None:
    needs = tuple(need(f"m{number}") for number in range(4))
    before = {"m0": "y", "m1": "x", "m2": "y"}
    assert solve(problem(needs, host("x"), host("y"), before=before)).places.items() >= before.items()
    grown = (need("m0", 3500), *needs[1:])  # it has to leave, or the others do
    answer = solve(
        problem(grown, host("x", 4000), host("y", 4000), before={"m0": "x", "m1": "x", "m2": "x", "m3": "x"})
    )
    assert answer.places == {"m0": "y", "m1": "x", "m2": "x", "m3": "x"}


def test_what_fits_on_one_stays_on_one_and_where_processors_are_real() -> None:
    needs = tuple(need(f"m{number}") for number in range(3))
    answer = solve(problem(needs, host("slow", emulated=True), host("quick"), host("other")))
    assert set(answer.places.values()) in ({"quick"}, {"other"})


def test_the_rest_can_take_the_load_where_that_is_possible() -> None:
    # All three on one host would be enough for now, but nobody could take the large one when that host dies.
    needs = (need("large", 5000), need("a", 1000))
    asked = problem(needs, host("x", 6000), host("y", 5000), host("z", 5500))
    assert all(names == () for names in solve(asked).stranded.values())
    hopeless = problem(needs, host("x", 6000), host("y", 1000))
    assert solve(hopeless).stranded == {"x": ("large",)}


def test_a_large_question_is_answered() -> None:
    asked = large_problem(1)
    answer = solve(asked)
    assert broken_rules(asked, answer.places) == ()
    assert answer.left_out(asked) == ()


@pytest.mark.parametrize("places", [{"a": "x", "b": "x"}, {"a": "nowhere"}, {"c": "x"}, {"a": "rented"}])
def test_broken_rules_are_seen(places: dict[str, str]) -> None:
    asked = problem((need("a", 2500), need("b", 2500)), host("x"), cloud("rented", 5), apart=(("a", "b"),))
    assert broken_rules(asked, places)
