"""In which order the machines of a service are worked on: spares before the active one, in portions."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from model.service import Rollout


def rollout_order(machines: Sequence[str], primaries: Collection[str]) -> tuple[str, ...]:
    """Return the machines of a service in the order in which a change costs least where it goes wrong.

    The first of a service's machines is the active one, and the others are its spares; a store's primary comes last.

    Args:
        machines: in the topology's order.
        primaries: those that are the primary of a store.

    >>> rollout_order(("app1", "app2", "db1", "db2"), {"db1"})
    ('db2', 'app2', 'app1', 'db1')
    """
    spares_first = [*reversed(machines)]
    return tuple(sorted(spares_first, key=lambda machine: machine in primaries))


def portions(rollout: Rollout, machines: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the machines in portions: the canaries, then so many at once. Each waits for the one before.

    Args:
        rollout: as the service has it; canaries that are not among the machines are left out.
        machines: in their order.

    >>> portions(Rollout(), ("db2", "app2", "app1"))
    (('db2',), ('app2', 'app1'))
    >>> portions(Rollout(first=("app1",), at_once=1), ("db2", "app2", "app1"))
    (('app1',), ('db2',), ('app2',))
    >>> portions(Rollout(first=0), ("db2", "app2"))
    (('db2', 'app2'),)
    """
    if isinstance(rollout.first, int):
        first = tuple(machines[: rollout.first])
    else:
        first = tuple(machine for machine in machines if machine in rollout.first)
    rest = [machine for machine in machines if machine not in first]
    size = rollout.at_once or len(rest) or 1
    parts = (first, *(tuple(rest[start : start + size]) for start in range(0, len(rest), size)))
    return tuple(part for part in parts if part)
