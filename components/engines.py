"""The service that sets up the PostgreSQL servers of stores: on each of their machines, like any other service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from components.templates import RenderedEngine, RenderedFile, RenderedService, Renderer
from model import postgresql
from model.errors import Fault
from model.service import CommandCheck, Service, ServiceFile, ServiceUnit
from model.topology import Machine, Store


def engine_services(
    stores: Iterable[Store], services: Mapping[str, Service], renderer: Renderer
) -> dict[str, RenderedService]:
    """Return, by machine, the service that sets up the store's engine there; it belongs to the machine as others do.

    Of other engines than PostgreSQL the stores themselves write the settings.

    Args:
        stores: those that we build.
        services: the site's, by name.
        renderer: of the environment; what cannot be rendered is noted there.
    """
    found: dict[str, RenderedService] = {}
    topology, mirror = renderer.environment.topology, bool(renderer.environment.mirror_of)
    for store in stores:
        engine = renderer.engine(store)
        service = services.get(engine.service)
        if store.engine != "postgresql" or service is None or (mirror and not service.mirrored):
            continue
        for name in (store.primary, *store.replicas):
            found[name] = _on_machine(topology.machine(name), store, service, engine, renderer)
    return found


def _on_machine(
    machine: Machine, store: Store, service: Service, engine: RenderedEngine, renderer: Renderer
) -> RenderedService:
    """Return the service with the server's files, unit and checks before its own."""
    rendered, settings = renderer.service(machine, service, store), dict(engine.settings)
    topology, is_replica = renderer.environment.topology, machine.name != store.primary
    replicas = () if is_replica else tuple(str(topology.machine(name).address) for name in store.replicas)
    texts: dict[str, str] = {}
    try:
        texts = postgresql.site_files(store.version, settings, engine.hba, replicas)
    except ValueError as error:
        place = f"services/{service.name}/service.yaml"
        renderer.faults.append(Fault(file=place, key="store.settings", found=str(error), allowed="one line each"))
    files = tuple(_file(path, store.version, replica=is_replica) for path in texts)
    checks = postgresql.checks(store.version, settings.get("port", "5432"))
    return replace(
        rendered,
        service=replace(service, files=(*files, *service.files), units=_units(store.version, service)),
        needs_stores=True,
        files=(*(RenderedFile(file=file, content=texts[file.path]) for file in files), *rendered.files),
        checks=(
            *(CommandCheck(name=name, command=command, prints=prints) for name, command, prints in checks),
            *rendered.checks,
        ),
    )


def _file(path: str, version: str, *, replica: bool) -> ServiceFile:
    restarts = path == postgresql.restarted_path(version)
    return ServiceFile(
        path=path,
        mode="0640",
        owner="postgres",
        group="postgres",
        validate=postgresql.validation(version, path, replica=replica),
        reload="" if restarts else postgresql.unit_name(version),
    )


def _units(version: str, service: Service) -> tuple[ServiceUnit, ...]:
    """Return the service's units with the server's, which may be restarted for files of the service's own as well."""
    name, others = postgresql.unit_name(version), service.units
    own = [path for each in others if each.unit == name for path in each.restart_on]
    server = ServiceUnit(unit=name, restart_on=(postgresql.restarted_path(version), *own))
    return (server, *(each for each in others if each.unit != name))
