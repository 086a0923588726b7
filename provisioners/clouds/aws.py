"""An AWS account, looked at before anything is made: who asks, the region, the image, the sizes, and the quota."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from model.errors import UnderstudyError
from provisioners.outcome import Say

# Source: AWS, "Amazon EC2 instance type quotas": running on-demand instances of the types A, C, D, H, I, M, R, T and Z.
_QUOTA = "L-1216C47A"
_REFUSED = {"AuthFailure", "UnauthorizedOperation", "OptInRequired", "AccessDenied", "AccessDeniedException"}
_DETAILS = "See `aws sts get-caller-identity` and the account's console."


def examine(region: str, image_owner: str, image_names: str, wanted: Mapping[str, int], owner: str, say: Say) -> None:
    """See that the account can have what a stack needs in a region.

    Args:
        region: AWS's name of it.
        image_owner: the account that publishes the machine image, and ``image_names`` how its images are called.
        image_names: a pattern with ``*``.
        wanted: vCPUs of all machines of each type.
        owner: the stack's mark, as its tag has it: what it runs already is not counted a second time.
        say: is told what could not be looked at.

    Raises:
        UnderstudyError: something is missing; with the command that fixes it.
    """
    session = _session(region)
    who = _asked(region, lambda: _client(session, "sts", region).get_caller_identity())
    say(f"AWS {region}: as {who['Arn']}")
    ec2 = _client(session, "ec2", region)
    _refuse_no_image(ec2, region, image_owner, image_names)
    _refuse_no_size(ec2, region, wanted)
    _refuse_small_quota(session, ec2, region, sum(wanted.values()), owner, say)


def _session(region: str) -> Any:
    import boto3  # takes a third of a second, and only clouds and buckets need it
    from botocore.exceptions import ProfileNotFound

    try:
        session = boto3.session.Session()
        known, credentials = session.get_available_regions("ec2"), session.get_credentials()
    except ProfileNotFound as error:
        todo = "`aws configure list-profiles` names them; then `export AWS_PROFILE=NAME`."
        raise UnderstudyError(where="AWS: credentials", found=str(error), todo=todo) from None
    if region not in known:
        close = get_close_matches(region, known, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        todo = "Correct `region` in Capacity.yaml; `aws ec2 describe-regions --all-regions` lists them."
        raise UnderstudyError(where=f"AWS: region {region}", found=f"there is none of that name{meant}", todo=todo)
    if credentials is None:
        raise UnderstudyError(
            where="AWS: credentials",
            found="none: neither in the environment, nor in ~/.aws, nor from this machine's role",
            wanted="those of somebody who may make machines",
            todo="Run `aws configure`, or `export AWS_PROFILE=NAME`.",
        )
    return session


def _client(session: Any, service: str, region: str) -> Any:
    from botocore.config import Config

    quick = Config(retries={"max_attempts": 3, "mode": "standard"}, connect_timeout=10, read_timeout=30)
    return session.client(service, region_name=region, config=quick)


def _asked(region: str, ask: Any) -> Any:
    """Return AWS's answer.

    Raises:
        UnderstudyError: it does not answer, or refuses.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return ask()
    except ClientError as error:
        code, said = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
        todo = _DETAILS
        if "Token" in code or "Signature" in code:
            todo = "Run `aws sso login`, or `aws configure` with keys that are valid."
        elif code in _REFUSED:
            todo = f"{_DETAILS} A region that is off: `aws account enable-region --region-name {region}`."
        raise UnderstudyError(where=f"AWS {region}", found=f"{code}: {said}", todo=todo) from None
    except BotoCoreError as error:
        raise UnderstudyError(
            where=f"AWS {region}", found=f"no answer: {error}", todo="Is there a network, and a way through the proxy?"
        ) from None


def _refuse_no_image(ec2: Any, region: str, owner: str, names: str) -> None:
    filters = [{"Name": "name", "Values": [names]}, {"Name": "state", "Values": ["available"]}]
    if not _asked(region, lambda: ec2.describe_images(Owners=[owner], Filters=filters))["Images"]:
        raise UnderstudyError(
            where=f"AWS {region}: image",
            found=f"none that is called {names} of the account {owner}",
            wanted="the machine image of its publisher",
            todo=f"See `aws ec2 describe-images --region {region} --owners {owner}`; or take another region.",
        )


def _refuse_no_size(ec2: Any, region: str, wanted: Mapping[str, int]) -> None:
    """The machines and their disks share one zone: the first."""
    open_ones = [{"Name": "state", "Values": ["available"]}]
    zones = _asked(region, lambda: ec2.describe_availability_zones(Filters=open_ones))["AvailabilityZones"]
    zone = min(each["ZoneName"] for each in zones)
    filters = [{"Name": "location", "Values": [zone]}, {"Name": "instance-type", "Values": sorted(wanted)}]
    found = _asked(
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


def _refuse_small_quota(session: Any, ec2: Any, region: str, wanted: int, owner: str, say: Say) -> None:
    quotas = _client(session, "service-quotas", region)
    try:
        answer = _asked(region, lambda: quotas.get_service_quota(ServiceCode="ec2", QuotaCode=_QUOTA))
    except UnderstudyError as error:
        say(f"the quota of vCPUs could not be looked at: {error.found}")
        return
    limit, running = int(answer["Quota"]["Value"]), _running(ec2, region, owner)
    if running + wanted > limit:
        raise UnderstudyError(
            where=f"AWS {region}: quota",
            found=f"{limit} vCPUs for machines on demand, of which others use {running}",
            wanted=f"{wanted} more for this stack",
            todo="Run `aws service-quotas request-service-quota-increase --service-code ec2 --quota-code "
            f"{_QUOTA} --desired-value {running + wanted} --region {region}`; AWS takes minutes to days.",
        )


def _running(ec2: Any, region: str, owner: str) -> int:
    """Return the vCPUs that run already and are not the stack's own."""
    states = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    pages = _asked(region, lambda: list(ec2.get_paginator("describe_instances").paginate(Filters=states)))
    every = [one for page in pages for group in page["Reservations"] for one in group["Instances"]]
    others = [one for one in every if {"Key": "owner", "Value": owner} not in one.get("Tags", ())]
    options = [one.get("CpuOptions", {"CoreCount": 1, "ThreadsPerCore": 1}) for one in others]
    return sum(each["CoreCount"] * each["ThreadsPerCore"] for each in options)
