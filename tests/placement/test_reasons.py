"""Each machine's place is explained, and what has none is told every shortfall, in figures, with what would fix it."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from model.packing import OwnHost, Problem, broken_rules
from model.packing_reasons import easiest_fix, explained, obstacles, summary, survivors
from provisioners.solver import solve
from tests.placement.problems import random_problem
from tests.placement.test_solver import cloud, host, need, problem


def told(asked: Problem) -> str:
    answer = solve(asked)
    return "\n".join([*explained(asked, answer), *summary(asked, answer), *survivors(asked, answer)])


def test_one_host_is_said_to_be_the_only_one() -> None:
    text = told(problem((need("db1"), need("db2")), host("x"), apart=(("db1", "db2"),)))
    assert "db1: on x: there is one host only, so it is beside db2, its replica" in text
    assert "db2: on x: there is one host only, so it is beside db1, its primary" in text
    assert "if x died, all would be gone: there is no other host" in text


def test_a_replica_is_told_whom_it_keeps_away_from() -> None:
    text = told(problem((need("db1"), need("db2")), host("x"), host("y"), apart=(("db1", "db2"),)))
    assert "db1 is there, its primary" in text
    assert "db2 is there, its replica" in text
    assert "when any one host dies, the others can take its load" in text


def test_every_shortfall_has_its_figure_and_its_fix() -> None:
    asked = problem((need("big", 9000, vcpus=8),), host("x", 8000), cloud("rented", 5), host("arm"))
    answer = solve(asked)
    lines = list(explained(asked, answer))
    assert lines == [
        "big: nowhere",
        (
            "  not on x: 8 processors, and it has 4 cores; memory: 9000 MiB needed, 8000 MiB left, 1000 MiB short"
            " (give it at most 4 processors; free 1000 MiB of memory there)"
        ),
        (
            "  not on arm: 8 processors, and it has 4 cores; memory: 9000 MiB needed, 4000 MiB left, 5000 MiB short"
            " (give it at most 4 processors; free 5000 MiB of memory there)"
        ),
        "  not on rented: no known price of anything with 8 processors and 9000 MiB of x86_64",
        "  to fix it: x: give it at most 4 processors and free 1000 MiB of memory there",
    ]


def test_what_is_missing_of_a_budget_is_told() -> None:
    asked = problem((need("a", 3000), need("b", 3000)), host("x", 100), cloud("rented", 15, price=10.0))
    text = told(asked)
    assert "rented: about 10.00 a month of 15.00" in text
    assert "t1 costs 10.00 a month, 5.00 of its budget are left (raise its budget_per_month by 5.00)" in text
    assert "to fix it: rented: raise its budget_per_month by 5.00" in text
    assert "t1 for 10.00 a month: no host of your own has room for it" in text


def test_another_kind_of_processor_cannot_be_mended() -> None:
    arm = OwnHost(name="arm", cores=8, vcpus=8, memory_mib=9000, disk_mib=9000, architecture="aarch64")
    text = told(Problem(needs=(need("a"),), hosts=(arm,), before={}))
    assert "its processors are aarch64, the machine's x86_64" in text
    assert "to fix it: give it less, or list a host that is large enough" in text


def test_who_stays_and_who_moves_is_told() -> None:
    grown = (need("m0", 3500), need("m1"), need("m2"))
    before = {"m0": "x", "m1": "x", "m2": "x"}
    text = told(problem(grown, host("x"), host("y"), before=before))
    assert "m1: on x: it was there before" in text
    assert "  not on y: memory: 1000 MiB needed, 500 MiB left, 500 MiB short" in text
    assert "moved: m0" in text


def test_what_would_not_fit_when_a_host_dies_is_told() -> None:
    text = told(problem((need("large", 5000), need("a", 1000)), host("x", 6000), host("y", 1000)))
    assert "if x died, the others would have no room for large" in text


@settings(max_examples=200)
@given(st.integers(0, 1 << 32).map(Random))
def test_obstacles_are_what_the_rules_say(random: Random) -> None:
    asked = random_problem(random)
    places = solve(asked).places
    for each in asked.needs:
        for place in asked.places:
            there = {**places, each.name: place.name}
            assert bool(obstacles(asked, places, each, place)) == bool(broken_rules(asked, there))


@settings(max_examples=200)
@given(st.integers(0, 1 << 32).map(Random))
def test_every_machine_is_explained(random: Random) -> None:
    asked = random_problem(random)
    answer = solve(asked)
    lines = list(explained(asked, answer))
    heads = [line.partition(":")[0] for line in lines if not line.startswith(" ")]
    assert heads == [each.name for each in asked.needs]
    for name in answer.left_out(asked):
        fix = easiest_fix(asked, answer.places, name)
        assert f"  to fix it: {fix or 'give it less, or list a host that is large enough'}" in lines


def test_a_fix_that_is_done_helps() -> None:
    asked = problem((need("a", 5000),), host("x", 4200))
    answer = solve(asked)
    assert easiest_fix(asked, answer.places, "a") == "x: free 800 MiB of memory there"
    assert solve(problem(asked.needs, host("x", 5000))).places == {"a": "x"}
