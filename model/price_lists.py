"""What clouds publish of their prices, read as it comes over the line. Pure."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_METADATA = 5
"""Lines before the header of AWS's list, of which the third is the day."""
_ON_DEMAND = {
    "TermType": "OnDemand",
    "Operating System": "Linux",
    "Tenancy": "Shared",
    "CapacityStatus": "Used",
    "Pre Installed S/W": "NA",
    "Unit": "Hrs",
    "Currency": "USD",
}
_DISK = {
    "TermType": "OnDemand",
    "Product Family": "Storage",
    "Volume API Name": "gp3",
    "Unit": "GB-Mo",
    "Currency": "USD",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Prices of one region as a cloud publishes them, in USD.

    Args:
        hour: of an hour, by type; only of those that were asked for.
        disk_gib_month: of a GiB of disk for a month; 0 where the list does not tell.
    """

    hour: Mapping[str, float]
    disk_gib_month: float = 0.0


def aws_published(lines: Iterable[str], types: Collection[str]) -> Published:
    """Return the prices in AWS's list of one region: some hundred MB, of which one line is held at a time.

    Source: AWS, "Reading service price list files" (CSV): metadata, a header, then a line for each price.

    >>> text = ['"a"', '"b"', '"c"', '"d"', '"e"', "TermType,Unit,PricePerUnit,Currency,Product Family,Volume API Name",
    ...         "OnDemand,GB-Mo,0.0952,USD,Storage,gp3"]
    >>> aws_published(text, []).disk_gib_month
    0.0952
    """
    rows = iter(lines)
    for _ in range(_METADATA):
        next(rows, "")
    hour, disk = dict[str, float](), 0.0
    for row in csv.DictReader(rows):
        price = _number(row.get("PricePerUnit"))
        if price <= 0:
            continue  # what is reserved has a line at no price as well
        if row.get("Instance Type") in types and _is(row, _ON_DEMAND):
            hour[str(row["Instance Type"])] = price
        elif _is(row, _DISK):
            disk = price
    return Published(hour=hour, disk_gib_month=disk)


def azure_published(items: Iterable[Mapping[str, Any]], types: Collection[str]) -> Published:
    """Return the prices among the items of Azure's list.

    Source: Microsoft, "Azure Retail Prices REST API overview": one item for each meter, Windows and spot among them.

    >>> item = {"armSkuName": "Standard_B2s", "retailPrice": 0.048, "unitOfMeasure": "1 Hour", "currencyCode": "USD",
    ...         "type": "Consumption", "productName": "Virtual Machines BS Series", "skuName": "B2s"}
    >>> azure_published([item, {**item, "retailPrice": 0.01, "skuName": "B2s Spot"}], ["Standard_B2s"]).hour
    {'Standard_B2s': 0.048}
    """
    return Published(
        hour={str(item["armSkuName"]): _number(item["retailPrice"]) for item in items if _plain(item, types)}
    )


def _plain(item: Mapping[str, Any], types: Collection[str]) -> bool:
    told = f"{item.get('productName')} {item.get('skuName')} {item.get('meterName')}"
    return (
        item.get("armSkuName") in types
        and item.get("type") == "Consumption"
        and item.get("unitOfMeasure") == "1 Hour"
        and item.get("currencyCode") == "USD"
        and _number(item.get("retailPrice")) > 0
        and not any(word in told for word in ("Windows", "Spot", "Low Priority", "Cloud Services", "Dedicated"))
    )


def _is(row: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    return all(row.get(key) == value for key, value in wanted.items())


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return 0.0
