"""An AWS account, looked at before anything is made: who asks, the region, the image, the sizes, and the quota."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from model.errors import UnderstudyError
from provisioners.clouds.aws_account import asked, client, session_in
from provisioners.outcome import Say

# Source: AWS, "Amazon EC2 instance type quotas": running on-demand instances of the types A, C, D, H, I, M, R, T and Z.
_QUOTA = ("ec2", "L-1216C47A")
# Source: AWS, "Amazon VPC quotas": Elastic IP addresses per Region; inbound or outbound rules per security group.
_ADDRESSES, _RULES = ("ec2", "L-0263D0A3"), ("vpc", "L-0EA8095F")


def examine(
    region: str,
    image_owner: str,
    image_names: str,
    wanted: Mapping[str, int],
    owner: str,
    say: Say,
    addresses: int = 0,
    rules: int = 0,
) -> None:
    """See that the account can have what a stack needs in a region.

    Args:
        region: AWS's name of it.
        image_owner: the account that publishes the machine image, and ``image_names`` how its images are called.
        image_names: a pattern with ``*``.
        wanted: vCPUs of all machines of each type.
        owner: the stack's mark, as its tag has it: what it runs already is not counted a second time.
        say: is told what could not be looked at.
        addresses: how many of its machines have an address that stays.
        rules: how many its fence has for what comes in.

    Raises:
        UnderstudyError: something is missing; with the command that fixes it.
    """
    session = session_in(region)
    who = asked(region, lambda: client(session, "sts", region).get_caller_identity())
    say(f"AWS {region}: as {who['Arn']}")
    ec2 = client(session, "ec2", region)
    _refuse_no_image(ec2, region, image_owner, image_names)
    _refuse_no_size(ec2, region, wanted)
    quota = partial(_refuse_small_quota, client(session, "service-quotas", region), region, say)
    quota(_QUOTA, "vCPUs", "for machines on demand", sum(wanted.values()), lambda: _running(ec2, region, owner))
    if addresses:
        others = partial(_rented_addresses, ec2, region, owner)
        quota(_ADDRESSES, "addresses", "that stay (Elastic IP)", addresses, others)
        quota(_RULES, "rules", "in a security group", rules, lambda: 0)


def _refuse_no_image(ec2: Any, region: str, owner: str, names: str) -> None:
    filters = [{"Name": "name", "Values": [names]}, {"Name": "state", "Values": ["available"]}]
    if not asked(region, lambda: ec2.describe_images(Owners=[owner], Filters=filters))["Images"]:
        raise UnderstudyError(
            where=f"AWS {region}: image",
            found=f"none that is called {names} of the account {owner}",
            wanted="the machine image of its publisher",
            todo=f"See `aws ec2 describe-images --region {region} --owners {owner}`; or take another region.",
        )


def _refuse_no_size(ec2: Any, region: str, wanted: Mapping[str, int]) -> None:
    """The machines and their disks share one zone: the first."""
    open_ones = [{"Name": "state", "Values": ["available"]}]
    zones = asked(region, lambda: ec2.describe_availability_zones(Filters=open_ones))["AvailabilityZones"]
    zone = min(each["ZoneName"] for each in zones)
    filters = [{"Name": "location", "Values": [zone]}, {"Name": "instance-type", "Values": sorted(wanted)}]
    found = asked(
        region,
        lambda: ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=filters),
    )["InstanceTypeOfferings"]
    if missing := sorted(set(wanted) - {each["InstanceType"] for each in found}):
        raise UnderstudyError(
            where=f"AWS {region}: sizes",
            found=f"no {', '.join(missing)} in {zone}",
            wanted="what the lock file rents",
            todo="Take another region, or strike them from prices/aws.yaml and run `./run understudy place --again`.",
        )


def _refuse_small_quota(
    quotas: Any,
    region: str,
    say: Say,
    code: tuple[str, str],
    what: str,
    which: str,
    wanted: int,
    others: Callable[[], int],
) -> None:
    try:
        answer = asked(region, lambda: quotas.get_service_quota(ServiceCode=code[0], QuotaCode=code[1]))
    except UnderstudyError as error:
        say(f"the quota of {what} could not be looked at: {error.found}")
        return
    limit, used = int(answer["Quota"]["Value"]), others()
    if used + wanted > limit:
        raise UnderstudyError(
            where=f"AWS {region}: quota",
            found=f"{limit} {what} {which}{f', of which others use {used}' if used else ''}",
            wanted=f"{wanted} more for this stack",
            todo=f"Run `aws service-quotas request-service-quota-increase --service-code {code[0]} --quota-code "
            f"{code[1]} --desired-value {used + wanted} --region {region}`; AWS takes minutes to days.",
        )


def _rented_addresses(ec2: Any, region: str, owner: str) -> int:
    """Return how many addresses that stay are rented and not the stack's own."""
    every = asked(region, ec2.describe_addresses)["Addresses"]
    return sum({"Key": "owner", "Value": owner} not in each.get("Tags", ()) for each in every)


def _running(ec2: Any, region: str, owner: str) -> int:
    """Return the vCPUs that run already and are not the stack's own."""
    states = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    pages = asked(region, lambda: list(ec2.get_paginator("describe_instances").paginate(Filters=states)))
    every = [one for page in pages for group in page["Reservations"] for one in group["Instances"]]
    others = [one for one in every if {"Key": "owner", "Value": owner} not in one.get("Tags", ())]
    options = [one.get("CpuOptions", {"CoreCount": 1, "ThreadsPerCore": 1}) for one in others]
    return sum(each["CoreCount"] * each["ThreadsPerCore"] for each in options)
