"""What is looked at before machines are made in clouds: who could get in, and the account."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from components.files import backend_url
from components.price_tables import read_price_table
from model import names
from model.capacity import CLOUDS
from model.configuration import stack_file_name
from model.environment import Environment
from model.errors import UnderstudyError
from model.placement import PlacedHost, Placement
from model.rented import AWS_IMAGE, mark

BUILT = ("aws", "gcp")
"""The clouds that machines can be built in."""


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
        UnderstudyError: there is no backend, nobody could get in, or the account lacks something.
    """
    for host in placement.hosts:
        if host.kind not in CLOUDS:
            continue
        _refuse_unbuilt(environment, host)
        if account:
            _refuse_no_plugin(host.kind, os.environ)
            _examine(directory, environment, placement, host, say)


def _refuse_unbuilt(environment: Environment, host: PlacedHost) -> None:
    if host.kind not in BUILT:
        raise UnderstudyError(
            where=f"host {host.name}",
            found=f"machines in {CLOUDS[host.kind]}",
            wanted=f"another cloud: machines can be built in {', '.join(CLOUDS[kind] for kind in BUILT)}",
            todo=f"Strike it from Capacity.yaml, then `./run understudy place --again -s {environment.stack}`.",
        )
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
    if host.kind == "gcp":
        from provisioners.clouds import google

        google.examine(os.environ, Path.home())
        return
    from provisioners.clouds import aws

    sizes = read_price_table(directory, host.kind).sizes
    wanted: dict[str, int] = {}
    for place in placement.machines:
        if place.host == host.name:
            wanted[place.instance_type] = wanted.get(place.instance_type, 0) + sizes[place.instance_type].vcpus
    owner = mark(names.owner(environment.stack, backend_url(os.environ)))
    image = host.image or AWS_IMAGE
    aws.examine(host.region, image.owner, image.name, wanted, owner, say)
