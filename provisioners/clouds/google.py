"""A project at Google, looked at before anything is made: the region, the image, the sizes, and the quotas."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from model.capacity import CloudImage
from model.errors import UnderstudyError
from provisioners.clouds.google_account import Account
from provisioners.outcome import Say

# Source: Google, "Allocation quotas": E2 and N1 take from CPUS, other families from a quota of their own.
_SHARED, _SHARING = "CPUS", ("e2", "n1", "f1", "g1")
_EVERYWHERE = "CPUS_ALL_REGIONS"
_ADDRESSES, _STAYING = "IN_USE_ADDRESSES", "STATIC_ADDRESSES"


def examine(
    account: Account,
    region: str,
    image: CloudImage,
    wanted: Mapping[str, tuple[int, int]],
    owner: str,
    say: Say,
    addresses: int = 0,
    elsewhere: int = 0,
) -> None:
    """See that the project can have what a stack needs in a region.

    Args:
        account: the project, and who asks.
        region: Google's name of it.
        image: its owner is a project, and its name a family.
        wanted: of each size, how many machines, and the vCPUs of all of them.
        owner: the stack's mark, as its label has it: what it runs already is not counted a second time.
        say: is told what was found.
        addresses: how many of its machines have an address that stays.
        elsewhere: vCPUs of its machines in other regions, for which the project has one quota together.

    Raises:
        UnderstudyError: something is missing; with the command that fixes it.
    """
    project = account.get("")
    if project is None:
        todo = "`gcloud projects list` names yours; correct `cloud.project`."
        raise UnderstudyError(where=f"Google {account.project}", found="no such project", todo=todo)
    say(f"Google {region}: in {account.project}")
    there = _region(account, region)
    _refuse_no_image(account, image, say)
    _refuse_no_size(account, region, wanted)
    own = _own(account, owner)
    mine, asked = _by_quota(own.get(region, {})), _by_quota(wanted)
    mine[_EVERYWHERE] = sum(vcpus for sizes in own.values() for _, vcpus in sizes.values())
    asked[_EVERYWHERE] += elsewhere
    if addresses:
        asked[_STAYING], mine[_STAYING] = addresses, _own_addresses(account, region, owner)
    _refuse_small_quota(account, region, {**_quotas(project), **_quotas(there)}, asked, mine)


def _region(account: Account, region: str) -> Mapping[str, Any]:
    if there := account.get(f"/regions/{region}"):
        return dict(there)
    known = [str(each["name"]) for each in account.every("/regions")]
    close = get_close_matches(region, known, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    todo = f"Correct `region` in Capacity.yaml; `gcloud compute regions list --project {account.project}` lists them."
    raise UnderstudyError(where=f"Google: region {region}", found=f"there is none of that name{meant}", todo=todo)


def _refuse_no_image(account: Account, image: CloudImage, say: Say) -> None:
    found = account.get(f"/global/images/family/{image.name}", project=image.owner)
    if found is None:
        raise UnderstudyError(
            where=f"Google: image {image.name}",
            found=f"no family of that name in the project {image.owner}",
            wanted="the machine image of its publisher",
            todo=f"See `gcloud compute images list --project {image.owner} --no-standard-images`; correct `image` in "
            "Capacity.yaml.",
        )
    say(f"the newest image of {image.name}: {found.get('name')}")


def _refuse_no_size(account: Account, region: str, wanted: Mapping[str, object]) -> None:
    """The machines and their disks share one zone: the first that is up."""
    up = [str(each["name"]) for each in account.every("/zones", filter='status = "UP"')]
    mine = [name for name in up if name.rpartition("-")[0] == region]
    if not mine:
        todo = "Take another region in Capacity.yaml."
        raise UnderstudyError(where=f"Google {region}: zones", found="none is up", todo=todo)
    zone = min(mine)
    if missing := [name for name in sorted(wanted) if account.get(f"/zones/{zone}/machineTypes/{name}") is None]:
        raise UnderstudyError(
            where=f"Google {region}: sizes",
            found=f"no {', '.join(missing)} in {zone}",
            wanted="what the lock file rents",
            todo="Take another region, or strike them from prices/gcp.yaml and run `./run understudy place --again`.",
        )


def _quotas(told: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return limit and usage of each quota of a project or a region."""
    return {str(each["metric"]): (int(each["limit"]), int(each["usage"])) for each in told.get("quotas") or ()}


def _refuse_small_quota(
    account: Account,
    region: str,
    quotas: Mapping[str, tuple[int, int]],
    asked: Mapping[str, int],
    has: Mapping[str, int],
) -> None:
    for name, more in asked.items():
        if name not in quotas:
            continue  # no limit of its own
        limit, used = quotas[name]
        others = used - has.get(name, 0)
        if others + more > limit:
            where = "" if name == _EVERYWHERE else f" --dimensions region={region}"
            kind = "-per-project" if name == _EVERYWHERE else "-per-project-region"
            raise UnderstudyError(
                where=f"Google {region}: quota",
                found=f"{limit} of {name}, of which others use {others}",
                wanted=f"{more} for this stack",
                todo="Run `gcloud beta quotas preferences create --service compute.googleapis.com --project "
                f"{account.project} --quota-id {name.replace('_', '-')}{kind} --preferred-value {others + more}"
                f"{where}`; Google takes minutes to days.",
            )


def _by_quota(machines: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """Return how much of each quota machines take, by how many there are of each size and their vCPUs.

    >>> _by_quota({"e2-small": (2, 4), "n2-standard-2": (1, 2)})
    {'CPUS_ALL_REGIONS': 6, 'IN_USE_ADDRESSES': 3, 'CPUS': 4, 'N2_CPUS': 2}
    """
    found = {
        _EVERYWHERE: sum(vcpus for _, vcpus in machines.values()),
        _ADDRESSES: sum(count for count, _ in machines.values()),
    }
    for size, (_, vcpus) in machines.items():
        family = size.partition("-")[0]
        name = _SHARED if family in _SHARING else f"{family.upper()}_CPUS"
        found[name] = found.get(name, 0) + vcpus
    return found


def _own_addresses(account: Account, region: str, owner: str) -> int:
    """Return how many addresses that stay the stack has there already."""
    places = account.every("/aggregated/addresses", filter=f'labels.owner = "{owner}"')
    found = (each for place in places for each in place.get("addresses") or ())
    return sum(str(each.get("region", "")).endswith(f"/{region}") for each in found)


def _own(account: Account, owner: str) -> dict[str, dict[str, tuple[int, int]]]:
    """Return by region, of each size, how many machines the stack runs already, and the vCPUs of all of them."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for place in account.every("/aggregated/instances", filter=f'labels.owner = "{owner}"'):
        for each in place.get("instances") or ():
            size, zone = (str(each.get(key)).rpartition("/")[2] for key in ("machineType", "zone"))
            if each.get("status") == "RUNNING":
                kind = account.get(f"/zones/{zone}/machineTypes/{size}") or {}
                there = found.setdefault(zone.rpartition("-")[0], {})
                count, vcpus = there.get(size, (0, 0))
                there[size] = count + 1, vcpus + int(kind.get("guestCpus") or 0)
    return found
