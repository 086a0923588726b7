"""Reads the price tables of `prices/`, and says what a stack's machines in clouds come to."""

from __future__ import annotations

from pathlib import Path

from components import files, strict_yaml
from model.capacity import CLOUDS, InstanceType
from model.environment import Environment
from model.errors import ConfigurationError, UnderstudyError
from model.placement import PlacedHost, Placement
from model.prices import Cost, PriceTable, cost, estimate_line, read_prices
from model.rented import gib, system_disk_gib


def price_file(kind: str) -> str:
    """Return the path of a cloud's table, relative to the project.

    >>> price_file("aws")
    'prices/aws.yaml'
    """
    return f"prices/{kind}.yaml"


def read_price_table(directory: Path, kind: str) -> PriceTable:
    """Return a cloud's prices.

    Raises:
        ConfigurationError: with everything that is wrong with the table.
    """
    name = price_file(kind)
    values, faults = strict_yaml.parse(name, files.read_text(directory / name))
    if faults:
        raise ConfigurationError(faults)
    return read_prices(name, values)


def rentable(directory: Path, kind: str, region: str) -> tuple[InstanceType, ...]:
    """Return what can be rented in a cloud's region, cheapest first.

    Raises:
        UnderstudyError: the table has no such region.
    """
    table = read_price_table(directory, kind)
    found = table.types(region)
    if not found:
        raise UnderstudyError(
            where=f"Capacity.yaml: region {region}",
            found=f"no prices for it in {price_file(kind)}",
            wanted=f"one of {', '.join(sorted(table.regions))}",
            todo=f"Correct it, or run `./run understudy prices --refresh {kind} {region}`.",
        )
    return found


def costs(directory: Path, environment: Environment, placement: Placement, host: PlacedHost) -> tuple[Cost, ...]:
    """Return what each of a stack's machines in a cloud comes to a month.

    Raises:
        UnderstudyError: the table has no price for what the lock file rents.
    """
    types = {each.name: each for each in rentable(directory, host.kind, host.region)}
    found = []
    for place in placement.machines:
        if place.host != host.name:
            continue
        if place.instance_type not in types:
            raise UnderstudyError(
                where=f"{place.name}: {place.instance_type}",
                found=f"no price for it in {host.region} in {price_file(host.kind)}",
                todo=f"Run `./run understudy place --again -s {environment.stack}`, "
                f"or `./run understudy prices --refresh {host.kind} {host.region}`.",
            )
        machine = environment.topology.machine(place.name)
        found.append(cost(machine, types[place.instance_type], system_disk_gib(machine), gib(machine.data_disk_mib)))
    return tuple(found)


def estimates(directory: Path, environment: Environment, placement: Placement) -> dict[str, str]:
    """Return in one line for each cloud what the stack's machines there come to; nothing where none is in a cloud."""
    return {
        host.name: estimate_line(
            costs(directory, environment, placement, host), read_price_table(directory, host.kind), host.region
        )
        for host in placement.hosts
        if host.kind in CLOUDS
    }


def refuse_expensive(
    directory: Path, environment: Environment, placement: Placement, host: PlacedHost, budget_per_month: float
) -> None:
    """Refuse machines in a cloud that come to more than may be spent there.

    Raises:
        UnderstudyError: with what they come to, and the machines that cost most.
    """
    every = sorted(costs(directory, environment, placement, host), key=lambda each: -each.total)
    total = sum(each.total for each in every)
    if total > budget_per_month:
        most = ", ".join(f"{each.machine} ({each.instance_type}) {each.total:.2f}" for each in every[:3])
        raise UnderstudyError(
            where=f"stack {environment.stack}: {CLOUDS[host.kind]} {host.region}",
            found=f"about {total:.2f} a month; most of it for {most}",
            wanted=f"at most {budget_per_month:.2f}, the budget of {host.name} in Capacity.yaml",
            todo="Raise it there, make machines smaller with `at_most`, or place them elsewhere.",
        )
