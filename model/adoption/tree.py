"""Puts the configuration of adopted machines together, and has its reader say what cannot stand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from model.adoption import network, services, stores
from model.adoption.network import Host
from model.adoption.remarks import Path, Remark, Remarks
from model.adoption.sizes import sizes
from model.configuration import StackFile, read_environment, stack_file_name
from model.errors import ConfigurationError, Fault
from model.facts import HostFacts
from model.readers import plain_key
from model.topology import Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """A configuration, and what is said beside its values.

    Args:
        config: the keys without their prefix, as the configuration's reader takes them.
        remarks: notes and questions, each at its key.
    """

    config: Mapping[str, object]
    remarks: tuple[Remark, ...]

    def questions(self) -> tuple[Remark, ...]:
        """Return what must be answered before the file can be used."""
        return tuple(remark for remark in self.remarks if remark.asked)


def adopt(
    all_facts: Sequence[HostFacts],
    *,
    stack: str,
    units: Mapping[str, str],
    files: Mapping[str, Collection[str]],
    known_services: Collection[str],
) -> Adoption:
    """Return the configuration of machines that exist.

    Args:
        all_facts: what each machine told; at least one.
        stack: the stack that the file will describe, such as ``prod``.
        units: the site's services by the name of each of their units.
        files: the files of each of the site's services that runs no unit.
        known_services: names of the services that the site has.
    """
    remarks = Remarks()
    hosts = network.named_hosts(all_facts, remarks)
    plan = network.plan(hosts, remarks)
    hosts = tuple(sorted(hosts, key=lambda host: (plan.addresses[host.name] is None, plan.addresses[host.name] or 0)))
    config: dict[str, object] = {
        "network": str(plan.network) if plan.network else "?",
        "domain": network.domain(hosts, remarks),
        "machines": {host.name: _machine(host, plan, remarks) for host in hosts},
    }
    config["services"] = services.services(hosts, units, files, known_services, remarks)
    remarks.note((), "pages: no machine tells which pages must come. Add those that `up` shall ask for.")
    config["stores"] = stores.stores(hosts, remarks)
    config = {key: value for key, value in config.items() if value}
    _ask_faults(config, stack, known_services, remarks)
    return Adoption(config=config, remarks=tuple(remarks.all))


def _machine(host: Host, plan: network.Plan, remarks: Remarks) -> dict[str, object]:
    path, facts = ("machines", host.name), host.facts
    about = "; ".join(text for text in (facts.system, services.listening(facts)) if text)
    if about:
        remarks.note(path, about)
    for unread in facts.unread:
        remarks.note(path, f"Could not be read: {unread.fact}: {unread.reason}")
    found = sizes(facts)
    for note in found.notes:
        remarks.note(path, note)
    values: dict[str, object] = {
        "address": network.address_text(plan.addresses[host.name], host.name, remarks),
        "vcpus": facts.vcpus or remarks.ask((*path, "vcpus"), "How many processors has it?"),
        "memory": _size(path, "memory", found.memory_mib, remarks),
        "system_disk": _size(path, "system_disk", found.system_disk_mib, remarks),
    }
    if found.data_disk_mib != 0:
        values["data_disk"] = _size(path, "data_disk", found.data_disk_mib, remarks)
    return {**values, "existing": _existing(facts.access)}


def _size(path: Path, key: str, size_mib: int | None, remarks: Remarks) -> str:
    return size_text(size_mib) if size_mib else remarks.ask((*path, key), "How large is it, such as 16GiB?")


def size_text(size_mib: int) -> str:
    """Return a size as the configuration has it.

    >>> size_text(2048), size_text(476940)
    ('2GiB', '476940MiB')
    """
    return f"{size_mib // 1024}GiB" if size_mib % 1024 == 0 else f"{size_mib}MiB"


def _existing(access: Access) -> dict[str, object]:
    usual = Access(host=access.host)
    keys = ("port", "user", "sudo", "jump")
    changed = {key: getattr(access, key) for key in keys if getattr(access, key) != getattr(usual, key)}
    return {"host": access.host, **changed}


def _ask_faults(config: Mapping[str, object], stack: str, known: Collection[str], remarks: Remarks) -> None:
    """Ask about everything that the reader refuses and that is not a question yet."""
    file = StackFile(name=stack_file_name(stack), config=config)
    try:
        read_environment({stack: file}, stack, services=known)
    except ConfigurationError as error:
        asked = {_key(remark.path) for remark in remarks.all if remark.asked}
        for fault in error.faults:
            if fault.key not in asked:
                remarks.ask(_path(fault, config), f"It has {fault.found}; allowed is {fault.allowed}.")


def _key(path: Path) -> str:
    return ".".join(plain_key(key) for key in path)


def _path(fault: Fault, config: Mapping[str, object]) -> Path:
    """Return the path of the deepest key of the file that a fault is about."""
    path: Path = ()
    here: object = config
    while isinstance(here, Mapping):
        matching = [key for key in here if f"{fault.key}.".startswith(f"{_key((*path, key))}.")]
        if not matching:
            break
        path, here = (*path, matching[0]), here[matching[0]]
    return path
