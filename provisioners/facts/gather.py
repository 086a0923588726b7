"""Asks a machine everything, in the order in which answers make further questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from model.facts import Database, HostFacts, Listener, Server, Socket, Unit, Unread
from model.topology import Access
from provisioners.facts import disks, haproxy, mariadb, memory, network, pgbackrest, postgresql, processors, system
from provisioners.facts.fact import Fact, NoAnswerError, Question

T = TypeVar("T")
D = TypeVar("D")

Answer = Callable[[Question], str]
"""Runs a question's command on the machine and returns what it printed; raises NoAnswerError where it failed."""

_POSTGRES = frozenset({"postgres", "postmaster"})
_MARIADB = frozenset({"mariadbd", "mysqld"})
_USUAL_PORTS = {5432: _POSTGRES, 3306: _MARIADB}


class Questions:
    """Puts questions to one machine and remembers which had no answer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.unread: list[Unread] = []

    def ask(self, fact: Fact[T], default: D, *, quiet: bool = False) -> T | D:
        """Return the answer, or the default where there is none.

        Args:
            fact: the question.
            default: stands for "not known".
            quiet: whether no answer is an answer too, such as "no such program here".
        """
        try:
            return fact.parse(self._answer(fact))
        except NoAnswerError as error:
            reason = str(error)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            reason = f"its answer could not be understood ({error})"
        if not quiet:
            self.unread.append(Unread(fact=fact.name, reason=reason))
        return default


def gather(access: Access, answer: Answer, paths: tuple[str, ...] = ()) -> HostFacts:
    """Return everything that a machine tells.

    Args:
        access: how it is reached.
        answer: runs a fact's command there and returns its output; raises NoAnswerError where there is none.
        paths: which files are looked for.
    """
    questions = Questions(answer)
    listeners = questions.ask(network.LISTENERS, ())
    sockets = questions.ask(network.SOCKETS, (), quiet=True)
    hostname = questions.ask(system.HOSTNAME, "")
    units = _units(questions)
    facts = HostFacts(
        access=access,
        hostname=hostname.partition(".")[0],
        fqdn=hostname if "." in hostname else questions.ask(system.FQDN, "", quiet=True),
        vcpus=questions.ask(processors.PROCESSORS, None),
        memory_mib=questions.ask(memory.MANAGED, None),
        installed_mib=questions.ask(memory.INSTALLED, None, quiet=True),
        system=questions.ask(system.RELEASE, ""),
        blocks=questions.ask(disks.BLOCKS, ()),
        filesystems=questions.ask(disks.FILESYSTEMS, ()),
        addresses=questions.ask(network.ADDRESSES, ()),
        hosts=questions.ask(network.HOSTS, ()),
        listeners=listeners,
        units=units,
        files=questions.ask(system.present(paths), ()) if paths else (),
        servers=tuple(
            _placed(questions, server)
            for server in (*_postgresql(questions, listeners, sockets), *_mariadb(questions, listeners, sockets, units))
        ),
        repositories=questions.ask(pgbackrest.REPOSITORIES, (), quiet=True),
        proxied=questions.ask(haproxy.SERVERS, (), quiet=True),
    )
    return replace(facts, unread=tuple(questions.unread))


def _units(questions: Questions) -> tuple[Unit, ...]:
    names = questions.ask(system.UNIT_NAMES, ())
    if not names:
        return ()
    plain = tuple(Unit(name=name) for name in names)
    return questions.ask(system.units(names), plain)


def _ports(listeners: tuple[Listener, ...], processes: frozenset[str]) -> list[int]:
    """Return the ports of these processes. Where processes cannot be seen, the usual port stands for the usual one."""
    return sorted(
        {
            listener.port
            for listener in listeners
            if processes & set(listener.processes)
            or (not listener.processes and _USUAL_PORTS.get(listener.port) == processes)
        }
    )


def clusters(
    questions: Questions, listeners: tuple[Listener, ...], sockets: tuple[Socket, ...]
) -> tuple[postgresql.Cluster, ...]:
    """Return the PostgreSQL servers of a machine, those that Debian's tools know and those that only listen."""
    found = {cluster.port: cluster for cluster in questions.ask(postgresql.CLUSTERS, (), quiet=True)}
    directories = postgresql.socket_directories(sockets)
    for port in {*_ports(listeners, _POSTGRES), *directories}:
        known = found.get(port, postgresql.Cluster(port=port))
        found[port] = replace(known, running=True, socket_directory=directories.get(port, ""))
    return tuple(cluster for _, cluster in sorted(found.items()))


def _postgresql(
    questions: Questions, listeners: tuple[Listener, ...], sockets: tuple[Socket, ...]
) -> tuple[Server, ...]:
    return tuple(_postgresql_server(questions, cluster) for cluster in clusters(questions, listeners, sockets))


def _postgresql_server(questions: Questions, cluster: postgresql.Cluster) -> Server:
    known = Server(
        engine="postgresql",
        port=cluster.port,
        version=cluster.version,
        name=cluster.name,
        data_directory=cluster.data_directory,
        replica=cluster.recovery,
        running=cluster.running,
    )
    if not cluster.running:
        return known
    settings = questions.ask(postgresql.settings(cluster), None)
    if settings is None:
        return known
    replica = questions.ask(postgresql.replica(cluster), cluster.recovery)
    upstream = (questions.ask(postgresql.receiver(cluster), None, quiet=True) or settings.upstream) if replica else None
    databases = questions.ask(postgresql.databases(cluster), ())
    return replace(
        known,
        version=settings.version,
        name=cluster.name or settings.name,
        data_directory=settings.data_directory or cluster.data_directory,
        stanza=settings.stanza,
        replica=replica,
        upstream=upstream,
        followers=questions.ask(postgresql.followers(cluster), ()),
        identifier=questions.ask(postgresql.identifier(cluster), "", quiet=True),
        databases=tuple(_with_tables(questions, cluster, database) for database in databases),
    )


def _with_tables(questions: Questions, cluster: postgresql.Cluster, database: Database) -> Database:
    return replace(database, tables=questions.ask(postgresql.tables(cluster, database.name), ()))


def _placed(questions: Questions, server: Server) -> Server:
    if not server.running or not server.data_directory:
        return server
    filesystems = questions.ask(disks.holding(server.data_directory), (), quiet=True)
    return replace(server, mount=filesystems[0].mount if filesystems else "")


def mariadb_sockets(
    listeners: tuple[Listener, ...], sockets: tuple[Socket, ...], units: Iterable[str]
) -> tuple[str, ...]:
    """Return the sockets of a machine's MariaDB or MySQL servers; an empty one stands for the usual place."""
    own = [socket.path for socket in sockets if _MARIADB & set(socket.processes)]
    paths = tuple(path for path in own if not path.endswith("mysqlx.sock"))  # another protocol of MySQL
    named = any(unit.partition("@")[0].partition(".")[0] in ("mariadb", "mysql", "mysqld") for unit in units)
    return paths or (("",) if named or _ports(listeners, _MARIADB) else ())


def _mariadb(
    questions: Questions, listeners: tuple[Listener, ...], sockets: tuple[Socket, ...], units: tuple[Unit, ...]
) -> tuple[Server, ...]:
    ports = _ports(listeners, _MARIADB)
    paths = mariadb_sockets(listeners, sockets, (unit.name for unit in units))
    return tuple(_mariadb_server(questions, path, ports[0] if ports else 3306) for path in paths)


def _mariadb_server(questions: Questions, socket: str, port: int) -> Server:
    identity = questions.ask(mariadb.identity(socket), None)
    if identity is None:
        return Server(engine="mariadb", port=port)
    server = mariadb.server(
        identity,
        questions.ask(mariadb.sizes(socket), ()),
        questions.ask(mariadb.tables(socket), ()),
        questions.ask(mariadb.grants(socket), (), quiet=True),
    )
    upstream = questions.ask(mariadb.replica(socket), None, quiet=True)
    upstream = upstream or questions.ask(mariadb.newer_replica(socket), None, quiet=True)
    followers = questions.ask(mariadb.followers(socket), ())
    return replace(server, upstream=upstream, replica=upstream is not None, followers=followers)
