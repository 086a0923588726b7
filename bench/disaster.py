"""How long it takes from `up -s dr` to the first right page, by part."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

from bench.figures import Figure, Say, last_created
from bench.room import room
from tests.clouds.bodies import Bodies
from tests.clouds.conftest import built_plugin, found_provider
from tests.clouds.test_dr import Dr, disaster, page_of

_RIGHT = "Brass lantern"
"""What a page has that comes from the restored database."""


def recovery(say: Say) -> tuple[Figure, ...]:
    """Build prod's copy of the sample company in an EC2 on loopback, and ask for its page until it is right.

    Its machines have bodies that are there at once, and its backup is 8 MB: so what is measured is what the product
    takes beside a cloud's own time and the data's.
    """
    with room(say) as directory, disaster(directory, built_plugin(), found_provider()) as (stack, bodies):
        say("the copy is chosen")
        began = time.monotonic()
        stack.preflight()
        chosen = time.monotonic()
        say("up -s dr")
        told, right = _up(stack, bodies)
        stack.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dr")
    ends = (chosen, last_created(told, "FirstContact"), last_created(told, "PostgresPrimary"), right)
    names = (
        "the copy with capacity, credentials and data is chosen",
        "five machines rented, and reached for the first time",
        "the store restored from the bucket and checked",
        "from there to the first right page out of the load balancer",
    )
    parts = (
        Figure(name=name, ours=end - before)
        for name, (before, end) in zip(names, pairwise((began, *ends)), strict=True)
    )
    return *parts, Figure(name="from `up -s dr` to the first right page", ours=right - began)


def _up(stack: Dr, bodies: Bodies) -> tuple[list[tuple[float, str]], float]:
    """Return the lines of `up`, each with its time, and when the page was right."""
    process = stack.start("up", "--yes", "--skip-preview", "--stack", "dr")
    told: list[tuple[float, str]] = []
    assert process.stdout is not None
    lines = process.stdout
    reader = threading.Thread(target=lambda: told.extend((time.monotonic(), line) for line in lines))
    reader.start()
    right = 0.0
    while process.poll() is None:
        if not right and _RIGHT in page_of(bodies):
            right = time.monotonic()
        time.sleep(0.2)
    reader.join()
    right = right or (time.monotonic() if _RIGHT in page_of(bodies) else 0.0)
    if process.returncode or not right:
        raise RuntimeError("".join(line for _, line in told))
    return told, right
