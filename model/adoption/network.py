"""Which machines there are, how they know each other, and the one network that a mirror of them has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_address

from model import rules
from model.adoption.remarks import ASKED, Remarks, listed
from model.facts import HostFacts

# Bridges and cards that software on the machine made for its own guests and containers.
_OWN_CARD = re.compile(r"^(docker|br-[0-9a-f]{12}$|virbr|lxcbr|lxdbr|veth|cni|flannel|cali|podman|kube|vnet|dummy)")
_NO_DOMAIN = frozenset({"", "localdomain", "local", "localhost", "(none)", "domain"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine under the name that it has in the file."""

    name: str
    facts: HostFacts

    def interfaces(self) -> list[IPv4Interface]:
        """Return its addresses in the world outside it, the main ones first."""
        found = [
            address
            for address in self.facts.addresses
            if isinstance(address.interface, IPv4Interface) and not _OWN_CARD.match(address.card)
        ]
        found.sort(key=lambda address: address.secondary or address.interface.network.prefixlen == 32)
        return [address.interface for address in found if isinstance(address.interface, IPv4Interface)]


def named_hosts(all_facts: Sequence[HostFacts], remarks: Remarks) -> tuple[Host, ...]:
    """Return the machines with a name each, as the configuration allows it."""
    taken: set[str] = set()
    hosts = []
    for facts in all_facts:
        wanted = facts.hostname if _machine_name(facts.hostname) else facts.access.host
        base = _machine_name(wanted) or "machine"
        name, number = base, 2
        while name in taken:
            name, number = f"{base[:28]}-{number}", number + 1
        taken.add(name)
        if name != facts.hostname:
            own = f"calls itself {facts.hostname}" if facts.hostname else "does not tell its name"
            remarks.note(("machines", name), f"The machine at {facts.access.host} {own}.")
        hosts.append(Host(name=name, facts=facts))
    return tuple(hosts)


def _machine_name(text: str) -> str:
    name = re.sub(r"[^a-z0-9-]", "-", text.lower()).strip("-")
    if name[:1].isdigit():
        name = f"m-{name}"
    name = name[:32].strip("-")
    return "" if name in rules.RESERVED_NAMES or not rules.NAME.fullmatch(name) else name


def resolved(text: str, origin: Host) -> IPv4Address | None:
    """Return the address that a name or address means on the machine where it was read."""
    try:
        address = ip_address(text)
        return address if isinstance(address, IPv4Address) else getattr(address, "ipv4_mapped", None)
    except ValueError:
        pass
    wanted = text.lower().rstrip(".")
    for known in origin.facts.hosts:
        if wanted in (name.lower() for name in known.names) and isinstance(known.address, IPv4Address):
            return known.address
    return None


def machine_of(text: str, origin: Host, hosts: Sequence[Host]) -> Host | None:
    """Return the machine that a name or address means on the machine where it was read; None for a stranger."""
    address = resolved(text, origin)
    if address is not None and address.is_loopback:
        return origin
    if address is not None:
        owners = [host for host in hosts if address in (interface.ip for interface in host.interfaces())]
        return owners[0] if len(owners) == 1 else None
    wanted = text.lower().rstrip(".")
    for host in hosts:
        names = {host.name, host.facts.hostname.lower(), host.facts.fqdn.lower(), host.facts.access.host.lower()}
        if wanted in names - {""}:
            return host
    return None


def _references(hosts: Sequence[Host]) -> Iterator[IPv4Address]:
    """Give the addresses under which machines use each other."""
    for host in hosts:
        texts = [server.host for server in host.facts.proxied]
        texts += [server.upstream.host for server in host.facts.servers if server.upstream]
        texts += [follower for server in host.facts.servers for follower in server.followers]
        for text in texts:
            address = resolved(text, host)
            if address is not None and not address.is_loopback:
                yield address


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The network of the machines and the address of each in it; None for what could not be told."""

    network: IPv4Network | None
    addresses: dict[str, IPv4Address | None]


def plan(hosts: Sequence[Host], remarks: Remarks) -> Plan:
    """Return the one network that holds the machines, and their addresses in it.

    Where machines have several in common, the one counts in which they speak with each other.
    """
    references = Counter(_references(hosts))
    scored = sorted(((_score(network, hosts, references), network) for network in _candidates(hosts)), reverse=True)
    if not scored:
        remarks.ask(("network",), "No IPv4 network was found on these machines. Which one is theirs?")
        return Plan(network=None, addresses={host.name: _address(host, None, references) for host in hosts})
    (best, network), others = scored[0], [item for item in scored[1:] if item[0][:3] == scored[0][0][:3]]
    addresses = {host.name: _address(host, network, references) for host in hosts}
    if best[0] < len(hosts):
        _ask_split(hosts, network, addresses, remarks)
        return Plan(network=None, addresses=addresses)
    if others:
        names = listed([str(network), *(str(other) for _, other in others)])
        remarks.ask(("network",), f"The machines share {names}. In which do they speak with each other?")
        return Plan(network=None, addresses=addresses)
    _note_others(hosts, network, remarks)
    return Plan(network=network, addresses=addresses)


def _candidates(hosts: Sequence[Host]) -> set[IPv4Network]:
    networks = {interface.network for host in hosts for interface in host.interfaces()}
    return {
        network
        for network in networks
        if rules.SHORTEST_PREFIX <= network.prefixlen <= rules.LONGEST_PREFIX
        and not any(network.overlaps(forbidden) for forbidden in rules.FORBIDDEN_NETWORKS)
    }


def _score(network: IPv4Network, hosts: Sequence[Host], references: Counter[IPv4Address]) -> tuple[int, int, int, int]:
    covered = sum(any(interface.ip in network for interface in host.interfaces()) for host in hosts)
    referred = sum(count for address, count in references.items() if address in network)
    reached = sum(1 for host in hosts if (address := resolved(host.facts.access.host, host)) and address in network)
    return covered, referred, reached, network.prefixlen


def _address(host: Host, network: IPv4Network | None, references: Counter[IPv4Address]) -> IPv4Address | None:
    own = [interface.ip for interface in host.interfaces()]
    inside = [address for address in own if network is not None and address in network]
    choice = inside or own
    used = [address for address in choice if references[address]]
    reached = [address for address in choice if address == resolved(host.facts.access.host, host)]
    return next(iter([*used, *reached, *choice]), None)


def _ask_split(
    hosts: Sequence[Host], network: IPv4Network, addresses: dict[str, IPv4Address | None], remarks: Remarks
) -> None:
    outside = [host.name for host in hosts if (address := addresses[host.name]) is None or address not in network]
    whole = network
    for address in addresses.values():
        while address is not None and address not in whole and whole.prefixlen:
            whole = whole.supernet()
    hint = f" {whole} would hold all." if whole.prefixlen >= rules.SHORTEST_PREFIX else ""
    remarks.ask(
        ("network",), f"Not all machines share a network: {listed(outside)} {_is(outside)} not in {network}.{hint}"
    )


def _is(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"


def _note_others(hosts: Sequence[Host], network: IPv4Network, remarks: Remarks) -> None:
    for host in hosts:
        others = [str(interface) for interface in host.interfaces() if interface.ip not in network]
        control = rules.FORBIDDEN_NETWORKS
        others = [text for text in others if not any(IPv4Interface(text).ip in network for network in control)]
        if others:
            remarks.note(("machines", host.name), f"It has {listed(others)} too; a mirror has one network.")


def domain(hosts: Sequence[Host], remarks: Remarks) -> str:
    """Return the DNS domain of the machines, or a question."""
    found = Counter(name for host in hosts if (name := _domain(host)) not in _NO_DOMAIN)
    if not found:
        return remarks.ask(("domain",), "The machines do not tell their DNS domain. Which is it?")
    if len(found) > 1:
        remarks.note(("domain",), f"The machines are in {listed(sorted(found))}; a mirror has one domain.")
    return min(found, key=lambda name: (-found[name], name))


def _domain(host: Host) -> str:
    names = [host.facts.fqdn]
    short = host.facts.hostname.lower()
    names += [name for known in host.facts.hosts for name in known.names]
    for name in names:
        first, _, rest = name.lower().rstrip(".").partition(".")
        if first == short and rest not in _NO_DOMAIN:
            return rest
    return ""


def address_text(address: IPv4Address | None, name: str, remarks: Remarks) -> str:
    """Return a machine's address for the file, or a question."""
    if address is not None:
        return str(address)
    return remarks.ask(("machines", name, "address"), "No IPv4 address was found.") or ASKED
