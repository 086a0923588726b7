"""Runs many random questions of placement, and ends with 1 at the first broken rule: ``-m tests.placement.many``."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from random import Random

from model.packing import broken_rules, weight
from provisioners.solver import solve
from tests.placement.problems import random_problem

_AT_ONCE = 200


def wrong(seed: int) -> str:
    """Return what is wrong with the answer to one question; nothing where it is right."""
    problem = random_problem(Random(seed))
    answer = solve(problem)
    broken = broken_rules(problem, answer.places)
    if broken:
        return f"{seed}: {broken}"
    if answer.bound is not None and answer.bound > weight(problem, answer):
        return f"{seed}: proven is {answer.bound}, found was {weight(problem, answer)}"
    return ""


def main() -> int:
    """Run them side by side."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    began, done = time.monotonic(), 0
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for found in pool.map(wrong, range(count), chunksize=_AT_ONCE):
            if found:
                print(found, flush=True)
                return 1
            done += 1
            if done % 10_000 == 0:
                print(f"{done} without a broken rule ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{done} random cases, no broken rule, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
