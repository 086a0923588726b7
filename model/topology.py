"""What an environment consists of: machines, the network they share, services on them, and stores."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a machine that this project did not build. Keys come from the user's own agent and files."""

    host: str
    port: int = 22
    user: str = "root"
    sudo: bool = False
    jump: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine of the topology. Sizes in MiB; the address is the one in prod's own plan."""

    name: str
    address: IPv4Address
    vcpus: int
    memory_mib: int
    system_disk_mib: int
    data_disk_mib: int
    services: tuple[str, ...] = ()
    existing: Access | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Return what a machine is made of, sizes in MiB; 0 for no data disk."""
        return {key: getattr(self, key) for key in SIZES}


SIZES = ("vcpus", "memory_mib", "system_disk_mib", "data_disk_mib")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """Where a store's backups are.

    Args:
        kind: ``pgbackrest``, ``pg_dump``, ``mysqldump`` or ``files``.
        location: a path (relative to the project) or ``s3://bucket/prefix``.
        stanza: pgBackRest's name of the cluster; empty for the other kinds.
        endpoint: address of an S3-compatible service; empty for AWS or a path.
        region: region of the bucket; empty for a path.
        profile: name of the credentials in ``~/.aws``; empty for the usual ones.
        fetched_by: ``machine`` where the machine itself fetches from the bucket; empty where the controller brings it.
    """

    kind: str
    location: str
    stanza: str = ""
    endpoint: str = ""
    region: str = ""
    profile: str = ""
    fetched_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The row that tells how old restored data is: the newest value of ``column`` in ``table``."""

    table: str
    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """One data set and its engine.

    Args:
        engine: ``postgresql``, ``mariadb`` or ``files``.
        version: the engine's major version, such as ``15``; empty for files.
        database: the database that the services use; the directory under /srv/files for files.
        owner: the role that owns it and with which the services log in; of files, the Unix user.
        expected_tables: tables that must have rows after a restore.
    """

    name: str
    engine: str
    version: str
    database: str
    owner: str
    primary: str
    replicas: tuple[str, ...] = ()
    expected_tables: tuple[str, ...] = ()
    heartbeat: Heartbeat | None = None
    backup: Backup | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpPage:
    """A page that must come, asked from ``via`` (a machine's name), with this text in it."""

    name: str
    via: str
    url: str
    text: str
    stopping: tuple[str, ...] = ()
    """``machine/unit`` pairs that are stopped while the page is asked for, and started again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A whole environment, as prod's file describes it."""

    network: IPv4Network
    domain: str
    machines: tuple[Machine, ...]
    stores: tuple[Store, ...] = ()
    pages: tuple[HttpPage, ...] = ()
    image: str = ""
    """Path or address of the user's own machine image; empty for the project's."""

    def machine(self, name: str) -> Machine:
        """Return the machine of that name; names are unique in a topology."""
        return next(machine for machine in self.machines if machine.name == name)
