"""What a killed run left in clouds; apart from what looks at accounts, since every preflight comes by here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from model.placement import Placement
from model.rented import mark
from model.state import rented


def swept_clouds(
    owner: str,
    deployment: Mapping[str, Any],
    placement: Placement | None,
    say: Callable[[str], None],
    *,
    act: bool,
) -> list[str]:
    """Take away, or only name, what is in AWS, carries the stack's tag and is not in its state.

    Args:
        owner: the mark that the stack's things carry.
        deployment: its state.
        placement: what its lock file says; None where there is none.
        say: is told what is done.
        act: whether to take it away.

    Raises:
        UnderstudyError: AWS does not answer, or refuses.
    """
    known = rented(deployment, "aws")
    placed = {host.region for host in placement.hosts if host.kind == "aws"} if placement else set[str]()
    lines: list[str] = []
    for region in sorted(known.regions | placed):
        from provisioners.clouds import aws_sweep

        lines += aws_sweep.sweep(region, mark(owner), known.identifiers, say, act=act)
    return lines
