"""What is looked at before machines are made in clouds: who could get in, and the account."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from importlib import metadata
from pathlib import Path

from components.files import state_place
from components.price_tables import read_price_table
from model import names
from model.capacity import CLOUDS
from model.cloud import CloudSettings, project_of, subscription_of
from model.configuration import stack_file_name
from model.environment import Environment
from model.errors import UnderstudyError
from model.placement import PlacedHost, Placement
from model.rented import AWS_IMAGE, GOOGLE_IMAGE, mark
from model.tunnels import is_spread, rented, tunnel_sources


def refuse_unfit_clouds(
    directory: Path, environment: Environment, placement: Placement, say: Callable[[str], None], *, account: bool
) -> None:
    """Refuse what a stack cannot have in its clouds, before anything is made there.

    Args:
        directory: the project's.
        environment: the stack.
        placement: where its machines are to be.
        say: shows progress.
        account: whether the account is looked at too: only where something is about to be made.

    Raises:
        UnderstudyError: nobody could get in, or the account lacks something.
    """
    for host in placement.hosts:
        if host.kind not in CLOUDS:
            continue
        _refuse_no_way_in(environment)
        if account:
            _refuse_no_plugin(host.kind, os.environ)
            _examine(directory, environment, placement, host, say)


def _refuse_no_way_in(environment: Environment) -> None:
    if not environment.settings.cloud.ssh_from:
        raise UnderstudyError(
            where=f"{stack_file_name(environment.stack)}: cloud.ssh_from",
            found="nothing",
            wanted="the networks from which you reach machines in a cloud; nothing else gets in",
            todo="Write `understudy:cloud: {ssh_from: [ADDRESS/32]}`; `curl https://checkip.amazonaws.com` says yours.",
        )


def _refuse_no_plugin(kind: str, environment: Mapping[str, str]) -> None:
    """Without its plugin Pulumi would stop in the middle of an update. ./run fetches none by itself."""
    version = metadata.version(f"pulumi-{kind}")
    home = Path(environment.get("PULUMI_HOME") or Path.home() / ".pulumi")
    if shutil.which(f"pulumi-resource-{kind}") or (home / "plugins" / f"resource-{kind}-v{version}").is_dir():
        return
    raise UnderstudyError(
        where=f"Pulumi's plugin for {CLOUDS[kind]}",
        found="not on this computer",
        wanted=f"version {version}, as the Python package has it",
        todo=f"Run `./run pulumi plugin install resource {kind} v{version}`; it is some hundred MB.",
    )


def _examine(
    directory: Path, environment: Environment, placement: Placement, host: PlacedHost, say: Callable[[str], None]
) -> None:
    """Look at the account for a host; what it may have in a region is for all hosts there together."""
    beside = {each.name for each in placement.hosts if (each.kind, each.region) == (host.kind, host.region)}
    owner = mark(names.owner(environment.stack, state_place(os.environ)))
    settings, where = environment.settings.cloud, stack_file_name(environment.stack)
    wanted = _wanted(directory, placement, host.kind, beside)
    addresses = sum(count for count, _ in wanted.values()) if is_spread(placement) else 0
    if host.kind == "gcp":
        from provisioners.clouds import google, google_account

        found = google_account.log_in(project_of(settings, where), os.environ, Path.home())
        if found is None:
            say(f"Google {host.region}: its plugin alone can use these credentials; nothing is looked at")
            return
        others = {each.name for each in placement.hosts if each.kind == "gcp"} - beside
        more = sum(vcpus for _, vcpus in _wanted(directory, placement, "gcp", others).values())
        google.examine(found, host.region, host.image or GOOGLE_IMAGE, wanted, owner, say, addresses, more)
        return
    vcpus = {size: together for size, (_, together) in wanted.items()}
    if host.kind == "azure":
        from provisioners.clouds import azure, azure_account

        account = azure_account.log_in(subscription_of(settings, where), os.environ)
        azure.examine(account, host.region, host.image, vcpus, owner, say)
    else:
        from provisioners.clouds import aws

        image = host.image or AWS_IMAGE
        aws.examine(
            host.region, image.owner, image.name, vcpus, owner, say, addresses, _rules(settings, placement, host)
        )


def _rules(settings: CloudSettings, placement: Placement, host: PlacedHost) -> int:
    """Return for how many networks a fence in AWS has rules that let them in; its own machines are one more."""
    sources = (*settings.ssh_from, *tunnel_sources(settings, placement))
    own = {place.name for place in placement.machines if place.host == host.name}
    return len(sources) + len({*rented(placement)} - own) + 1


def _wanted(directory: Path, placement: Placement, kind: str, hosts: Collection[str]) -> dict[str, tuple[int, int]]:
    """Return of each size in a cloud how many machines there are on some hosts, and the vCPUs of all of them."""
    sizes = read_price_table(directory, kind).sizes
    many = Counter(place.instance_type for place in placement.machines if place.host in hosts)
    return {name: (count, count * sizes[name].vcpus) for name, count in many.items()}
