"""The application's own checks: pages that must come, and what the report says of everything."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi import Output, ResourceOptions

from components.resources import HttpCheck, Reached
from components.site import Site
from model.placing import built_machines
from model.topology import HttpPage


class Checks(pulumi.ComponentResource):
    """Asks for each service's own pages, then for the environment's, one after the other.

    One after the other because a page may stop a unit while it is asked for. Of machines that were there before us,
    only their services' own pages are asked for, and nothing is stopped.

    Args:
        machines: how each is reached.
        after: what must run before anything is asked for.
        data: what identifies the data of each store; other data is asked for anew.
        changes: what identifies the change that made each service what it is; after another one, all are asked for
            anew: any service may matter to any page.

    Attributes:
        results: each with name, ok, detail and seconds.
    """

    results: tuple[Mapping[str, Any], ...]

    def __init__(
        self,
        name: str,
        site: Site,
        machines: Mapping[str, Reached],
        after: tuple[pulumi.Resource, ...],
        data: tuple[Output[str], ...],
        changes: tuple[Output[str], ...],
        opts: ResourceOptions,
    ) -> None:
        super().__init__("understudy:components:Checks", name, None, opts)
        self._machines = machines
        self._again: Output[Any] | None = Output.all(*data, *changes).apply(_identified) if data or changes else None
        self._built = {machine.name for machine in built_machines(site.environment.topology.machines)}
        checks = self._ask_own(site, after)
        before = tuple(checks.values()) or after
        for page in site.environment.topology.pages:
            if page.via in self._built:
                checks[page.name] = self._ask(page.name, page.via, self._page(page), before)
                before = (checks[page.name],)
        self.results = tuple(
            {"name": name, "ok": check.ok, "detail": check.detail, "seconds": check.seconds}
            for name, check in checks.items()
        )
        self.register_outputs({})

    def _ask_own(self, site: Site, after: tuple[pulumi.Resource, ...]) -> dict[str, HttpCheck]:
        """Ask for each service's own pages: all others after the first, which waits for everything.

        If each waited for everything, a hundred machines would make ten thousand dependencies, each of which costs
        time in every preview.
        """
        own: dict[str, HttpCheck] = {}
        pages = (
            (machine, rendered.service.name, page)
            for machine, services in site.services.items()
            for rendered in services
            for page in rendered.pages
        )
        for machine, service, page in pages:
            name = f"{machine}-{service}-{page.name}"
            inputs = {"url": page.url, "expect_status": page.status, "expect_text": page.text}
            own[name] = self._ask(name, machine, inputs, tuple(own.values())[:1] or after)
        return own

    def _ask(self, name: str, machine: str, inputs: Mapping[str, Any], after: tuple[pulumi.Resource, ...]) -> HttpCheck:
        at = self._machines[machine]
        again = {} if self._again is None else {"recheck_on": self._again}
        check = HttpCheck(name, at, inputs={**inputs, **again}, opts=at.options(self, *after))
        # All others depend on the first one in place of everything: see _ask_own.
        self._again = None if self._again is None else check.recheck_on
        return check

    def _page(self, page: HttpPage) -> dict[str, Any]:
        stopping = [entry.split("/", 1) for entry in page.stopping]
        return {
            "url": page.url,
            "expect_status": 200,
            "expect_text": page.text,
            "stopping": [
                {"connection": self._machines[machine].connection, "unit": unit}
                for machine, unit in stopping
                if machine in self._built
            ],
        }


def _identified(known: Sequence[str]) -> list[str]:
    """Return one text in place of many; in a preview, what is not known yet leaves it unknown."""
    return [hashlib.sha256("\n".join(str(each) for each in known).encode()).hexdigest()]
