"""What the stack shows in the end: its outputs, and the page with everything on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pulumi import Output, ResourceOptions

from components.checks import Checks
from components.gate import alarms_of
from components.machine import Machine
from components.resources import Report
from components.seed import Seed
from components.site import Site
from model import topology
from model.evidence import document_values, drawn_machines


def build_report(
    site: Site,
    machines: Mapping[str, Machine],
    seeds: Mapping[str, Seed],
    checks: Checks,
    directory: Path,
    opts: ResourceOptions,
) -> dict[str, Any]:
    """Build the page, and return the stack's outputs."""
    environment = site.environment
    folder = directory / "reports" / environment.stack
    document = document_values(
        environment.topology,
        stack=environment.stack,
        mirror_of=environment.mirror_of,
        machines={name: _shown(machine) for name, machine in machines.items()},
        restores=[_restore(site, name, seed) for name, seed in seeds.items() if seed.restored],
        checks=list(checks.results),
        notes=[accelerator_line(site)],
        alarms=alarms_of(site, directory),
    )
    path = str(folder / "report.html")
    report = Report("report", path=path, document=document, drills_path=str(folder / "drills.jsonl"), opts=opts)
    return {
        "machines": _machines(site, machines),
        "accelerator": accelerator_line(site),
        "seeds": {
            name: {key: told for key, told in seed.told.items() if key != "checks"} for name, seed in seeds.items()
        },
        "checks": {
            **{name: seed.told["checks"].apply(check_lines) for name, seed in seeds.items()},
            "pages": Output.all(*checks.results).apply(check_lines),
        },
        "report": report.path,
        **({"names": _names(site, machines)} if site.environment.copy else {}),
    }


def check_lines(checks: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return each check's result in a few words, by its name.

    >>> check_lines([{"name": "front", "ok": True, "detail": "200", "seconds": 0.25}])
    {'front': 'ok, 0.25 s: 200'}
    """
    lines = {}
    for check in checks:
        took = f", {check['seconds']:.2f} s" if check.get("seconds") is not None else ""
        detail = f": {check['detail']}" if check.get("detail") else ""
        lines[str(check["name"])] = f"{'ok' if check['ok'] else 'FAILED'}{took}{detail}"
    return lines


def accelerator_line(site: Site) -> str:
    """Return in one line how processors are run, and why."""
    return f"{site.placement.accelerator.kind}: {site.placement.accelerator.reason}"


def _shown(machine: Machine) -> dict[str, Any]:
    built = machine.built
    return {
        "host": built.host,
        "backend": built.backend,
        "control_address": built.control_address,
        "started": built.started,
        "started_reason": built.reason,
        "boot_seconds": built.boot_seconds,
    }


def _restore(site: Site, name: str, seed: Seed) -> dict[str, Any]:
    store = next(store for store in site.environment.topology.stores if store.name == name)
    described = {"store": name, "engine": store.engine, "version": store.version, "machine": store.primary}
    return {**described, **seed.told}


def _machines(site: Site, machines: Mapping[str, Machine]) -> dict[str, Any]:
    roles = {
        drawn["name"]: ", ".join([*drawn["roles"], *(["spare"] if drawn["spare"] else [])])
        for drawn in drawn_machines(site.environment.topology)
    }
    return {
        machine.name: {
            "address": str(machine.address),
            "role": roles[machine.name],
            **(_started(machines[machine.name]) if machine.name in machines else _existing(site, machine)),
        }
        for machine in site.environment.topology.machines
    }


def _names(site: Site, machines: Mapping[str, Machine]) -> dict[str, Any]:
    """Return where prod's names are to lead from now on: what is typed into the DNS of whoever serves the domain."""
    domain = site.environment.topology.domain
    return {f"{name}.{domain}": machine.built.control_address for name, machine in machines.items()}


def _existing(site: Site, machine: topology.Machine) -> dict[str, str]:
    """Return what is done to a machine that was there before us."""
    changed = ", ".join(each.service.name for each in site.services.get(machine.name, ()))
    alone = ", ".join(site.left_alone.get(machine.name, ()))
    told = f"left alone, but for its services: {changed}" if changed else "left alone"
    return {"existing": f"{told}; not described, since its files hold a store's password: {alone}" if alone else told}


def _started(machine: Machine) -> dict[str, Any]:
    built = machine.built
    return {"control_address": built.control_address, "started": built.started, "why": built.reason}
