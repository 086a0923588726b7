"""The off-site copies of the backups, each beside a cloud where machines can be; and which of them is taken. Pure.

A copy is taken as a whole: the machines run where their data is, and fetch it themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from urllib.parse import urlsplit

from model import rules
from model.capacity import CLOUDS, CapacityHost
from model.readers import MISSING, Place, one_of, read_keys, read_list, read_mapping, read_name, read_text
from model.topology import Topology

HTTPS = 443
# Source: AWS, "Configuration and credential file settings": a profile's name stands in brackets on one line.
_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_MOST_NETWORKS = 20


def aws_service(region: str) -> str:
    """Return the name of AWS's own service for buckets. Source: AWS General Reference, "Amazon S3 endpoints"."""
    return f"s3.{region}.amazonaws.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsiteStore:
    """Where one store's backups lie off site.

    Args:
        store: the store's name.
        bucket: ``s3://bucket/prefix``.
        region: the bucket's.
        endpoint: https address of an S3-compatible service; empty for AWS.
    """

    store: str
    bucket: str
    region: str
    endpoint: str = ""

    @property
    def service(self) -> tuple[str, int]:
        """Return host and port of the service.

        >>> OffsiteStore(store="shop", bucket="s3://b", region="eu-central-1").service
        ('s3.eu-central-1.amazonaws.com', 443)
        """
        if not self.endpoint:
            return aws_service(self.region), HTTPS
        parts = urlsplit(self.endpoint)
        return parts.hostname or "", parts.port or HTTPS


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsiteCopy:
    """One copy of all backups, and the cloud where the machines would be that are filled from it.

    Args:
        host: that cloud's name in ``Capacity.yaml``.
        stores: where each store's backups lie.
        profile: the profile in ``~/.aws`` of the credentials that can only read; empty for the usual ones.
        networks: where the service is, for the machines' fence; none where AWS itself knows, in the machines' region.
    """

    host: str
    stores: tuple[OffsiteStore, ...]
    profile: str = ""
    networks: tuple[IPv4Network, ...] = ()

    @property
    def ports(self) -> tuple[int, ...]:
        """Return the ports of its services."""
        return tuple(sorted({store.service[1] for store in self.stores}))

    def store(self, name: str) -> OffsiteStore | None:
        """Return where a store's backups lie; None where it has none."""
        return next((store for store in self.stores if store.store == name), None)

    def lets_out_to(self, address: IPv4Address) -> bool:
        """Tell whether the machines' fence lets them reach an address."""
        return not self.networks or any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found of one copy.

    Args:
        host: the copy's.
        lacks: what is missing, each as one of ``capacity``, ``credentials``, ``data``, and why; nothing if it is whole.
        has: of what is there, what is worth telling, in the same way.
    """

    host: str
    lacks: tuple[tuple[str, str], ...] = ()
    has: tuple[tuple[str, str], ...] = ()


def decide_offsite(findings: Sequence[Finding], listed: int) -> tuple[str, tuple[str, ...]]:
    """Return which copy is taken, the first that lacks nothing, and why; an empty name where none can be.

    Args:
        findings: in the order of the stack's file; it is no use to look behind the first that is whole.
        listed: how many copies the file lists.

    >>> decide_offsite([Finding(host="a", lacks=(("data", "no backup"),)), Finding(host="b")], 3)
    ('b', ('a: not taken: data: no backup', 'b: taken: the first of 3 with capacity, credentials and data'))
    """
    reasons = []
    for each in findings:
        if not each.lacks:
            told = "".join(f"; {what}: {why}" for what, why in each.has)
            reasons.append(f"{each.host}: taken: the first of {listed} with capacity, credentials and data{told}")
            return each.host, tuple(reasons)
        told = "; ".join(f"{what}: {why}" for what, why in each.lacks)
        reasons.append(f"{each.host}: not taken: {told}")
    return "", tuple(reasons)


def unfit_host(copy: OffsiteCopy, hosts: Sequence[CapacityHost], stack: str) -> str:
    """Return why a copy's host can have none of the stack's machines, in words; nothing where it can."""
    host = next((host for host in hosts if host.name == copy.host), None)
    if host is None:
        return f"Capacity.yaml has no host {copy.host}; it has {', '.join(each.name for each in hosts)}"
    if host.kind not in CLOUDS:
        return f"{copy.host} in Capacity.yaml is no cloud"
    if host.stacks and stack not in host.stacks:
        return f"{copy.host} in Capacity.yaml is not for stack {stack}"
    away = [each.store for each in copy.stores if each.endpoint or each.region != host.region]
    if not copy.networks and (host.kind != "aws" or away):
        named = ", ".join(away or (each.store for each in copy.stores))
        return (
            f"{named}: not in AWS in the machines' own region, so their fence has to be told where that is: "
            f"write `networks` beside `host: {copy.host}`"
        )
    return ""


def read_offsite(place: Place, value: object) -> tuple[OffsiteCopy, ...]:
    """Return the copies that a stack's file lists, in its order: Pulumi sorts the keys of a mapping, never a list."""
    if not isinstance(value, list) or not value:
        place.fault(value, "a list of copies, the one to be taken first at its top: `- host: ...`")
        return ()
    copies = [_read_copy(place / str(index), entry) for index, entry in enumerate(value)]
    found = tuple(copy for copy in copies if copy)
    for index, copy in enumerate(found):
        if copy.host in {other.host for other in found[:index]}:
            (place / str(index) / "host").fault(copy.host, "each host only once")
    return found


def _read_copy(place: Place, value: object) -> OffsiteCopy | None:
    section = read_keys(place, value, required=("host", "stores"), optional=("profile", "networks"))
    host = section.read("host", read_name, "host")
    allowed = "the name of a profile in ~/.aws: letters, digits and . _ @ + -"
    profile = section.read("profile", read_text, _PROFILE, allowed)
    networks = section.read("networks", read_list, _read_network) or ()
    stores = section.read("stores", _read_stores) or ()
    if host is None:
        return None
    return OffsiteCopy(
        host=host, stores=stores, profile=profile or "", networks=tuple(IPv4Network(text) for text in networks)
    )


def _read_network(place: Place, value: object) -> str | None:
    try:
        if isinstance(value, str):
            return str(IPv4Network(value))
    except ValueError:
        pass
    place.fault(value, "an IPv4 network in which the service is, such as 203.0.113.0/28")
    return None


def _read_stores(place: Place, value: object) -> tuple[OffsiteStore, ...]:
    stores = (_read_store(place / name, name, entry) for name, entry in read_mapping(place, value).items())
    return tuple(sorted((store for store in stores if store), key=lambda store: store.store))


def _read_store(place: Place, name: object, value: object) -> OffsiteStore | None:
    known = read_name(place, name, "store")
    section = read_keys(place, value, required=("bucket", "region"), optional=("endpoint",))
    bucket = section.read("bucket", read_text, rules.BUCKET, rules.BUCKET_ALLOWED)
    region = section.read("region", read_text, rules.REGION, rules.REGION_ALLOWED)
    endpoint = section.read("endpoint", read_text, _is_https, "an https address such as https://s3.shop.example")
    if known is None:
        return None
    return OffsiteStore(store=known, bucket=bucket or "", region=region or "", endpoint=endpoint or "")


def _is_https(text: str) -> bool:
    """Nothing else is spoken with a bucket by pgBackRest, and credentials would be readable on the way."""
    return text.startswith("https://") and rules.is_url(text) and urlsplit(text).path in ("", "/")


def check_offsite(top: Place, copies: Sequence[OffsiteCopy], topology: Topology, capacity: str, seed: str) -> None:
    """Note a copy without a store that has to be filled or with one that is none, and what cannot go with copies."""
    place = top / "offsite"
    if copies and capacity != "hosts":
        (top / "capacity").fault(capacity, "hosts: a copy is beside a cloud, which Capacity.yaml lists")
    if copies and seed != "newest":
        (top / "seed").fault(seed, "newest: the stores are filled from a copy")
    known = {store.name for store in topology.stores}
    for index, copy in enumerate(copies):
        at, named = place / str(index) / "stores", {store.store for store in copy.stores}
        for name in sorted(known - named):
            (at / name).fault(MISSING, "where its copy is")
        for name in sorted(named - known):
            (at / name).note("no store of that name", one_of(known))
        if len(copy.networks) > _MOST_NETWORKS:
            # Source: AWS, "Amazon VPC quotas": 60 rules a group in each direction; some are ours.
            (place / str(index) / "networks").note(f"{len(copy.networks)} networks", f"at most {_MOST_NETWORKS}")
