"""The service that sets up the database servers of stores: on each of their machines, like any other service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from components.templates import RenderedEngine, RenderedFile, RenderedService, Renderer
from model import mariadb, postgresql
from model.errors import Fault
from model.service import CommandCheck, Service, ServiceFile, ServiceUnit
from model.topology import Machine, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """A store's server on one machine.

    Args:
        files: those that are the site's own, each with its text.
        restart_on: paths of those for which it is restarted.
        checks: a name, a command, and the line that it prints.
    """

    unit: str
    files: tuple[tuple[ServiceFile, str], ...]
    restart_on: tuple[str, ...]
    checks: tuple[tuple[str, tuple[str, ...], str], ...]


def engine_services(
    stores: Iterable[Store], services: Mapping[str, Service], renderer: Renderer
) -> Iterator[tuple[str, RenderedService]]:
    """Give each machine with the service that sets up a store's engine there; it belongs to the machine as others do.

    Args:
        stores: those that we build.
        services: the site's, by name.
        renderer: of the environment; what cannot be rendered is noted there.
    """
    topology, mirror = renderer.environment.topology, bool(renderer.environment.mirror_of)
    for store in stores:
        engine = renderer.engine(store)
        service = services.get(engine.service)
        if store.engine == "files" or service is None or (mirror and not service.mirrored):
            continue
        for name in (store.primary, *store.replicas):
            yield name, _on_machine(topology.machine(name), store, service, engine, renderer)


def _on_machine(
    machine: Machine, store: Store, service: Service, engine: RenderedEngine, renderer: Renderer
) -> RenderedService:
    """Return the service with the server's files, unit and checks before its own."""
    rendered = renderer.service(machine, service, store)
    try:
        server = _mariadb(engine) if store.engine == "mariadb" else _postgresql(machine, store, engine, renderer)
    except ValueError as error:
        place = f"services/{service.name}/service.yaml"
        allowed = "one line each" if store.engine == "postgresql" else "names and values of an option file"
        renderer.faults.append(Fault(file=place, key="store.settings", found=str(error), allowed=allowed))
        return rendered
    return replace(
        rendered,
        service=replace(
            service,
            files=(*(file for file, _ in server.files), *service.files),
            units=_units(server, service),
        ),
        needs_stores=True,
        files=(*(RenderedFile(file=file, content=text) for file, text in server.files), *rendered.files),
        checks=(
            *(CommandCheck(name=name, command=command, prints=prints) for name, command, prints in server.checks),
            *rendered.checks,
        ),
    )


def _postgresql(machine: Machine, store: Store, engine: RenderedEngine, renderer: Renderer) -> _Server:
    settings, version = dict(engine.settings), store.version
    topology, is_replica = renderer.environment.topology, machine.name != store.primary
    replicas = () if is_replica else tuple(str(topology.machine(name).address) for name in store.replicas)
    texts = postgresql.site_files(version, settings, engine.hba, replicas)
    return _Server(
        unit=postgresql.unit_name(version),
        files=tuple((_file(path, version, replica=is_replica), text) for path, text in texts.items()),
        restart_on=(postgresql.restarted_path(version),),
        checks=postgresql.checks(version, settings.get("port", "5432")),
    )


def _mariadb(engine: RenderedEngine) -> _Server:
    """MariaDB reads its files when it starts, and only then."""
    file = ServiceFile(path=mariadb.SITE_PATH, validate=mariadb.validation())
    return _Server(
        unit=mariadb.UNIT,
        files=((file, mariadb.site_text(dict(engine.settings))),),
        restart_on=(mariadb.SITE_PATH,),
        checks=mariadb.checks(),
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


def _units(server: _Server, service: Service) -> tuple[ServiceUnit, ...]:
    """Return the service's units with the server's, which may be restarted for files of the service's own as well."""
    own = [path for each in service.units if each.unit == server.unit for path in each.restart_on]
    first = ServiceUnit(unit=server.unit, restart_on=(*server.restart_on, *own))
    return (first, *(each for each in service.units if each.unit != server.unit))
