"""The gate of a stack that mirrors nothing: everything else of it depends on this one resource."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pulumi
from pulumi import ResourceOptions, ResourceTransformation, ResourceTransformationArgs, ResourceTransformationResult

from components import resources
from components.site import Site
from model.change.gate import Evidence, alarms, has_become_mirror, let_through
from model.evidence.chain import Log, file_name, read_log


def build_gate(site: Site, directory: Path, opts: ResourceOptions) -> resources.Gate | None:
    """Build the gate; a mirror has none: there changes are tried. A stack that had one stays no mirror.

    Args:
        site: the stack.
        directory: the project's.
        opts: of the gate itself.

    Raises:
        UnderstudyError: the stack has become a mirror.
    """
    if site.environment.mirror_of:
        if let_through(own_log(site, directory)) is not None:
            raise has_become_mirror(site.environment.stack, f"{file_name(site.environment.stack)} has its baseline")
        return None
    rules = site.environment.settings.gate
    inputs = {
        "stack": site.environment.stack,
        "rehearsed_on": rules.evidence,
        "services": dict(site.digests),
        "unshared": sorted(site.unshared),
        "least_faithful": rules.least_faithful,
        "most_seed_age_seconds": rules.most_seed_age_seconds,
        "project_directory": str(directory),
    }
    return resources.Gate("gate", inputs=inputs, opts=opts)


def behind(gate: Callable[[], resources.Gate | None]) -> ResourceTransformation:
    """Return what lets every resource wait for the gate, also one that somebody adds later."""

    def wait(args: ResourceTransformationArgs) -> ResourceTransformationResult | None:
        found = gate()
        if found is None or not isinstance(args.resource, pulumi.CustomResource):
            return None
        opts = ResourceOptions.merge(args.opts, ResourceOptions(depends_on=[found]))
        return ResourceTransformationResult(props=args.props, opts=opts)

    return wait


def own_log(site: Site, directory: Path) -> Log:
    """Return the stack's own log of evidence; its signatures are the gate's to verify."""
    return _log(directory, site.environment.stack)


def alarms_of(site: Site, directory: Path) -> tuple[str, ...]:
    """Return what the report must not let anybody overlook. The gate verifies signatures; here they are taken as good.

    An emergency record that nobody has used yet is the preview's to tell: the report has no clock.
    """
    environment = site.environment
    if environment.mirror_of:
        return ()
    own, rehearsals = (_log(directory, stack) for stack in (environment.stack, environment.settings.gate.evidence))
    late = datetime.max.replace(tzinfo=UTC)
    return alarms(Evidence(own=own, rehearsals=rehearsals, rules=environment.settings.gate, now=late))


def _log(directory: Path, stack: str) -> Log:
    path = directory / file_name(stack)
    return read_log(path.read_bytes() if path.is_file() else b"", stack, lambda _: "")
