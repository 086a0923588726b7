"""How many processors the machine has."""

from __future__ import annotations

from provisioners.facts.fact import Fact


def parse(output: str) -> int:
    r"""Return the number of processors that are online.

    Raises:
        ValueError: the output is not one positive number.

    >>> parse("8\n")
    8
    """
    count = int(output)
    if count < 1:
        raise ValueError(f"{count} processors")
    return count


PROCESSORS = Fact(name="processors", argv=("getconf", "_NPROCESSORS_ONLN"), parse=parse)
