"""Which data sets there are: a primary and the replicas that follow it, and what is known about their backups."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from model import rules
from model.adoption.backups import backup
from model.adoption.network import Host, machine_of
from model.adoption.remarks import Path, Remarks, gibibytes, line, listed
from model.facts import Database, Server, Table

_SUPERUSERS = frozenset({"postgres", "root", ""})
_MOST_TABLES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A database server, and the machine on which it runs."""

    host: Host
    server: Server


@dataclass(slots=True, kw_only=True)
class Group:
    """A primary, None where it is not among the machines, and its replicas."""

    primary: Place | None
    replicas: list[Place]

    def known(self) -> Place:
        """Return the server that tells most about the data."""
        return self.primary or self.replicas[0]


def stores(hosts: Sequence[Host], remarks: Remarks) -> dict[str, dict[str, object]]:
    """Return the stores as the configuration has them, by name."""
    places = [Place(host=host, server=server) for host in hosts for server in host.facts.servers]
    for place in places:
        if not place.server.running:
            text = f"{_shown(place.server)} at port {place.server.port} does not run; it was left out."
            remarks.note(("machines", place.host.name), text)
    groups = _groups([place for place in places if place.server.running], hosts)
    result: dict[str, dict[str, object]] = {}
    for group in groups:
        if _is_empty(group):
            place = group.known()
            text = f"{_shown(place.server)} at port {place.server.port} holds no database; it was left out."
            remarks.note(("machines", place.host.name), text)
            continue
        name = _name(group, result)
        result[name] = _store(name, group, hosts, remarks)
    return result


def _shown(server: Server) -> str:
    engine = {"postgresql": "PostgreSQL", "mariadb": "MySQL" if server.flavour else "MariaDB"}[server.engine]
    return f"{engine} {server.version}".strip()


def _groups(places: Sequence[Place], hosts: Sequence[Host]) -> list[Group]:
    groups = [Group(primary=place, replicas=[]) for place in places if not place.server.replica]
    orphans: dict[tuple[str, str], Group] = {}
    for place in places:
        if not place.server.replica:
            continue
        group = _followed(place, places, groups, hosts)
        if group is None:
            key = (place.server.engine, place.server.identifier or place.host.name)
            group = orphans.setdefault(key, Group(primary=None, replicas=[]))
        group.replicas.append(place)
    return [*groups, *orphans.values()]


def _followed(replica: Place, places: Sequence[Place], groups: Sequence[Group], hosts: Sequence[Host]) -> Group | None:
    """Return the group of the primary at the end of the chain that the replica follows."""
    current, seen = replica, [replica]
    while current.server.replica:
        above = _upstream(current, places, hosts)
        if above is None or above in seen:
            return None
        current = above
        seen.append(current)
    return next(group for group in groups if group.primary is current)


def _upstream(replica: Place, places: Sequence[Place], hosts: Sequence[Host]) -> Place | None:
    server = replica.server
    same = [place for place in places if place.server.engine == server.engine and place is not replica]
    if server.upstream is not None:
        host = machine_of(server.upstream.host, replica.host, hosts)
        found = [place for place in same if place.host is host]
        exact = [place for place in found if place.server.port == server.upstream.port]
        # Between the two there may be a pooler or a forwarded port: then the data itself says who belongs together.
        related = [place for place in found if server.identifier and place.server.identifier == server.identifier]
        for choice in (exact, related):
            if len(choice) == 1:
                return choice[0]
    feeding = [
        place
        for place in same
        if any(machine_of(text, place.host, hosts) is replica.host for text in place.server.followers)
        and place.host is not replica.host
    ]
    alike = [
        place
        for place in same
        if server.identifier and place.server.identifier == server.identifier and place.server.replica is False
    ]
    for choice in (feeding, alike):
        if len(choice) == 1:
            return choice[0]
    return None


def _user_databases(server: Server) -> list[Database]:
    return [
        database
        for database in server.databases
        if server.engine != "postgresql" or database.name != "postgres" or database.tables
    ]


def _is_empty(group: Group) -> bool:
    """Tell whether a server was asked, and holds nothing."""
    server = group.known().server
    asked = bool(server.databases) or (server.engine == "mariadb" and server.version != "")
    return asked and not _user_databases(server)


def _name(group: Group, taken: dict[str, dict[str, object]]) -> str:
    place = group.known()
    databases = _user_databases(place.server)
    candidates = [database.name for database in databases] if len(databases) == 1 else []
    candidates += [place.server.stanza, place.server.name if place.server.name != "main" else "", place.server.engine]
    base = next(name for text in candidates if (name := re.sub(r"[^a-z0-9-]", "-", text.lower()).strip("-")))
    base = base if rules.NAME.fullmatch(base) and base not in rules.RESERVED_NAMES else place.server.engine
    name, number = base, 2
    while name in taken:
        name, number = f"{base[:28]}-{number}", number + 1
    return name


def _store(name: str, group: Group, hosts: Sequence[Host], remarks: Remarks) -> dict[str, object]:
    path, place = ("stores", name), group.known()
    server = place.server
    if not server.databases:
        reason = next((item.reason for item in place.host.facts.unread if item.fact.startswith(_topic(server))), "")
        remarks.note(path, f"{_shown(server)} on {place.host.name} did not answer{': ' if reason else ''}{reason}")
    values: dict[str, object] = {"engine": server.engine, "version": _version(path, server, remarks)}
    database = _database(path, server, remarks)
    values["database"] = database.name if database else "?"
    values["owner"] = _owner(path, database, remarks)
    values["primary"] = _primary(path, group, hosts, remarks)
    replicas = [item.host.name for item in group.replicas]
    if replicas:
        values["replicas"] = replicas
        _note_chains(path, group, hosts, remarks)
    values |= _tables(path, database, server, remarks)
    values["backup"] = backup(path, server, place.host, hosts, remarks)
    return values


def _topic(server: Server) -> str:
    return f"PostgreSQL settings, port {server.port}" if server.engine == "postgresql" else "MariaDB server"


def _version(path: Path, server: Server, remarks: Remarks) -> str:
    return server.version or remarks.ask((*path, "version"), "Which major version is it?")


def _database(path: Path, server: Server, remarks: Remarks) -> Database | None:
    databases = _user_databases(server)
    if len(databases) == 1:
        remarks.note((*path, "database"), f"{gibibytes(databases[0].size_bytes)} now.")
        return databases[0]
    if databases:
        sizes = [f"{item.name} ({gibibytes(item.size_bytes)})" for item in databases]
        remarks.ask((*path, "database"), f"It holds {listed(sizes)}. Which one do the services use?")
    else:
        remarks.ask((*path, "database"), "Which database do the services use?")
    return None


def _owner(path: Path, database: Database | None, remarks: Remarks) -> str:
    if database is not None:
        owners = Counter(table.owner for table in database.tables)
        for owner in (database.owner, *(name for name, _ in owners.most_common())):
            if owner not in _SUPERUSERS:
                return owner
    return remarks.ask((*path, "owner"), "Which role owns the data and is used by the services?")


def _primary(path: Path, group: Group, hosts: Sequence[Host], remarks: Remarks) -> str:
    names = listed([place.host.name for place in group.replicas])
    if group.primary is None:
        upstream = next((place.server.upstream for place in group.replicas if place.server.upstream), None)
        followed = f"{upstream.host} port {upstream.port}, which is none of these machines" if upstream else "a server"
        return remarks.ask((*path, "primary"), f"{names} follows {followed}. Adopt its machine too, or name it.")
    place = group.primary
    if place.server.replica is None:
        text = f"Is {place.host.name} the primary? It could not be asked whether it follows another."
        return remarks.ask((*path, "primary"), text)
    strangers = [text for text in place.server.followers if machine_of(text, place.host, hosts) is None]
    if strangers:
        remarks.note((*path, "primary"), f"{listed(strangers)} streams from it, and is none of these machines.")
    return place.host.name


def _note_chains(path: Path, group: Group, hosts: Sequence[Host], remarks: Remarks) -> None:
    for place in group.replicas:
        upstream = place.server.upstream
        above = machine_of(upstream.host, place.host, hosts) if upstream else None
        if above is not None and group.primary is not None and above is not group.primary.host:
            text = f"{place.host.name} follows {above.name}; in a mirror it follows the primary."
            remarks.note((*path, "replicas"), text)


def _tables(path: Path, database: Database | None, server: Server, remarks: Remarks) -> dict[str, object]:
    if database is None:
        return {}
    values: dict[str, object] = {}
    beats = [table for table in database.tables if "heartbeat" in table.name.lower() and table.moments]
    filled = [_table_name(table, server) for table in database.tables if table.filled and table not in beats]
    usable = [name for name in filled if rules.TABLE.fullmatch(name)]
    if len(usable) < len(filled):
        odd = [line(name) for name in filled if name not in usable][:10]
        remarks.note((*path, "expected_tables"), f"With rows too, under names that cannot stand here: {listed(odd)}.")
    if usable:
        if len(usable) > _MOST_TABLES:
            remarks.note((*path, "expected_tables"), f"The first {_MOST_TABLES} of {len(usable)} tables with rows.")
        values["expected_tables"] = usable[:_MOST_TABLES]
    if len(beats) == 1:
        values["heartbeat"] = _heartbeat(path, beats[0], server, remarks)
    else:
        text = "No heartbeat table was found: without one a restore cannot tell how old its data is."
        remarks.note(path, text if not beats else f"Several heartbeat tables: {listed([b.name for b in beats])}.")
    return values


def _heartbeat(path: Path, table: Table, server: Server, remarks: Remarks) -> dict[str, object]:
    column = table.moments[0]
    if len(table.moments) > 1:
        column = remarks.ask(
            (*path, "heartbeat", "column"), f"Which column holds the moment: {listed(list(table.moments))}?"
        )
    return {"table": _table_name(table, server), "column": column}


def _table_name(table: Table, server: Server) -> str:
    plain = server.engine == "mariadb" or table.schema == "public"
    return table.name if plain else f"{table.schema}.{table.name}"
