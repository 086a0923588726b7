"""Renders a site's templates for one machine. Secrets stay out of them: a mark stands for each until the very end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

import jinja2
from jinja2 import meta

from model.change.digest import service_digest
from model.environment import Environment
from model.errors import Fault
from model.packages import Package, PackageLock
from model.service import CommandCheck, EngineSettings, PageCheck, Service, ServiceFile
from model.service_acts import RESTORE, ByHand
from model.topology import Backup, Heartbeat, Machine, Store

_MARK = re.compile(r"@@password of ([a-z][a-z0-9-]*)@@")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreView:
    """A store as templates see it: its machines instead of their names, and a mark for its password."""

    name: str
    engine: str
    version: str
    database: str
    owner: str
    primary: Machine
    replicas: tuple[Machine, ...]
    heartbeat: Heartbeat | None
    backup: Backup | None

    @property
    def machines(self) -> tuple[Machine, ...]:
        """Return the primary, then the replicas."""
        return (self.primary, *self.replicas)

    @property
    def password(self) -> str:
        """Return the mark in whose place the machine puts the owner's password."""
        return f"@@password of {self.name}@@"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedFile:
    """What a file on a machine is to contain, marks included; nothing where it is to be absent."""

    file: ServiceFile
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedMigration:
    """A migration on the primary of its store.

    Args:
        back_out: the SQL that takes it back; None where only a restore does.
    """

    name: str
    store: Store
    port: str
    up: str
    back_out: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedService:
    """A service's texts for one machine; files, pages and checks in the service's own order.

    Args:
        digest: of the service as Git has it, before an environment's own values are filled in.
        needs_stores: its texts speak of stores: it has no use before those of its machine are there.
    """

    service: Service
    digest: str
    needs_stores: bool
    packages: tuple[Package, ...]
    files: tuple[RenderedFile, ...]
    pages: tuple[PageCheck, ...]
    checks: tuple[CommandCheck, ...]
    by_hand: tuple[ByHand, ...] = ()
    migrations: tuple[RenderedMigration, ...] = ()

    @property
    def stores(self) -> frozenset[str]:
        """Return the names of the stores whose passwords its files are to hold."""
        return frozenset(store for text in self.files for store in marks(text.content))


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedEngine:
    """How a store's engine is set up.

    Args:
        service: the service that says so; empty where the site has none for it.
        digest: of that service, as of any other.
    """

    settings: tuple[tuple[str, str], ...]
    hba: tuple[str, ...]
    init: str
    service: str = ""
    digest: str = ""


def store_view(environment: Environment, store: Store) -> StoreView:
    """Return the store as templates see it."""
    machine = environment.topology.machine
    return StoreView(
        name=store.name,
        engine=store.engine,
        version=store.version,
        database=store.database,
        owner=store.owner,
        primary=machine(store.primary),
        replicas=tuple(machine(name) for name in store.replicas),
        heartbeat=store.heartbeat,
        backup=store.backup,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """Renders everything of one environment, and notes what it could not.

    Args:
        services: the site's services by name.
        sources: the text of each file of a service, by ``service/file``.
        locks: the locks of those services that have packages.
        faults: where what could not be rendered is noted.
    """

    environment: Environment
    services: Mapping[str, Service]
    sources: Mapping[str, str]
    locks: Mapping[str, PackageLock]
    faults: list[Fault]

    def service(self, machine: Machine, service: Service, store: Store | None = None) -> RenderedService:
        """Return the service's texts for a machine; where it sets up a store there, they may speak of `store`."""
        own = {"store": store_view(self.environment, store)} if store else {}
        values = self._values(machine=machine, **own)
        place = f"services/{service.name}/service.yaml"
        pages = tuple(
            replace(
                page,
                url=self._text(place, f"checks.{page.name}.url", page.url, values),
                text=self._text(place, f"checks.{page.name}.text", page.text, values),
            )
            for page in service.pages
        )
        checks = tuple(
            replace(
                check,
                command=tuple(
                    self._text(place, f"checks.{check.name}.command.{index}", word, values)
                    for index, word in enumerate(check.command)
                ),
                prints=self._text(place, f"checks.{check.name}.prints", check.prints, values),
            )
            for check in service.checks
        )
        files = tuple(
            RenderedFile(file=file, content="" if file.absent else self._source(service.name, file.source, values))
            for file in service.files
        )
        return RenderedService(
            service=service,
            digest=self._digest(service),
            needs_stores=bool(service.migrations)
            or any(
                source.endswith(".j2") and _speaks_of_stores(self.sources.get(f"{service.name}/{source}", ""))
                for source in service.sources()
            ),
            packages=self._lock(service).packages,
            files=files,
            pages=pages,
            checks=checks,
            by_hand=self._by_hand(place, service, values),
            migrations=tuple(self._migrations(machine, service)),
        )

    def _by_hand(self, place: str, service: Service, values: Mapping[str, object]) -> tuple[ByHand, ...]:
        return tuple(
            replace(
                each,
                text=self._text(place, f"by_hand.{each.name}.text", each.text, values),
                check=tuple(self._text(place, f"by_hand.{each.name}.check", word, values) for word in each.check),
                prints=self._text(place, f"by_hand.{each.name}.prints", each.prints, values),
            )
            for each in service.by_hand
        )

    def _migrations(self, machine: Machine, service: Service) -> Iterator[RenderedMigration]:
        """Yield those whose store's primary a machine is; SQL is no template."""
        stores = {store.name: store for store in self.environment.topology.stores}
        for each in service.migrations:
            store = stores.get(each.store)
            if store is None or store.primary != machine.name:
                continue
            yield RenderedMigration(
                name=each.name,
                store=store,
                port=dict(self.engine(store).settings).get("port", "5432"),
                up=self._source(service.name, each.up, {}),
                back_out=None if each.back_out == RESTORE else self._source(service.name, each.back_out, {}),
            )

    def _lock(self, service: Service) -> PackageLock:
        return self.locks.get(service.name, PackageLock())

    def _digest(self, service: Service) -> str:
        return service_digest(service, self.sources, self._lock(service).digests(), self._places(service))

    def _places(self, service: Service) -> dict[str, object]:
        """Return on which machines a service is, and which stores it sets up; a mirror has them from what it mirrors.

        Addresses and sizes are an environment's own, and the same change elsewhere.
        """
        topology, engine = self.environment.topology, service.engine
        stores = [store for store in topology.stores if engine and store.engine == engine.engine]
        return {
            "machines": sorted(machine.name for machine in topology.machines if service.name in machine.services),
            "stores": {
                store.name: [store.engine, store.version, store.database, store.primary, *store.replicas]
                for store in stores
            },
        }

    def engine(self, store: Store) -> RenderedEngine:
        """Return how the store's engine is set up; with nothing of the site's own where it has no such service."""
        for service in self.services.values():
            if service.engine and service.engine.engine == store.engine:
                rendered = self._engine(service.name, service.engine, store)
                return replace(rendered, service=service.name, digest=self._digest(service))
        return RenderedEngine(settings=(), hba=(), init="")

    def _engine(self, name: str, engine: EngineSettings, store: Store) -> RenderedEngine:
        values = self._values(store=store_view(self.environment, store))
        place = f"services/{name}/service.yaml"
        live = () if self.environment.mirror_of else engine.live_settings
        settings = (*engine.settings, *live)
        return RenderedEngine(
            settings=tuple((key, self._text(place, f"store.settings.{key}", text, values)) for key, text in settings),
            hba=tuple(self._text(place, f"store.hba.{index}", line, values) for index, line in enumerate(engine.hba)),
            init=self._source(name, engine.init, values) if engine.init else "",
        )

    def _values(self, **own: object) -> dict[str, object]:
        topology = self.environment.topology
        return {
            "stack": self.environment.stack,
            "mirror_of": self.environment.mirror_of,
            "topology": topology,
            "peers": {
                name: tuple(item for item in topology.machines if name in item.services) for name in self.services
            },
            "stores": {store.name: store_view(self.environment, store) for store in topology.stores},
            "services": {service.name: dict(service.variables) for service in self.services.values()},
            **own,
        }

    def _source(self, service: str, source: str, values: Mapping[str, object]) -> str:
        file = f"services/{service}/{source}"
        text = self.sources.get(f"{service}/{source}")
        if text is None:
            self._note(f"services/{service}/service.yaml", source, "no such file", f"a file in services/{service}/")
            return ""
        return self._text(file, "", text, values) if source.endswith(".j2") else text

    def _text(self, file: str, key: str, text: str, values: Mapping[str, object]) -> str:
        try:
            return _template(text).render(values)
        except jinja2.TemplateSyntaxError as error:
            self._note(file, key or f"line {error.lineno}", str(error.message), "a Jinja template")
        except (jinja2.TemplateError, TypeError, ValueError, AttributeError) as error:
            self._note(file, key or "the template", str(error), f"the values {', '.join(sorted(values))}")
        return ""

    def _note(self, file: str, key: str, found: str, allowed: str) -> None:
        fault = Fault(file=file, key=key, found=found, allowed=allowed)
        if fault not in self.faults:
            self.faults.append(fault)


_JINJA = jinja2.Environment(  # what it renders are configuration files, not pages
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701
)


@cache
def _speaks_of_stores(text: str) -> bool:
    try:
        return "stores" in meta.find_undeclared_variables(_JINJA.parse(text))
    except jinja2.TemplateSyntaxError:
        return False  # it is noted where the text is rendered


@cache
def _template(text: str) -> jinja2.Template:
    """Return a template, read once for all the machines that it is rendered for."""
    return _JINJA.from_string(text)


def marks(text: str) -> set[str]:
    """Return the names of the stores whose passwords a text is to hold.

    >>> marks("PGPASSWORD=@@password of shop@@")
    {'shop'}
    """
    return {match[1] for match in _MARK.finditer(text)}
