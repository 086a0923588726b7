"""Everything that one stack is to be, read from the project's files and checked, before anything is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from components import files, strict_yaml
from components.engines import engine_services
from components.templates import RenderedEngine, RenderedService, Renderer, marks
from model import names
from model.change.digest import machine_digest, machine_name
from model.configuration import read_environment, stack_file_name, with_pulumi_values
from model.environment import Environment
from model.errors import ConfigurationError, Fault, UnderstudyError
from model.limits import Sizes
from model.packages import PackageLock, lock_fault
from model.placement import Placement, file_name, read_placement
from model.placing import built_machines, decide_small_disks
from model.readers import meant, one_of, show
from model.service import Service
from model.service_reader import read_service
from model.topology import Machine, Store
from model.tunnels import refuse_unfit


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One stack, read whole.

    Args:
        owner: the mark on everything that is made for the stack.
        services: what runs on each machine, by the machine's name; also on those that exist.
        left_alone: services on machines that exist whose files hold a store's password, by the machine's name: it is
            not known here, or another than the one that is there.
        engines: how the engine of each store that we build is set up, by the store's name.
    """

    environment: Environment
    placement: Placement
    owner: str
    services: Mapping[str, tuple[RenderedService, ...]]
    engines: Mapping[str, RenderedEngine]
    left_alone: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def digests(self) -> dict[str, str]:
        """Return the digest of each service that we put on machines, engines of stores included, and of machines."""
        rendered = {each.service.name: each.digest for services in self.services.values() for each in services}
        engines = {each.service: each.digest for each in self.engines.values() if each.service}
        sizes = ((machine.name, self.environment.sizes(machine.name)) for machine in self._built)
        machines = {machine_name(name): machine_digest(name, each) for name, each in sizes}
        return dict(sorted((rendered | engines | machines).items()))

    @property
    def _built(self) -> tuple[Machine, ...]:
        return built_machines(self.environment.topology.machines)

    @property
    def unshared(self) -> frozenset[str]:
        """Return the services of which no change can be rehearsed: no mirror runs them, or stores alone take them."""
        every = [each.service for services in self.services.values() for each in services]
        engines = {engine.service for engine in self.engines.values() if engine.service}
        unmirrored = (service.name for service in every if not service.mirrored)
        return frozenset((*unmirrored, *(engines - {service.name for service in every})))


def read_site(
    directory: Path,
    stack: str,
    state_place: str,
    config: Mapping[str, str | None] | None,
    before: Sizes | None = None,
) -> Site:
    """Return all that a stack is to be.

    Args:
        directory: the project's.
        stack: its name.
        state_place: where the stack's state is kept; a part of the mark on what is made.
        config: what Pulumi has for each of ``model.configuration.KEYS``; None takes what stands in the stack's file.
        before: the sizes of machines before a change that is rehearsed, while it is taken back.

    Raises:
        ConfigurationError: with every fault of every file.
        UnderstudyError: the stack was not placed yet.
    """
    described = read_described(directory, stack, config, before)
    placement = _placement(directory, described.environment)
    return Site(
        environment=described.environment.at_copy(placement.offsite),
        placement=placement,
        owner=names.owner(stack, state_place),
        services=described.services,
        engines=described.engines,
        left_alone=described.left_alone,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the files say of a stack, before it is placed; as in `Site`."""

    environment: Environment
    services: Mapping[str, tuple[RenderedService, ...]]
    engines: Mapping[str, RenderedEngine]
    left_alone: Mapping[str, tuple[str, ...]]


def read_described(
    directory: Path, stack: str, config: Mapping[str, str | None] | None, before: Sizes | None = None
) -> Described:
    """Return what the files say of a stack: its own, and the folders of ``services/``; arguments as in `read_site`.

    Raises:
        ConfigurationError: with every fault of every file.
    """
    faults: list[Fault] = []
    services: Mapping[str, Service] = {}
    environment: Environment | None = None
    with _noting(faults):
        services = read_services(directory)
    with _noting(faults):
        environment = _environment(directory, stack, config, before)
    if environment is None:
        raise ConfigurationError(tuple(faults))
    sources = read_sources(directory, services)
    locks = read_package_locks(directory, services, faults)
    faults += _unknown_canaries(environment, services)
    renderer = Renderer(environment=environment, services=services, sources=sources, locks=locks, faults=faults)
    rendered, left_alone = _rendered(environment, services, renderer)
    stores = built_stores(environment)
    engines = {store.name: renderer.engine(store) for store in stores}
    for machine, service in engine_services(stores, services, renderer):
        others = (each for each in rendered[machine] if each.service.name != service.service.name)
        rendered[machine] = (*others, service)
    faults += _unknown_passwords(environment, rendered)
    faults += _without_root(environment, rendered)
    faults += _wrong_migrations(environment, services)
    if faults:
        raise ConfigurationError(tuple(dict.fromkeys(faults)))
    return Described(environment=environment, services=rendered, engines=engines, left_alone=left_alone)


def _rendered(
    environment: Environment, services: Mapping[str, Service], renderer: Renderer
) -> tuple[dict[str, tuple[RenderedService, ...]], dict[str, tuple[str, ...]]]:
    """Return what runs on each machine, and what is left alone there; a mirror leaves out what is for live data only.

    Left alone on machines that exist is what holds the password of a store.
    """
    rendered: dict[str, tuple[RenderedService, ...]] = {}
    left_alone: dict[str, tuple[str, ...]] = {}
    for machine in environment.topology.machines:
        every = [
            renderer.service(machine, services[name])
            for name in machine.services
            if name in services and (services[name].mirrored or not environment.mirror_of)
        ]
        alone = [each for each in every if machine.existing and each.stores]
        rendered[machine.name] = tuple(each for each in every if each not in alone)
        if alone:
            left_alone[machine.name] = tuple(each.service.name for each in alone)
    return rendered, left_alone


def read_services(directory: Path) -> dict[str, Service]:
    """Return the site's services by name.

    Raises:
        ConfigurationError: with every fault of every ``service.yaml``.
    """
    services: dict[str, Service] = {}
    faults: list[Fault] = []
    for folder in sorted(path for path in (directory / "services").glob("[a-z]*") if path.is_dir()):
        file = f"services/{folder.name}/service.yaml"
        if not (folder / "service.yaml").is_file():
            faults.append(
                Fault(file=file, key="the file", found="no such file", allowed="what the service consists of")
            )
            continue
        values, wrong = strict_yaml.parse(file, files.read_text(folder / "service.yaml"))
        faults += wrong
        if not wrong:
            with _noting(faults):
                services[folder.name] = read_service(file, folder.name, values)
    if faults:
        raise ConfigurationError(tuple(faults))
    return services


def read_package_locks(directory: Path, services: Mapping[str, Service], faults: list[Fault]) -> dict[str, PackageLock]:
    """Return the locks of those services that name packages, and note what is wrong with any."""
    locks: dict[str, PackageLock] = {}
    for service in services.values():
        with _noting(faults):
            lock = files.read_package_lock(directory, service.name)
            if fault := lock_fault(service, lock):
                faults.append(fault)
            elif lock:
                locks[service.name] = lock
    return locks


def _unknown_canaries(environment: Environment, services: Mapping[str, Service]) -> list[Fault]:
    """A canary that is no machine of the service would be skipped, and the change begin with all."""
    topology = environment.topology
    running = {name: {machine.name for machine in topology.machines if name in machine.services} for name in services}
    for store in topology.stores:
        for name, service in services.items():
            if service.engine and service.engine.engine == store.engine:
                running[name] |= {store.primary, *store.replicas}
    return [
        Fault(
            file=f"services/{name}/service.yaml",
            key="rollout.first",
            found=show(machine),
            allowed=f"{one_of(running[name])}{meant(machine, running[name])}",
        )
        for name, service in services.items()
        for machine in (service.rollout.first if isinstance(service.rollout.first, tuple) else ())
        if running[name] and machine not in running[name]
    ]


def _wrong_migrations(environment: Environment, services: Mapping[str, Service]) -> list[Fault]:
    """A migration is made on the primary of a PostgreSQL store, so its service has to be there."""
    stores = {store.name: store for store in environment.topology.stores if store.engine == "postgresql"}
    machines, faults = environment.topology.machines, list[Fault]()
    running = {name: [each.name for each in machines if name in each.services] for name in services}
    for name, service in services.items():
        for at, each in enumerate(service.migrations if running[name] else ()):
            allowed = ""
            if each.store not in stores:
                allowed = f"a PostgreSQL store: {one_of(stores)}"
            elif (primary := stores[each.store].primary) not in running[name]:
                allowed = f"a store whose primary runs {name}; {primary} does not"
            if allowed:
                file, key = f"services/{name}/service.yaml", f"migrations.{at}.store"
                faults.append(Fault(file=file, key=key, found=show(each.store), allowed=allowed))
    return faults


def built_stores(environment: Environment) -> tuple[Store, ...]:
    """Return the stores whose machines are all built by us; those on machines that exist are left alone."""
    built = {machine.name for machine in environment.topology.machines if machine.existing is None}
    return tuple(store for store in environment.topology.stores if {store.primary, *store.replicas} <= built)


def _unknown_passwords(environment: Environment, services: Mapping[str, tuple[RenderedService, ...]]) -> list[Fault]:
    """A service that we build can't log in to a store that we did not: nobody told us the password."""
    known = {store.name for store in built_stores(environment)}
    return [
        Fault(
            file=f"services/{rendered.service.name}/{text.file.source}",
            key=f"for {machine}",
            found=f"the password of the store {store}, whose machines exist",
            allowed=f"{machine} as an existing machine too, or passwords of stores that are built",
        )
        for machine, found in services.items()
        for rendered in found
        for text in rendered.files
        for store in sorted(marks(text.content) - known)
    ]


def _without_root(environment: Environment, services: Mapping[str, tuple[RenderedService, ...]]) -> list[Fault]:
    """Services are put on a machine by root."""
    return [
        Fault(
            file=stack_file_name(environment.stack),
            key=f"machines.{machine.name}.existing",
            found=f"{machine.existing.user}, who is not root, and has services: "
            f"{', '.join(each.service.name for each in services[machine.name])}",
            allowed="`sudo: true` (without a password), or `user: root`",
        )
        for machine in environment.topology.machines
        if machine.existing and machine.existing.user != "root" and not machine.existing.sudo and services[machine.name]
    ]


@contextmanager
def _noting(faults: list[Fault]) -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        faults.extend(error.faults)


def _environment(
    directory: Path, stack: str, config: Mapping[str, str | None] | None, before: Sizes | None
) -> Environment:
    found = files.stack_files(directory)
    if stack in found and config is not None:
        found[stack] = with_pulumi_values(found[stack], config)
    return read_environment(found, stack, services=files.service_names(directory), before=before)


def read_sources(directory: Path, services: Mapping[str, Service]) -> dict[str, str]:
    """Return the text of each file of the services, by ``service/file``; those that are missing are left out."""
    paths = {f"{service.name}/{source}" for service in services.values() for source in service.sources()}
    return {
        path: files.read_text(directory / "services" / path)
        for path in sorted(paths)
        if (directory / "services" / path).is_file()
    }


def _placement(directory: Path, environment: Environment) -> Placement:
    name = file_name(environment.stack)
    todo = f"Run `./run understudy place -s {environment.stack}`."
    if not (directory / name).is_file():
        raise UnderstudyError(where=name, found="there is no such file", wanted="the stack's placement", todo=todo)
    values, faults = strict_yaml.parse(name, files.read_text(directory / name))
    if faults:
        raise ConfigurationError(faults)
    placement = read_placement(name, values)
    built = {machine.name for machine in environment.topology.machines if machine.existing is None}
    if missing := sorted(built - {machine.name for machine in placement.machines}):
        raise UnderstudyError(
            where=name,
            found=f"no place for {', '.join(missing)}",
            wanted=f"every machine of {stack_file_name(environment.mirror_of or environment.stack)}",
            todo=todo,
        )
    if environment.settings.offsite and not placement.offsite:
        raise UnderstudyError(where=f"{name}: offsite", found="nothing", wanted="the copy that was taken", todo=todo)
    refuse_unfit(environment.stack, placement)
    if placement.needs_image:
        _check_image(name, environment, placement, todo)
    return placement


def _check_image(name: str, environment: Environment, placement: Placement, todo: str) -> None:
    own_image, wanted = placement.own_image, environment.topology.image
    taken = own_image.source if own_image else ""
    if taken != wanted:
        raise UnderstudyError(
            where=f"{name}: image", found=taken or "the project's", wanted=wanted or "the project's", todo=todo
        )
    if own_image and (small := decide_small_disks(environment.topology.machines, own_image)):
        raise UnderstudyError(
            where=f"{name}: image", found=f"{own_image.disk_mib} MiB", wanted=f"what fits: {', '.join(small)}"
        )
