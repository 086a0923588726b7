"""Fetches the price lists that clouds publish for everybody."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator, Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from model.errors import UnderstudyError
from model.price_lists import Published, aws_published, azure_published

# Source: AWS, "Getting price list files manually"; Microsoft, "Azure Retail Prices REST API overview".
ADDRESSES: Mapping[str, str] = {"aws": "https://pricing.us-east-1.amazonaws.com", "azure": "https://prices.azure.com"}
"""By the cloud. Google's list asks for a key of the user's own, and has no prices of whole machines."""
_PATIENCE_SECONDS = 60
_MOST_PAGES = 200


def fetch(kind: str, region: str, types: Collection[str], address: str = "") -> Published:
    """Return what a cloud asks in a region.

    Args:
        kind: a key of ``ADDRESSES``.
        region: the cloud's name of it.
        types: those whose prices are wanted.
        address: of the service; empty for the cloud's own.

    Raises:
        UnderstudyError: there is no list, no network, or none of the types is in the list.
    """
    base = address or ADDRESSES.get(kind, "")
    if not base:
        raise UnderstudyError(
            where=f"prices of {kind}",
            found="no list that everybody can read",
            wanted=f"one of {', '.join(sorted(ADDRESSES))}",
            todo=f"Write them into prices/{kind}.yaml by hand, with `source` and `date`.",
        )
    try:
        found = (_aws if kind == "aws" else _azure)(base, region, types)
    except (URLError, OSError, HTTPException, ValueError) as error:
        raise UnderstudyError(
            where=f"{base}: prices of {region}",
            found=f"{type(error).__name__}: {error}",
            todo="Is there a network, and such a region? The table in prices/ stays as it is.",
        ) from None
    if not found.hour:
        raise UnderstudyError(
            where=f"{base}: prices of {region}",
            found=f"none of {', '.join(sorted(types))}",
            todo="Is the region right?",
        )
    return found


def _aws(base: str, region: str, types: Collection[str]) -> Published:
    url = f"{base}/offers/v1.0/aws/AmazonEC2/current/{quote(region, safe='')}/index.csv"
    with urlopen(Request(url), timeout=_PATIENCE_SECONDS) as answer:  # noqa: S310  # the address is fixed, or a test's
        return aws_published(io.TextIOWrapper(answer, encoding="utf-8", newline=""), types)


def _azure(base: str, region: str, types: Collection[str]) -> Published:
    return azure_published(_azure_items(base, region), types)


def _azure_items(base: str, region: str) -> Iterator[dict[str, Any]]:
    wanted = f"serviceName eq 'Virtual Machines' and armRegionName eq '{region}' and priceType eq 'Consumption'"
    url = f"{base}/api/retail/prices?$filter={quote(wanted)}"
    for _ in range(_MOST_PAGES):
        with urlopen(Request(url), timeout=_PATIENCE_SECONDS) as answer:  # noqa: S310  # as above
            page = json.load(answer)
        yield from page.get("Items", ())
        url = str(page.get("NextPageLink") or "")
        if not url:
            return
        if urlsplit(url).netloc.partition(":")[0] != urlsplit(base).netloc.partition(":")[0]:
            raise ValueError(f"its next page is elsewhere, at {urlsplit(url).netloc}")
    raise ValueError(f"more than {_MOST_PAGES} pages")
