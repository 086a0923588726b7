"""A service on one machine: one resource, so that it is changed and taken back as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi import Output, ResourceOptions

from components import resources
from components.resources import Reached
from components.templates import RenderedMigration, RenderedService
from model.packages import resting_place
from model.service_acts import ByHand
from model.tool import Tool


class Service(pulumi.ComponentResource):
    """A service of the site, as its folder describes it, on one machine.

    Args:
        at: the machine.
        passwords: secrets that its files may hold, by the store's name.
        after: what must be there before.
        adopt: on a machine that was there before us: whether the service was there as well, so that the first update
            only takes it for what it is; None on a machine that we build.
        aside: further inputs that are no part of what it is: where words are signed, how long restores take.

    Attributes:
        there: what is there in the end.
    """

    there: resources.Service

    def __init__(
        self,
        at: Reached,
        rendered: RenderedService,
        passwords: Mapping[str, Output[str]],
        after: tuple[pulumi.Resource, ...],
        opts: ResourceOptions,
        adopt: bool | None = None,
        aside: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__("understudy:components:Service", f"{at.name}-{rendered.service.name}", None, opts)
        inputs = {**service_inputs(rendered), "secrets": _secrets(rendered, passwords), **(aside or {})}
        options = at.options(self, *after)
        if adopt is not None:
            inputs["adopt"] = adopt
            options = ResourceOptions.merge(options, ResourceOptions(protect=True, retain_on_delete=True))
        name = f"{at.name}:{rendered.service.name}"
        self.there = resources.Service(name, at, inputs=inputs, opts=options)
        self.register_outputs({})


def service_inputs(rendered: RenderedService) -> dict[str, Any]:
    """Return what a service is to be on a machine, marks for its secrets included."""
    service = rendered.service
    return {
        "service": service.name,
        "packages": {
            package.name: {"version": package.version, "sha256": package.sha256, "source": resting_place(package)}
            for package in rendered.packages
        },
        "files": {
            text.file.path: {"absent": True}
            if text.file.absent
            else {"content": text.content, "mode": text.file.mode, "owner": text.file.owner, "group": text.file.group}
            for text in rendered.files
        },
        "validate": {file.path: list(file.validate) for file in service.files if file.validate},
        "reload": {file.path: file.reload for file in service.files if file.reload},
        "units": {unit.unit: {"restart_on": list(unit.restart_on)} for unit in service.units},
        "checks": [
            {"name": check.name, "command": list(check.command), "prints": check.prints} for check in rendered.checks
        ],
        **({"tool": _tool(service.tool)} if service.tool else {}),
        **({"by_hand": [_by_hand(each) for each in rendered.by_hand]} if rendered.by_hand else {}),
        **({"migrations": [_migration(each) for each in rendered.migrations]} if rendered.migrations else {}),
        "confirm_seconds": service.confirm_seconds,
        "digest": rendered.digest,
    }


def _by_hand(each: ByHand) -> dict[str, Any]:
    values = {"needs": list(each.needs), "check": list(each.check), "prints": each.prints, "back_out": each.back_out}
    return {"name": each.name, "text": each.text, **{key: value for key, value in values.items() if value}}


def _migration(each: RenderedMigration) -> dict[str, Any]:
    return {
        "name": each.name,
        "store": each.store.name,
        "version": each.store.version,
        "port": each.port,
        "database": each.store.database,
        "owner": each.store.owner,
        "up": each.up,
        **({} if each.back_out is None else {"back_out": each.back_out}),
    }


def _tool(tool: Tool) -> dict[str, Any]:
    return {
        "kind": tool.kind,
        "path": tool.path,
        "files": list(tool.files),
        "packages": list(tool.packages),
        "units": list(tool.units),
    }


def _secrets(rendered: RenderedService, passwords: Mapping[str, Output[str]]) -> dict[str, Output[str]]:
    """Return the secrets whose marks the files have, by what stands between the mark's signs."""
    return {f"password of {store}": Output.secret(passwords[store]) for store in sorted(rendered.stores)}
