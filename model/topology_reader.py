"""Reads the machines of a topology: network, addresses, sizes, and what runs where."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from model import rules
from model.page_reader import read_pages
from model.readers import (
    Place,
    Section,
    meant,
    one_of,
    read_address,
    read_choice,
    read_count,
    read_flag,
    read_keys,
    read_list,
    read_mapping,
    read_mib,
    read_name,
    read_network,
    read_text,
)
from model.store_reader import check_data_disks, read_stores
from model.topology import Access, Machine, Topology

REQUIRED = ("network", "domain", "machines")
OPTIONAL = ("services", "stores", "pages")


def read_topology(section: Section, known_services: Collection[str]) -> Topology | None:
    """Return the topology that a stack's own keys describe; None where a fault leaves nothing to build one from.

    Args:
        section: the stack's keys.
        known_services: names of the services that the site has.
    """
    network = section.read("network", _read_plan)
    domain = section.read("domain", read_text, rules.DOMAIN, rules.DOMAIN_ALLOWED)
    names = _names(section.values.get("machines"))
    machines = section.read("machines", _read_machines, network) or ()
    services = section.read("services", _read_services, names, known_services) or {}
    stores = section.read("stores", read_stores, names) or ()
    pages = section.read("pages", read_pages, names) or ()
    check_data_disks(section, machines, stores)
    if network is None or domain is None:
        return None
    return Topology(
        network=network,
        domain=domain,
        machines=tuple(replace(machine, services=_services_of(machine.name, services)) for machine in machines),
        stores=stores,
        pages=pages,
    )


def _names(machines: object) -> tuple[str, ...]:
    """The names as they are written: a machine with a fault of its own is still there for those who name it."""
    return tuple(name for name in machines if isinstance(name, str)) if isinstance(machines, Mapping) else ()


def _read_plan(place: Place, value: object) -> IPv4Network | None:
    network = read_network(place, value)
    if network is None:
        return None
    forbidden = any(network.overlaps(other) for other in rules.FORBIDDEN_NETWORKS)
    if forbidden or not rules.SHORTEST_PREFIX <= network.prefixlen <= rules.LONGEST_PREFIX:
        place.fault(value, rules.NETWORK_ALLOWED)
        return None
    return network


def _read_machines(place: Place, value: object, network: IPv4Network | None) -> tuple[Machine, ...]:
    entries = read_mapping(place, value)
    if not entries:
        place.fault(value, "at least one machine")
    holders: dict[IPv4Address, object] = {}
    machines = [_read_machine(place / name, name, entry, network, holders) for name, entry in entries.items()]
    return tuple(
        sorted(
            (machine for machine in machines if machine),
            key=lambda machine: machine.address,
        )
    )


def _read_machine(
    place: Place,
    name: object,
    value: object,
    network: IPv4Network | None,
    holders: dict[IPv4Address, object],
) -> Machine | None:
    required, optional = (
        ("address", "vcpus", "memory"),
        ("system_disk", "data_disk", "existing"),
    )
    known = read_name(place, name, "machine")
    section = read_keys(place, value, required=required, optional=optional)
    address = section.read("address", read_address)
    if address is not None:
        _check_address(place / "address", address, network, holders.setdefault(address, name), name)
    vcpus = section.read("vcpus", read_count, least=1, most=rules.MOST_VCPUS)
    memory = section.read("memory", read_mib, least=rules.LEAST_MEMORY_MIB)
    system_disk = section.read("system_disk", read_mib, least=rules.LEAST_SYSTEM_DISK_MIB)
    data_disk = section.read("data_disk", read_mib, least=rules.LEAST_DATA_DISK_MIB)
    existing = section.read("existing", _read_access, address)
    if known is None or address is None or vcpus is None or memory is None:
        return None
    return Machine(
        name=known,
        address=address,
        vcpus=vcpus,
        memory_mib=memory,
        system_disk_mib=system_disk or rules.DEFAULT_SYSTEM_DISK_MIB,
        data_disk_mib=data_disk or 0,
        existing=existing,
    )


def _check_address(
    place: Place,
    address: IPv4Address,
    network: IPv4Network | None,
    holder: object,
    name: object,
) -> None:
    if holder != name:
        place.fault(str(address), f"an address of its own: {holder} has this one")
    if network is None:
        return
    if address not in network:
        place.fault(str(address), f"an address in {network}")
    elif address in (network.network_address, network.broadcast_address):
        place.fault(
            str(address),
            f"{network[1]} to {network[-2]}: the first and last address are no machine's",
        )


def _read_access(place: Place, value: object, address: IPv4Address | None) -> Access | None:
    if isinstance(value, bool):
        return Access(host=str(address)) if value and address else None
    if not isinstance(value, Mapping):
        place.fault(
            value,
            "true, or how it is reached: {host: ..., port: 22, user: root, sudo: false, jump: ...}",
        )
        return None
    section = read_keys(place, value, required=("host",), optional=("port", "user", "sudo", "jump"))
    host = section.read("host", read_text, rules.HOST, rules.HOST_ALLOWED)
    port = section.read("port", read_count, least=1, most=65535)
    user = section.read("user", read_text, rules.USER, rules.USER_ALLOWED)
    sudo = section.read("sudo", read_flag)
    jump = section.read("jump", read_text, rules.JUMP, rules.JUMP_ALLOWED)
    if host is None:
        return None
    return Access(
        host=host,
        port=port or 22,
        user=user or "root",
        sudo=bool(sudo),
        jump=jump or "",
    )


def _read_services(
    place: Place, value: object, machines: Collection[str], known: Collection[str]
) -> Mapping[str, tuple[str, ...]]:
    services: dict[str, tuple[str, ...]] = {}
    for name, entry in read_mapping(place, value).items():
        here = place / name
        if not isinstance(name, str) or name not in known:
            here.fault(name, f"a service of the site, {one_of(known)}{meant(name, known)}")
            continue
        services[name] = read_list(here, entry, lambda at, item: read_choice(at, item, machines))
        if isinstance(entry, list | tuple) and not entry:
            here.fault(entry, f"at least one machine, {one_of(machines)}")
    return services


def _services_of(machine: str, services: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted(name for name, machines in services.items() if machine in machines))
