"""Reads the file that lists where machines may run, ``Capacity.yaml``, or says everything that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import time
from ipaddress import IPv4Address
from zoneinfo import ZoneInfo

from model import rules
from model.capacity import CLOUDS, HERE, LIBVIRT, MOST_VCPUS_PER_CORE, CapacityHost, CloudImage, Headroom, Hours
from model.errors import ConfigurationError, Fault
from model.readers import (
    Place,
    read_address,
    read_choice,
    read_count,
    read_flag,
    read_keys,
    read_list,
    read_mapping,
    read_mib,
    read_name,
    read_text,
)
from model.topology import Access

FILE = "Capacity.yaml"
COMMON_KEYS = ("headroom", "vcpus_per_core", "only_at_night", "stacks", "address")
SSH_KEYS = ("kind", "host", "port", "user", "sudo", "jump", "known_hosts")
CLOUD_KEYS = ("kind", "region", "budget_per_month")
# Source: AWS, "Account identifiers" and CreateImage; Google, "Creating and managing projects" and "Image families";
# Microsoft, "Naming rules and restrictions for Azure resources".
_OWNERS: Mapping[str, tuple[re.Pattern[str], str]] = {
    "aws": (re.compile(r"[0-9]{12}"), "an AWS account of 12 digits in quotes"),
    "gcp": (re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]"), "a Google project"),
    "azure": (re.compile(r"[A-Za-z0-9_().-]{0,89}[A-Za-z0-9_()-]"), "a resource group in Azure"),
}
_IMAGE = re.compile(r"[A-Za-z0-9()\[\] ./'@_*-]{3,128}")
_MOST_BUDGET = 1_000_000


def read_capacity(values: object, faults: Sequence[Fault] = ()) -> tuple[CapacityHost, ...]:
    """Return the hosts that the file lists, in its order.

    Args:
        values: what stands in it, parsed.
        faults: what is wrong with its notation.

    Raises:
        ConfigurationError: with every fault of it.
    """
    place = Place(FILE, (), list(faults))
    section = read_keys(place, values, required=("hosts",), optional=("headroom",))
    usual = section.read("headroom", _read_headroom, Headroom()) or Headroom()
    hosts = section.read("hosts", _read_hosts, usual) or ()
    if place.faults:
        raise ConfigurationError(tuple(place.faults))
    return hosts


def _read_hosts(place: Place, value: object, usual: Headroom) -> tuple[CapacityHost, ...]:
    entries = read_mapping(place, value)
    if isinstance(value, Mapping) and not entries:
        place.fault(value, "at least one host, such as `here: {}`, this computer")
    reached: dict[Access, object] = {}
    hosts = []
    for name, entry in entries.items():
        host = _read_host(place / name, name, entry, usual)
        if host is None:
            continue
        if host.access is not None:
            where = replace(host.access, user="", sudo=False)
            if reached.setdefault(where, name) != name:
                (place / name / "host").fault(host.access.host, f"each host only once: {reached[where]} is this one")
        hosts.append(host)
    return tuple(hosts)


def _read_host(place: Place, name: object, value: object, usual: Headroom) -> CapacityHost | None:
    known = HERE if name == HERE else read_name(place, name, "host")
    kind = value.get("kind", LIBVIRT) if isinstance(value, Mapping) else LIBVIRT
    if read_choice(place / "kind", kind, (LIBVIRT, *CLOUDS)) is None:
        return None
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = COMMON_KEYS
    if kind in CLOUDS and known != HERE:
        required, optional = CLOUD_KEYS, ("image", *COMMON_KEYS[2:4])
    elif known != HERE:
        required, optional = ("host",), (*(key for key in SSH_KEYS if key != "host"), *COMMON_KEYS)
    section = read_keys(place, value, required=required, optional=optional)
    budget = section.read("budget_per_month", _read_budget)
    region = section.read("region", read_text, rules.REGION, "the cloud's name of a region, such as eu-central-1")
    access = read_access(place, section.values) if "host" in section.values else None
    if known is None:
        return None
    return CapacityHost(
        name=known,
        kind=str(kind),
        access=access,
        known_hosts=section.read("known_hosts", read_text, rules.PATH, rules.PATH_ALLOWED) or "",
        headroom=section.read("headroom", _read_headroom, usual) or usual,
        vcpus_per_core=section.read("vcpus_per_core", read_count, least=1, most=MOST_VCPUS_PER_CORE) or 4,
        hours=section.read("only_at_night", _read_hours),
        stacks=section.read("stacks", read_list, _read_stack) or (),
        region=region or "",
        budget_per_month=budget,
        image=section.read("image", read_cloud_image, str(kind)),
        address=section.read("address", read_address) or _literal(access),
    )


def _literal(access: Access | None) -> IPv4Address | None:
    """The address by which it is reached from here, where others can be expected to reach it so too."""
    try:
        address = IPv4Address(access.host) if access and not access.jump else None
    except ValueError:
        return None
    return None if address and address.is_loopback else address


def read_cloud_image(place: Place, value: object, kind: str) -> CloudImage | None:
    """Return which image machines in a cloud of a kind are made of."""
    section = read_keys(place, value, required=("owner", "name"))
    owner = section.read("owner", read_text, *_OWNERS[kind])
    name = section.read("name", read_text, _IMAGE, "the image's name, with * for anything, or Google's family")
    return CloudImage(owner=owner, name=name) if owner is not None and name is not None else None


def read_access(place: Place, values: Mapping[object, object]) -> Access | None:
    """Return how a host is reached over SSH, out of a mapping that may have other keys too."""
    section = read_keys(place, {key: values[key] for key in SSH_KEYS if key in values}, required=(), optional=SSH_KEYS)
    host = section.read("host", read_text, rules.HOST, rules.HOST_ALLOWED)
    port = section.read("port", read_count, least=1, most=65535)
    user = section.read("user", read_text, rules.USER, rules.USER_ALLOWED)
    sudo = section.read("sudo", read_flag)
    jump = section.read("jump", read_text, rules.JUMP, rules.JUMP_ALLOWED)
    if host is None:
        return None
    return Access(host=host, port=port or 22, user=user or "root", sudo=bool(sudo), jump=jump or "")


def _read_stack(place: Place, value: object) -> str | None:
    return read_text(place, value, rules.STACK, rules.STACK_ALLOWED)


def _read_headroom(place: Place, value: object, usual: Headroom) -> Headroom:
    section = read_keys(place, value, required=(), optional=("cores", "memory", "disk"))
    cores = section.read("cores", read_count, least=0, most=4096)
    memory = section.read("memory", read_mib, least=1)
    disk = section.read("disk", read_mib, least=1)
    return Headroom(
        cores=usual.cores if cores is None else cores,
        memory_mib=usual.memory_mib if memory is None else memory,
        disk_mib=usual.disk_mib if disk is None else disk,
    )


def _read_budget(place: Place, value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _MOST_BUDGET:
        return float(value)
    place.fault(value, f"a number above 0 and up to {_MOST_BUDGET}: what this cloud may cost a month")
    return None


def _read_hours(place: Place, value: object) -> Hours | None:
    section = read_keys(place, value, required=("from", "to", "time_zone"))
    begin, until = section.read("from", _read_time), section.read("to", _read_time)
    zone = section.read("time_zone", read_text, _is_zone, "a time zone's name, such as Europe/Berlin")
    if begin is None or until is None or zone is None:
        return None
    if begin == until:
        (place / "to").fault(value["to"] if isinstance(value, Mapping) else value, "another time than `from`")
        return None
    return Hours(begin=begin, until=until, time_zone=zone)


def _read_time(place: Place, value: object) -> time | None:
    try:
        if isinstance(value, str) and len(value) == len("22:00"):
            return time.fromisoformat(value)
    except ValueError:
        pass
    place.fault(value, 'a time of day in quotes, such as "22:00"')
    return None


def _is_zone(text: str) -> bool:
    try:
        ZoneInfo(text)
    except (ValueError, OSError):
        return False
    except KeyError:  # what ZoneInfoNotFoundError is
        return False
    return True
