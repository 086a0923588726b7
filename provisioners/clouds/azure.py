"""An Azure subscription, looked at before anything is made: who asks, the region, the image, the sizes, the quotas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from model.capacity import CloudImage
from model.errors import UnderstudyError
from model.rented import AZURE_IMAGE
from provisioners.clouds.azure_account import Account
from provisioners.outcome import Say

# Source: Microsoft, "Azure REST API reference": the versions of the interface in which what is read here is described.
_SUBSCRIPTION, _COMPUTE, _PROVIDERS, _SKUS = "2022-12-01", "2024-07-01", "2021-04-01", "2021-07-01"
_NAMESPACES = ("Microsoft.Compute", "Microsoft.Network")
_ALL_FAMILIES = "cores"
"""What Azure calls the quota of all sizes of a region together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """A size of machine as a subscription can have it in a region.

    Args:
        family: whose quota it takes from.
        hindered: why it cannot be had; empty where it can.
    """

    family: str
    vcpus: int
    hindered: str


def examine(
    account: Account, region: str, image: CloudImage | None, wanted: Mapping[str, int], owner: str, say: Say
) -> None:
    """See that the subscription can have what a stack needs in a region.

    Args:
        account: the subscription, and who asks.
        region: Azure's name of it.
        image: the user's own; None for Debian's.
        wanted: vCPUs of all machines of each size.
        owner: the stack's mark, as its tag has it: what it runs already is not counted a second time.
        say: is told what was found.

    Raises:
        UnderstudyError: something is missing; with the command that fixes it.
    """
    told = account.get("", _SUBSCRIPTION)
    say(f"Azure {region}: in {told.get('displayName', account.subscription)}")
    _refuse_shut(account, told)
    _refuse_no_region(account, region)
    if image:
        _refuse_no_own_image(account, image)
    else:
        say(f"Debian's newest image there: {_newest_version(account, region)}")
    sizes = _sizes(account, region)
    _refuse_no_size(region, sizes, wanted)
    _refuse_small_quota(account, region, sizes, wanted, owner)


def _refuse_shut(account: Account, told: Mapping[str, Any]) -> None:
    """A subscription can be off, and without having been told of a service it refuses all that is made with it."""
    if told.get("state") != "Enabled":
        raise UnderstudyError(
            where=f"Azure {account.subscription}",
            found=f"it is {told.get('state')}",
            wanted="a subscription that is enabled",
            todo="`az account list --output table` names yours; correct `cloud.subscription`, or enable this one.",
        )
    for name in _NAMESPACES:
        state = account.get(f"/providers/{name}", _PROVIDERS).get("registrationState")
        if state != "Registered":
            todo = f"Run `az provider register --namespace {name} --subscription {account.subscription} --wait`."
            raise UnderstudyError(where=f"Azure: {name}", found=str(state), wanted="Registered", todo=todo)


def _refuse_no_region(account: Account, region: str) -> None:
    known = [str(each["name"]) for each in account.every("/locations", _SUBSCRIPTION)]
    if region not in known:
        close = get_close_matches(region, known, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        todo = "Correct `region` in Capacity.yaml; `az account list-locations --query '[].name'` lists them."
        raise UnderstudyError(where=f"Azure: region {region}", found=f"there is none of that name{meant}", todo=todo)


def _newest_version(account: Account, region: str) -> str:
    image = AZURE_IMAGE
    of = f"{image.publisher}/artifacttypes/vmimage/offers/{image.offer}/skus/{image.sku}"
    path = f"/providers/Microsoft.Compute/locations/{region}/publishers/{of}/versions"
    # A plain list: it has no pages.
    found = account.get(path, _COMPUTE, top="1", orderby="name desc")
    if not found:
        urn = f"{image.publisher}:{image.offer}:{image.sku}"
        raise UnderstudyError(
            where=f"Azure {region}: image",
            found=f"no {urn}",
            wanted="the machine image of its publisher",
            todo=f"See `az vm image list --all --location {region} --publisher {image.publisher}`; "
            "or take another region.",
        )
    return str(found[0]["name"])


def _refuse_no_own_image(account: Account, image: CloudImage) -> None:
    path = f"/resourceGroups/{image.owner}/providers/Microsoft.Compute/images"
    names = [str(each["name"]) for each in account.every(path, _COMPUTE)]
    if not any(fnmatchcase(name, image.name) for name in names):
        raise UnderstudyError(
            where=f"Azure: image {image.name}",
            found=f"none of that name in the resource group {image.owner}; it has {', '.join(names) or 'none'}",
            wanted="your own machine image",
            todo=f"See `az image list --resource-group {image.owner}`; correct `image` in Capacity.yaml.",
        )


def _sizes(account: Account, region: str) -> dict[str, _Size]:
    listed = account.every("/providers/Microsoft.Compute/skus", _SKUS, filter=f"location eq '{region}'")
    return {str(each["name"]): _size(each) for each in listed if each.get("resourceType") == "virtualMachines"}


def _size(told: Mapping[str, Any]) -> _Size:
    """Return a size; what only a zone lacks does not matter, since none is asked for."""
    has = {each.get("name"): each.get("value") for each in told.get("capabilities") or ()}
    hindered = (each.get("reasonCode") for each in told.get("restrictions") or () if each.get("type") == "Location")
    return _Size(family=str(told.get("family", "")), vcpus=int(has.get("vCPUs") or 0), hindered=str(next(hindered, "")))


def _refuse_no_size(region: str, sizes: Mapping[str, _Size], wanted: Mapping[str, int]) -> None:
    missing = {name: sizes[name].hindered if name in sizes else "not sold there" for name in sorted(wanted)}
    if told := [f"{name}: {why}" for name, why in missing.items() if why]:
        raise UnderstudyError(
            where=f"Azure {region}: sizes",
            found=", ".join(told),
            wanted="what the lock file rents",
            todo="Take another region, or strike them from prices/azure.yaml and run `./run understudy place --again`.",
        )


def _refuse_small_quota(
    account: Account, region: str, sizes: Mapping[str, _Size], wanted: Mapping[str, int], owner: str
) -> None:
    path = f"/providers/Microsoft.Compute/locations/{region}/usages"
    usages = {str(each["name"]["value"]).lower(): each for each in account.every(path, _COMPUTE)}
    asked, mine = _by_quota(sizes, wanted), _by_quota(sizes, _own(account, region, sizes, owner))
    for name, more in asked.items():
        usage = usages.get(name.lower())
        if usage is None:
            continue  # no limit of its own
        limit, others = int(usage["limit"]), int(usage["currentValue"]) - mine.get(name, 0)
        if others + more > limit:
            raise UnderstudyError(
                where=f"Azure {region}: quota",
                found=f"{limit} vCPUs of {name}, of which others use {others}",
                wanted=f"{more} more for this stack",
                todo=f"Run `az extension add --name quota`, then `az quota update --resource-name {name} --scope "
                f"/subscriptions/{account.subscription}/providers/Microsoft.Compute/locations/{region} "
                f"--resource-type dedicated --limit-object value={others + more}`; Azure takes minutes to days.",
            )


def _by_quota(sizes: Mapping[str, _Size], vcpus: Mapping[str, int]) -> dict[str, int]:
    """Return how much of each quota machines take, by the vCPUs of all of each size: of their family's, and of all."""
    found = {_ALL_FAMILIES: sum(vcpus.values())}
    for size, count in vcpus.items():
        found[sizes[size].family] = found.get(sizes[size].family, 0) + count
    return found


def _own(account: Account, region: str, sizes: Mapping[str, _Size], owner: str) -> dict[str, int]:
    """Return the vCPUs of each size that the stack has already, running or not: Azure counts both."""
    found: dict[str, int] = {}
    for each in account.every("/providers/Microsoft.Compute/virtualMachines", _COMPUTE):
        size = str(((each.get("properties") or {}).get("hardwareProfile") or {}).get("vmSize"))
        if (each.get("tags") or {}).get("owner") == owner and each.get("location") == region and size in sizes:
            found[size] = found.get(size, 0) + sizes[size].vcpus
    return found
