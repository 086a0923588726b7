"""Before the first `up` of services on machines that were there before us: they must be there as Git has them.

It is looked at before the gate records them as what the stack begins with.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from components.files import state_place
from components.gate import own_log
from components.service import service_inputs
from components.site import Site, read_site
from components.templates import RenderedService
from model.change.gate import adopts
from model.change.went_round import SERVICE
from model.connection import existing_way
from model.environment import Environment
from model.errors import UnderstudyError
from model.topology import Machine
from provisioners.changes.adopting import refuse_other
from provisioners.changes.apply import observe
from provisioners.shell import connect

_PATIENCE_SECONDS = 20.0
_AT_ONCE = 16


def refuse_others(directory: Path, environment: Environment, deployment: Mapping[str, Any]) -> None:
    """See that what is about to become ours is as Git has it.

    Args:
        directory: the project's.
        environment: the stack, placed.
        deployment: its state, as `pulumi stack export` printed it, parsed.

    Raises:
        UnderstudyError: a service is other, or its machine does not answer.
    """
    site = read_site(directory, environment.stack, state_place(os.environ), None)
    new = _new(site, directory, deployment)
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        found = [text for text in pool.map(lambda each: _other(*each), new) if text]
    if found:
        raise UnderstudyError(where=f"stack {environment.stack}", found="\n\n".join(found))


def _new(site: Site, directory: Path, deployment: Mapping[str, Any]) -> list[tuple[Machine, RenderedService]]:
    resources = (deployment.get("deployment") or {}).get("resources") or ()
    known = {each["urn"].rpartition("::")[2] for each in resources if each.get("type") == SERVICE}
    own = own_log(site, directory)
    return [
        (machine, rendered)
        for machine in site.environment.topology.machines
        if machine.existing
        for rendered in site.services[machine.name]
        if f"{machine.name}:{rendered.service.name}" not in known and adopts(own, rendered.service.name)
    ]


def _other(machine: Machine, rendered: RenderedService) -> str:
    way = existing_way(machine)
    inputs = {**service_inputs(rendered), "connection": way.values()}
    try:
        with connect(way, "", lambda _: None, _PATIENCE_SECONDS) as shell:
            refuse_other(shell, inputs, observe(shell, inputs))
    except UnderstudyError as error:
        return str(error)
    return ""
