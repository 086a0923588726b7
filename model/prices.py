"""What machines in clouds cost: tables with their sources, and what a stack's machines come to a month. Pure.

The tables are in Git, since a placement and a preview must be the same twice, and must work without a network.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from model.capacity import ARCHITECTURES, InstanceType
from model.errors import ConfigurationError
from model.readers import Place, Section, read_choice, read_count, read_keys, read_mapping, read_mib, read_text
from model.topology import Machine

# Source: all three clouds count a month as 730 hours: 365 days of 24 hours, over 12.
HOURS_PER_MONTH = 730
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MOST_PER_HOUR = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What one of a cloud's types is."""

    vcpus: int
    memory_mib: int
    architecture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionPrices:
    """What a cloud asks in one region.

    Args:
        source: where the prices are from.
        date: the day on which they were true, such as ``2026-07-20``; empty where the source does not tell.
        hour: the price of an hour, by type.
        disk_gib_month: of a GiB of disk for a month; 0 where the source does not tell.
        address_hour: of a public address for an hour; 0 where the source does not tell.
    """

    source: str
    date: str
    hour: Mapping[str, float]
    disk_gib_month: float = 0.0
    address_hour: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """A cloud's prices.

    Args:
        currency: of all prices, such as ``USD``.
        sizes: what each type is.
        regions: by the cloud's name of the region.
    """

    currency: str
    sizes: Mapping[str, Size]
    regions: Mapping[str, RegionPrices]

    def types(self, region: str) -> tuple[InstanceType, ...]:
        """Return what can be rented in a region, cheapest first; nothing where it is not in the table.

        A public address is part of each: that is how a machine in a cloud is reached.
        """
        prices = self.regions.get(region)
        if prices is None:
            return ()
        types = (
            InstanceType(
                name=name,
                vcpus=size.vcpus,
                memory_mib=size.memory_mib,
                architecture=size.architecture,
                price_per_month=(prices.hour[name] + prices.address_hour) * HOURS_PER_MONTH,
                disk_price_per_gib_month=prices.disk_gib_month,
            )
            for name, size in self.sizes.items()
            if name in prices.hour
        )
        return tuple(sorted(types, key=lambda each: (each.price_per_month, each.vcpus, each.memory_mib, each.name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a machine comes to a month, in the currency of the table."""

    machine: str
    instance_type: str
    compute: float
    disks: float

    @property
    def total(self) -> float:
        """Return all of it."""
        return self.compute + self.disks


def cheapest(
    types: Collection[InstanceType], machine: Machine, architecture: str = ARCHITECTURES[0]
) -> InstanceType | None:
    """Return the type with the lowest price that is large enough for a machine; None where none is.

    >>> from ipaddress import IPv4Address
    >>> small = InstanceType(name="s", vcpus=1, memory_mib=1024, architecture="x86_64", price_per_month=5)
    >>> large = InstanceType(name="l", vcpus=4, memory_mib=8192, architecture="x86_64", price_per_month=20)
    >>> asked = Machine(name="db1", address=IPv4Address("10.0.0.9"), vcpus=2, memory_mib=512, system_disk_mib=8192,
    ...                 data_disk_mib=0)
    >>> cheapest([small, large], asked).name
    'l'
    """
    fit = [
        each
        for each in types
        if each.vcpus >= machine.vcpus and each.memory_mib >= machine.memory_mib and each.architecture == architecture
    ]
    return min(fit, key=lambda each: (each.price_per_month, each.name), default=None)


def cost(machine: Machine, rented: InstanceType, system_disk_gib: int, data_disk_gib: int) -> Cost:
    """Return what a machine comes to when it runs all month."""
    disks = (system_disk_gib + data_disk_gib) * rented.disk_price_per_gib_month
    return Cost(machine=machine.name, instance_type=rented.name, compute=rented.price_per_month, disks=disks)


def estimate_line(costs: Collection[Cost], table: PriceTable, region: str) -> str:
    """Return in one line what machines in a region come to, and how good that figure is."""
    prices = table.regions[region]
    total = sum(each.total for each in costs)
    of = f"of {prices.date}" if prices.date else "whose day is not known"
    without = "" if prices.disk_gib_month else ", without disks and addresses"
    many = "1 machine that always runs" if len(costs) == 1 else f"{len(costs)} machines that always run"
    return (
        f"about {total:.2f} {table.currency} a month for {many}{without}; by prices {of}; traffic and taxes come on top"
    )


def read_prices(file: str, values: object) -> PriceTable:
    """Return a cloud's price table.

    Args:
        file: its name, for faults.
        values: what stands in it, parsed.

    Raises:
        ConfigurationError: with everything that is wrong with it.
    """
    place = Place(file, (), [])
    section = read_keys(place, values, required=("currency", "sizes", "regions"))
    currency = section.read("currency", read_text, _CURRENCY, "three letters, such as USD")
    sizes = section.read("sizes", _read_sizes) or {}
    named = section.values.get("sizes")
    types = [str(name) for name in named] if isinstance(named, Mapping) else []  # also those with a fault of their own
    regions = section.read("regions", _read_regions, types) or {}
    if place.faults or currency is None:
        raise ConfigurationError(tuple(place.faults))
    return PriceTable(currency=currency, sizes=sizes, regions=regions)


def _read_sizes(place: Place, value: object) -> dict[str, Size]:
    sizes = {}
    for name, entry in read_mapping(place, value).items():
        section = read_keys(place / name, entry, required=("vcpus", "memory", "architecture"))
        known = read_text(place / name, name, _TYPE, "a cloud's name of a type, such as t3.medium")
        vcpus = section.read("vcpus", read_count, least=1, most=1024)
        memory = section.read("memory", read_mib, least=128)
        architecture = section.read("architecture", read_choice, ARCHITECTURES)
        if known and vcpus and memory and architecture:
            sizes[known] = Size(vcpus=vcpus, memory_mib=memory, architecture=architecture)
    return sizes


def _read_regions(place: Place, value: object, types: Collection[str]) -> dict[str, RegionPrices]:
    return {
        str(name): _read_region(
            read_keys(
                place / name, entry, required=("source", "date", "hour"), optional=("disk_gib_month", "address_hour")
            ),
            types,
        )
        for name, entry in read_mapping(place, value).items()
    }


def _read_region(section: Section, types: Collection[str]) -> RegionPrices:
    return RegionPrices(
        source=section.read("source", read_text, str.isprintable, "where the prices are from, in one line") or "",
        date=section.read("date", read_text, _DATE, "a day, such as 2026-07-20, or nothing where none is known") or "",
        hour=section.read("hour", _read_hours, types) or {},
        disk_gib_month=section.read("disk_gib_month", _read_price) or 0.0,
        address_hour=section.read("address_hour", _read_price) or 0.0,
    )


def _read_hours(place: Place, value: object, types: Collection[str]) -> dict[str, float]:
    hours = {}
    for name, price in read_mapping(place, value).items():
        known = read_choice(place / name, name, types)
        found = _read_price(place / name, price)
        if known is not None and found is not None:
            hours[known] = found
    return hours


def _read_price(place: Place, value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _MOST_PER_HOUR:
        return float(value)
    place.fault(value, f"a price above 0, at most {_MOST_PER_HOUR:g}")
    return None
