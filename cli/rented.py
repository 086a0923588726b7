"""What a killed run left in clouds; apart from what looks at accounts, since every preflight comes by here."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.azure_state import in_azure
from model.errors import UnderstudyError
from model.placement import Placement
from model.rented import mark
from model.state import rented

if TYPE_CHECKING:
    from provisioners.clouds import azure_account as azure
    from provisioners.clouds.google_account import Account


def swept_clouds(
    owner: str,
    deployment: Mapping[str, Any],
    placement: Placement | None,
    say: Callable[[str], None],
    *,
    act: bool,
) -> list[str]:
    """Take away, or only name, what is in a cloud, carries the stack's mark and is not in its state.

    Args:
        owner: the mark that the stack's things carry.
        deployment: its state.
        placement: what its lock file says; None where there is none.
        say: is told what is done.
        act: whether to take it away.

    Raises:
        UnderstudyError: a cloud does not answer, or refuses.
    """
    aws, google = rented(deployment, "aws"), rented(deployment, "gcp")
    placed = {host.region for host in placement.hosts if host.kind == "aws"} if placement else set[str]()
    lines: list[str] = []
    for region in sorted(aws.regions | placed):
        from provisioners.clouds import aws_sweep

        lines += aws_sweep.sweep(region, mark(owner), aws, say, act=act)
    for account in _google_accounts(google.accounts, say):
        from provisioners.clouds import google_sweep

        lines += google_sweep.sweep(account, mark(owner), google, say, act=act)
    known = in_azure(deployment)
    for subscription in _azure_accounts(known.subscriptions, say):
        from provisioners.clouds import azure_sweep

        lines += azure_sweep.sweep(subscription, mark(owner), known, say, act=act)
    return lines


def _azure_accounts(subscriptions: Collection[str], say: Callable[[str], None]) -> Iterator[azure.Account]:
    """Yield those that can be asked; as with Google's, each is known by its provider."""
    for subscription in sorted(subscriptions):
        from provisioners.clouds import azure_account

        try:
            yield azure_account.log_in(subscription, os.environ)
        except UnderstudyError as error:
            say(f"Azure {subscription}: what a killed run left is not looked for: {error}")


def _google_accounts(projects: Collection[str], say: Callable[[str], None]) -> Iterator[Account]:
    """Yield those that can be asked. Each is known once its provider is in the state, before which nothing is made."""
    for project in sorted(projects):
        from provisioners.clouds import google_account

        try:
            account = google_account.log_in(project, os.environ, Path.home())
        except UnderstudyError as error:
            say(f"Google {project}: what a killed run left is not looked for: {error}")
            continue
        if account is None:
            say(f"Google {project}: its plugin alone can use these credentials; left-overs are not looked for")
        else:
            yield account
