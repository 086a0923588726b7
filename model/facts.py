"""What was read from one machine that somebody built by hand. None or empty stands for "could not tell"."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from model.topology import Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A fact that could not be read, and the machine's own words about why."""

    fact: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block device as ``lsblk`` has it.

    Args:
        kind: ``disk``, ``part``, ``lvm``, ``raid1``, ``crypt``, ``rom``, ``loop`` …
        size_bytes: its size; of a RAID or a logical volume the usable one.
        parents: the devices on which it lies; more than one under RAID.
        mount: where it is mounted; ``[SWAP]`` for swap, empty for nowhere.
    """

    name: str
    kind: str
    size_bytes: int
    filesystem: str = ""
    mount: str = ""
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filesystem:
    """One mounted file system as ``df`` has it, sizes in bytes."""

    source: str
    kind: str
    size_bytes: int
    used_bytes: int
    mount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One address of a network card, with its prefix."""

    card: str
    interface: IPv4Interface | IPv6Interface
    secondary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownHost:
    """One line of ``/etc/hosts``."""

    address: IPv4Address | IPv6Address
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A TCP port that is listened on; ``address`` is ``*`` for all. Without privilege ``processes`` is empty."""

    address: str
    port: int
    processes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """A local socket that is listened on. Without privilege ``processes`` is empty."""

    path: str
    processes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A systemd service that runs, or a timer that waits; ``by_hand`` where a person put it under ``/etc``."""

    name: str
    by_hand: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, whether it has a row, and its columns that hold a point in time."""

    schema: str
    name: str
    owner: str
    filled: bool
    moments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database of a server. ``tables`` holds the largest ones, for PostgreSQL and MariaDB alike."""

    name: str
    owner: str
    size_bytes: int
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The server that a replica follows: a host name or address, and its port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One running database server.

    Args:
        engine: ``postgresql`` or ``mariadb``.
        version: the major version as the engine counts it: ``15``, ``9.6``, ``10.11``; empty where unknown.
        replica: whether it follows another; None where unknown.
        upstream: whom it follows, where that is known.
        followers: addresses of the servers that stream from it now.
        identifier: PostgreSQL's system identifier, the same on a primary and its replicas; empty where unknown.
        stanza: pgBackRest's name of the cluster in ``archive_command``; empty for none.
        flavour: ``mysql`` where a server of the engine ``mariadb`` is Oracle's.
        mount: where the file system is mounted on which its data lies; empty where unknown.
    """

    engine: str
    port: int
    version: str = ""
    name: str = ""
    data_directory: str = ""
    replica: bool | None = None
    upstream: Upstream | None = None
    followers: tuple[str, ...] = ()
    databases: tuple[Database, ...] = ()
    identifier: str = ""
    stanza: str = ""
    flavour: str = ""
    running: bool = True
    mount: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Where pgBackRest keeps one stanza's backups, as ``path``, ``s3`` …; ``host`` is empty for this machine."""

    stanza: str
    kind: str
    location: str
    host: str = ""
    endpoint: str = ""
    region: str = ""
    data_directories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyServer:
    """One server behind a proxy: ``backup`` is used only when the others are gone."""

    backend: str
    name: str
    host: str
    port: int
    backup: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """Everything that was read from one machine.

    Args:
        access: how it was reached.
        hostname: its own short name; ``fqdn`` the long one, empty where there is none.
        memory_mib: the kernel's MemTotal, less than what is installed.
        installed_mib: what the firmware says is installed; None without privilege or firmware tables.
        system: its distribution, such as ``debian 12``.
        units: services that run and timers that wait.
        files: those that were looked for and are there.
        unread: what could not be read.
    """

    access: Access
    hostname: str = ""
    fqdn: str = ""
    vcpus: int | None = None
    memory_mib: int | None = None
    installed_mib: int | None = None
    system: str = ""
    blocks: tuple[Block, ...] = ()
    filesystems: tuple[Filesystem, ...] = ()
    addresses: tuple[Address, ...] = ()
    hosts: tuple[KnownHost, ...] = ()
    listeners: tuple[Listener, ...] = ()
    units: tuple[Unit, ...] = ()
    files: tuple[str, ...] = ()
    servers: tuple[Server, ...] = ()
    repositories: tuple[Repository, ...] = ()
    proxied: tuple[ProxyServer, ...] = ()
    unread: tuple[Unread, ...] = ()
