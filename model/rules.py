"""What may stand in a configuration: patterns, limits, and the words that say so to the user."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from urllib.parse import urlsplit

# A machine's name becomes a host name, part of a libvirt domain's name and of file names.
NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
NAME_ALLOWED = "1 to 32 of a-z, 0-9 and hyphens, beginning with a letter, not ending with a hyphen"
RESERVED_NAMES = frozenset({"localhost", "host", "here"})

STACK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
STACK_ALLOWED = "1 to 40 of letters, digits, dots, hyphens and underscores, beginning with a letter or digit"

DOMAIN = re.compile(r"(?=.{1,200}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
DOMAIN_ALLOWED = "a DNS domain in lower case, such as shop.example"

HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
HOST_ALLOWED = "a host's name or IPv4 address"
JUMP = re.compile(r"([a-z_][a-z0-9_.-]{0,31}@)?[A-Za-z0-9]([A-Za-z0-9._-]{0,250}[A-Za-z0-9])?(:[0-9]{1,5})?")
JUMP_ALLOWED = "the host to go through: [user@]host[:port]"
USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
USER_ALLOWED = "a Unix user's name"

# Source: PostgreSQL's NAMEDATALEN is 64, one byte of which ends the name; only what needs no quoting is taken.
IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
IDENTIFIER_ALLOWED = "1 to 63 of a-z, 0-9 and _, not beginning with a digit"
TABLE = re.compile(r"([a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,62}")
TABLE_ALLOWED = "a table's name, or schema.table, of a-z, 0-9 and _"
DIRECTORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
DIRECTORY_ALLOWED = "a directory's name under /srv/files, of letters, digits, dots, hyphens and _"
# Source: pgBackRest takes stanza names of letters, digits, hyphens, underscores and dots.
STANZA = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
STANZA_ALLOWED = "pgBackRest's name of the cluster: letters, digits, dots, hyphens and _"

PATH = re.compile(r"[A-Za-z0-9._/][A-Za-z0-9._/@+=,-]{0,400}")
PATH_ALLOWED = "a path of letters, digits and . _ / @ + = , - (no spaces)"
# Source: AWS, "General purpose bucket naming rules".
BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/=+-]{0,400})?")
BUCKET_ALLOWED = "s3://name or s3://name/prefix, the name 3 to 63 of a-z, 0-9, dots and hyphens"
REGION = re.compile(r"[a-z0-9-]{2,32}")
REGION_ALLOWED = "the bucket's region, such as eu-central-1"

# Source: systemd.unit(5) on what a unit's name may hold.
STOPPED_UNIT = re.compile(r"[a-z][a-z0-9-]{0,31}/[A-Za-z0-9:_.@-]{1,200}")
STOPPED_UNIT_ALLOWED = "machine/unit, such as app1/app.service"

LEAST_MEMORY_MIB = 256
LEAST_SYSTEM_DISK_MIB = 2048
LEAST_DATA_DISK_MIB = 256
DEFAULT_SYSTEM_DISK_MIB = 8192
MOST_VCPUS = 64

LONGEST_PREFIX = 29
SHORTEST_PREFIX = 12
# Source: RFC 6890, and RFC 2544 for the network out of which each stack has its control network.
FORBIDDEN_NETWORKS = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
NETWORK_ALLOWED = (
    f"a network of machines' addresses, /{SHORTEST_PREFIX} to /{LONGEST_PREFIX}, outside "
    f"{', '.join(str(network) for network in FORBIDDEN_NETWORKS)}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What a store's engine can be and do.

    Args:
        versions: major versions that are known.
        backups: kinds of backup from which it can be seeded.
        replicates: whether replicas of it are built.
        image_version: the version that the project's own machine image has.
    """

    versions: tuple[str, ...]
    backups: tuple[str, ...]
    replicates: bool
    image_version: str


# Source: postgresql.org "Versioning policy", mariadb.org "Maintenance policy", Debian 12's packages.
ENGINES = {
    "postgresql": Engine(
        versions=("9.6", "10", "11", "12", "13", "14", "15", "16", "17", "18"),
        backups=("pgbackrest", "pg_dump"),
        replicates=True,
        image_version="15",
    ),
    "mariadb": Engine(
        versions=("10.3", "10.4", "10.5", "10.6", "10.11", "11.4", "11.8"),
        backups=("mysqldump",),
        replicates=False,
        image_version="10.11",
    ),
    "files": Engine(versions=(), backups=("files",), replicates=False, image_version=""),
}


def bucket_parts(address: str) -> tuple[str, str]:
    """Return a bucket's name and the prefix in it, of an address that matches `BUCKET`.

    >>> bucket_parts("s3://copies/of/prod/"), bucket_parts("s3://copies")
    (('copies', 'of/prod'), ('copies', ''))
    """
    name, _, prefix = address.removeprefix("s3://").partition("/")
    return name, prefix.strip("/")


def is_url(text: str) -> bool:
    """Tell whether a text is an http address that can be asked for.

    >>> is_url("http://lb/"), is_url("http://lb:99999/"), is_url("ftp://lb/"), is_url("http://l b/")
    (True, False, False, False)
    """
    if not re.fullmatch(r"https?://[!-~]{1,1000}", text) or set(text) & set("\"'<>\\^`{|}"):
        return False
    try:
        parts = urlsplit(text)
        return HOST.fullmatch(parts.hostname or "") is not None and parts.port != 0
    except ValueError:
        return False


URL_ALLOWED = "an address such as http://lb.shop.example/"


def is_image(text: str) -> bool:
    """Tell whether a text is the path or the address of a machine image."""
    return PATH.fullmatch(text) is not None or is_url(text)


IMAGE_ALLOWED = f"the path of a qcow2 or raw image, or its address; {PATH_ALLOWED}"


def is_line(text: str) -> bool:
    """Tell whether a text can be looked for in a page: one line, not empty."""
    return text.strip() != "" and len(text) <= 200 and text.isprintable()


LINE_ALLOWED = "one line of at most 200 characters"
