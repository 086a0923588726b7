"""How AWS is asked: whose session it is, and what its refusals say to do."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, TypeVar

from model.errors import UnderstudyError

T = TypeVar("T")
_REFUSED = {"AuthFailure", "UnauthorizedOperation", "OptInRequired", "AccessDenied", "AccessDeniedException"}
_DETAILS = "See `aws sts get-caller-identity` and the account's console."


def session_in(region: str) -> Any:
    """Return a session of the user's own credentials.

    Raises:
        UnderstudyError: there are none, or no such region.
    """
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


def client(session: Any, service: str, region: str) -> Any:
    """Return what asks one of AWS's services, and does not wait for it for long."""
    from botocore.config import Config

    quick = Config(retries={"max_attempts": 3, "mode": "standard"}, connect_timeout=10, read_timeout=30)
    return session.client(service, region_name=region, config=quick)


def asked(region: str, ask: Callable[[], T]) -> T:
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
