"""A service on one machine: its files, then its units."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi import Output, ResourceOptions

from components.resources import File, Reached, Unit
from components.templates import RenderedService, with_secrets


class Service(pulumi.ComponentResource):
    """A service of the site, as its folder describes it, on one machine.

    Args:
        at: the machine.
        passwords: secrets that its files may hold, by the store's name.
        after: what must be there before its units start; its files do not wait.

    Attributes:
        units: what runs in the end.
    """

    units: tuple[Unit, ...]

    def __init__(
        self,
        at: Reached,
        rendered: RenderedService,
        passwords: Mapping[str, Output[str]],
        after: tuple[pulumi.Resource, ...],
        opts: ResourceOptions,
    ) -> None:
        service = rendered.service
        super().__init__("understudy:components:Service", f"{at.name}-{service.name}", None, opts)
        files = {
            text.file.path: File(
                f"{at.name}:{text.file.path}",
                at,
                path=text.file.path,
                content=with_secrets(text.content, passwords),
                mode=text.file.mode,
                owner=text.file.owner,
                group=text.file.group,
                validate=text.file.validate,
                reload=text.file.reload,
                opts=at.options(self),
            )
            for text in rendered.files
            if not text.file.absent
        }
        self.units = tuple(
            Unit(
                f"{at.name}:{unit.unit}",
                at,
                unit=unit.unit,
                restart_on=[files[path].digest for path in unit.restart_on if path in files],
                opts=at.options(self, *files.values(), *after),
            )
            for unit in service.units
        )
        self.register_outputs({})
