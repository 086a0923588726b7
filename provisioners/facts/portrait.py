"""Asks a machine for its portrait: everything that is compared between prod and stage. Nothing on it is changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address

from model.facts import Address, Filesystem, Listener, Unread
from model.mirror.reading import AREAS, Portrait, Reading
from provisioners.facts import (
    disks,
    mariadb,
    memory,
    network,
    packages,
    portrait_mariadb,
    portrait_postgresql,
    postgresql,
    processors,
    sysctl,
    system,
    tree,
)
from provisioners.facts.fact import NoAnswerError, Question
from provisioners.facts.gather import Answer, Questions, clusters, mariadb_sockets

_SLOW = re.compile(r"timed out|no answer within", re.IGNORECASE)
_WITHIN = 0.1
"""Memory that a kernel keeps for itself, and what a file system needs for its own tables."""
_NONE: dict[str, str] = {}


def paint(machine: str, address: IPv4Address, answer: Answer, paths: Sequence[str] = ()) -> Portrait:
    """Return a machine's portrait.

    Args:
        machine: its name in the topology.
        address: its own address in prod's network: the card that has it is compared with its like.
        answer: runs a fact's command there.
        paths: files of the site's services, wherever they lie.
    """
    questions = Questions(_patient(answer))
    readings = [*_system(questions), *_packages(questions), *_files(questions, paths)]
    units = questions.ask(system.UNIT_LINKS, _NONE)
    running = questions.ask(system.RUNNING, _NONE)
    readings += _units(units, running)
    listeners = questions.ask(network.LISTENERS, ())
    readings += _ports("tcp", listeners)
    readings += _ports("udp", questions.ask(network.DATAGRAM_LISTENERS, ()))
    readings += _kernel_settings(questions, address)
    readings += _databases(questions, listeners, tuple(running))
    unread = tuple(
        dict.fromkeys(Unread(fact=_area(each.fact), reason=f"{each.fact}: {each.reason}") for each in questions.unread)
    )
    return Portrait(machine=machine, readings=tuple(map(_readable, _once(readings))), unread=unread)


def _patient(answer: Answer) -> Answer:
    """Return a way to ask that asks a busy machine once more where it did not answer in time."""

    def ask(question: Question) -> str:
        try:
            return answer(question)
        except NoAnswerError as error:
            if not _SLOW.search(str(error)):
                raise
        return answer(question)

    return ask


def _system(questions: Questions) -> Iterator[Reading]:
    release, architecture = questions.ask(system.KERNEL, ("", ""))
    texts = {
        "distribution": questions.ask(system.RELEASE, ""),
        "kernel": release,
        "architecture": architecture,
        "processors": str(questions.ask(processors.PROCESSORS, "")),
    }
    yield from (Reading(area="system", key=key, value=value) for key, value in texts.items() if value)
    if mib := questions.ask(memory.MANAGED, None):
        yield Reading(area="system", key="memory", value=f"{mib} MiB", amount=mib, within=_WITHIN)
    nothing: tuple[Filesystem, ...] = ()
    for each in questions.ask(disks.FILESYSTEMS, nothing):
        yield Reading(area="system", key=f"file system {each.mount}", value=each.kind)
        size = each.size_bytes >> 20
        yield Reading(area="system", key=f"size of {each.mount}", value=f"{size} MiB", amount=size, within=_WITHIN)


def _packages(questions: Questions) -> Iterator[Reading]:
    found = questions.ask(packages.DPKG, None, quiet=True)
    if found is None:
        found = questions.ask(packages.RPM, _NONE)
    yield from (Reading(area="packages", key=name, value=version) for name, version in found.items())


def _files(questions: Questions, paths: Sequence[str]) -> Iterator[Reading]:
    nothing: dict[str, tree.Entry] = {}
    found = questions.ask(tree.entries(paths), nothing)
    closed = [path for path, entry in found.items() if entry.unread]
    if closed:
        reason = f"the content of {len(closed)} could not be read, such as {_printable(closed[0])}"
        questions.unread.append(Unread(fact="files", reason=reason))
    for path, entry in found.items():
        yield Reading(area="files", key=path, value=_entry(entry), digest=entry.digest)


def _entry(entry: tree.Entry) -> str:
    if entry.kind == "l":
        return f"a link to {entry.target}"
    large = f" {entry.size_bytes} bytes" if not entry.digest else ""
    return f"{entry.mode.zfill(4)} {entry.owner}:{entry.group}{large}"


def _units(files: dict[str, str], running: dict[str, str]) -> Iterator[Reading]:
    for name in sorted(files.keys() | running.keys()):
        words = [files.get(name, ""), running.get(name, "")]
        yield Reading(area="units", key=name, value=", ".join(word for word in words if word))


def _ports(protocol: str, listeners: tuple[Listener, ...]) -> Iterator[Reading]:
    found: dict[str, set[str]] = {}
    for each in listeners:
        found.setdefault(f"{protocol} {each.address}:{each.port}", set()).update(each.processes)
    yield from (Reading(area="ports", key=key, value=", ".join(sorted(names))) for key, names in found.items())


def _kernel_settings(questions: Questions, address: IPv4Address) -> Iterator[Reading]:
    nothing: tuple[Address, ...] = ()
    cards = {
        each.card: str(address) for each in questions.ask(network.ADDRESSES, nothing) if each.interface.ip == address
    }
    found = questions.ask(sysctl.SETTINGS, _NONE)
    settings = sysctl.by_card(found, cards)
    yield from (Reading(area="kernel settings", key=key, value=value) for key, value in settings.items())


def _databases(questions: Questions, listeners: tuple[Listener, ...], units: tuple[str, ...]) -> Iterator[Reading]:
    sockets = questions.ask(network.SOCKETS, (), quiet=True)
    for cluster in clusters(questions, listeners, sockets):
        yield from _about(f"postgresql {cluster.port}", _postgresql(questions, cluster))
    for number, socket in enumerate(mariadb_sockets(listeners, sockets, units)):
        name = f"mariadb {number + 1}" if number else "mariadb"
        yield from _about(name, _mariadb(questions, socket))


def _postgresql(questions: Questions, cluster: postgresql.Cluster) -> Iterator[Reading]:
    yield Reading(area="databases", key="server", value="runs" if cluster.running else "does not run")
    if not cluster.running:
        return
    found = questions.ask(portrait_postgresql.server(cluster), ())
    yield from found
    yield from questions.ask(portrait_postgresql.rules(cluster), (), quiet=True)  # PostgreSQL 9 has no such view
    yield from questions.ask(portrait_postgresql.settings(cluster), ())
    for name in (each.key.removeprefix("database ") for each in found if each.key.startswith("database ")):
        yield from _about(name, questions.ask(portrait_postgresql.inside(cluster, name), ()))


def _mariadb(questions: Questions, socket: str) -> Iterator[Reading]:
    identity = questions.ask(mariadb.identity(socket), None)
    if identity is not None:
        yield Reading(area="databases", key="version", value=f"{identity.flavour or 'mariadb'} {identity.version}")
        yield from questions.ask(portrait_mariadb.databases(socket), ())
        yield from questions.ask(portrait_mariadb.settings(socket, identity.flavour), ())


def _about(what: str, readings: Iterator[Reading] | Sequence[Reading]) -> Iterator[Reading]:
    yield from (replace(reading, key=f"{what} {reading.key}") for reading in readings)


def _once(readings: Sequence[Reading]) -> list[Reading]:
    """A file system that is mounted twice is one; the last word counts."""
    return list({(reading.area, reading.key): reading for reading in readings}.values())


def _readable(reading: Reading) -> Reading:
    """Names and values come from the machine: nothing in them may move a terminal's cursor."""
    return replace(reading, key=_printable(reading.key), value=_printable(reading.value))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


_AREA_OF = {"listening ports": "ports", "addresses": "kernel settings"}


def _area(fact: str) -> str:
    return fact if fact in AREAS else _AREA_OF.get(fact, "system")
