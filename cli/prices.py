"""Shows what machines in clouds cost, by the tables in `prices/`; asks the clouds anew with `--refresh`.

A price that changed moves no machine: the lock file says what is rented, until `understudy place --again`.
"""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime
from pathlib import Path

from cli.arguments import add_directory, project_directory
from components import files, strict_yaml
from components.price_tables import price_file, read_price_table, rentable
from model.capacity import CLOUDS
from model.errors import UnderstudyError
from model.price_lists import Published
from model.prices import read_prices
from provisioners.clouds import price_lists
from provisioners.hypervisor.host import write_whole

_REGION = re.compile(r"[a-z][a-z0-9-]{1,31}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `understudy prices`."""
    parser.add_argument("cloud", choices=sorted(CLOUDS))
    parser.add_argument("region", help="the cloud's name of it, such as eu-central-1")
    parser.add_argument("--refresh", action="store_true", help="ask the cloud, and write what it says into the table")
    add_directory(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the prices of a region, cheapest first."""
    directory = project_directory(arguments.cwd)
    if not _REGION.fullmatch(arguments.region):
        raise UnderstudyError(where="region", found=repr(arguments.region), wanted="such as eu-central-1")
    if arguments.refresh:
        refresh(directory, arguments.cloud, arguments.region)
    table = read_price_table(directory, arguments.cloud)
    every = rentable(directory, arguments.cloud, arguments.region)
    prices = table.regions[arguments.region]
    print(f"{arguments.cloud} {arguments.region}, {table.currency} a month that is run through; {prices.source}")
    print(f"  of {prices.date or 'a day that is not known'}; a GiB of disk: {prices.disk_gib_month or 'not known'}")
    for each in every:
        print(f"  {each.name:<20} {each.vcpus:>3} vCPUs {each.memory_mib:>7} MiB {each.price_per_month:>9.2f}")
    return 0


def refresh(directory: Path, kind: str, region: str, address: str = "") -> None:
    """Write what a cloud asks today into its table, and say what changed.

    Args:
        directory: the project's.
        kind: the cloud.
        region: its name of the region; one that is new to the table is added.
        address: of the cloud's list; empty for its own.

    Raises:
        UnderstudyError: the list cannot be had; the table stays as it is.
    """
    table = read_price_table(directory, kind)
    found = price_lists.fetch(kind, region, table.sizes, address)
    path = directory / price_file(kind)
    text = files.read_text(path)
    values = strict_yaml.parse(path.name, text)[0]
    assert isinstance(values, dict)  # it was read as a table
    before = dict(values["regions"].get(region, {}))
    values["regions"][region] = _region(before, found, address or price_lists.ADDRESSES[kind])
    values["regions"] = dict(sorted(values["regions"].items()))
    read_prices(path.name, values)
    comments = "".join(f"{line}\n" for line in text.splitlines() if line.startswith("#"))
    write_whole(path, comments + strict_yaml.dump(values), mode=0o644)
    for name, price in sorted(found.hour.items()):
        if (old := before.get("hour", {}).get(name)) != price:
            print(f"{region} {name}: {old or 'new'} -> {price} an hour")


def _region(before: dict[str, object], found: Published, source: str) -> dict[str, object]:
    """What the list does not tell stays as it was."""
    disk = {"disk_gib_month": found.disk_gib_month} if found.disk_gib_month else {}
    told = {"source": source, "date": f"{datetime.now(UTC):%Y-%m-%d}", "hour": dict(sorted(found.hour.items()))}
    return {**before, **told, **disk}
