"""Which services run where: those of the site by their units, others as questions."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from model.adoption.network import Host
from model.adoption.remarks import Remarks, listed
from model.facts import HostFacts

# Packaged services whose machine would not be itself without them. The engines of stores are not among them.
_TELLING = re.compile(
    r"^(haproxy|nginx|apache2|httpd|lighttpd|caddy|varnish|squid|keepalived|redis(-server)?|valkey|memcached|rabbitmq-server|"
    r"mongod|elasticsearch|opensearch|php[0-9.]*-fpm|tomcat[0-9]*|uwsgi|gunicorn|pgbouncer|postfix|dovecot|exim4|named|"
    r"bind9|unbound|dnsmasq|slapd|nfs-server|smbd|vsftpd|docker|podman|minio|consul|etcd|zookeeper|kafka|drbd|puppet|"
    r"puppetserver|grafana-server|prometheus)(@.*)?$"
)
_ENGINE = re.compile(r"^(postgresql|postgres|mariadb|mysql|mysqld)(-[0-9.]+)?(@.*)?$")
# Parts of the system itself, also where somebody wrote their unit anew.
_SYSTEM = re.compile(
    r"^(understudy|snap\.|user@|user-runtime-dir@|systemd-|cloud-|getty@|serial-getty@|sshd?(@|$)|cron$|crond$|dbus|"
    r"rsyslog$|networking$|NetworkManager|chrony|ntp|polkit|udev|qemu-guest-agent$|lvm2|mdadm|smartd|smartmontools$)"
)


def services(
    hosts: Sequence[Host],
    units: Mapping[str, str],
    files: Mapping[str, Collection[str]],
    known: Collection[str],
    remarks: Remarks,
) -> dict[str, list[str]]:
    """Return the services, each with its machines.

    Args:
        hosts: the machines.
        units: the site's services by the name of each of their units; empty text for a unit that needs no question.
        files: the files of each of the site's services that runs no unit: who has them all has the service.
        known: names of the services that the site has.
        remarks: takes questions and notes.
    """
    found: dict[str, list[str]] = defaultdict(list)
    strange: dict[str, list[str]] = defaultdict(list)
    for host in hosts:
        names = _strangers(host, units)
        own = {units[unit.name] for unit in host.facts.units if units.get(unit.name)}
        own |= {name for name, paths in files.items() if paths and set(paths) <= set(host.facts.files)}
        for name in own | (names & set(known)):
            found[name].append(host.name)
        for name in names - set(known):
            strange[name].append(host.name)
    told = {*found, *units.values(), *(name for name, paths in files.items() if paths)}
    for name in sorted(set(known) - told):
        remarks.note((), f"services/{name}: no machine tells whether it has it. Add it under services where it is.")
    for name in sorted(strange):
        path = ("services", name)
        text = f"{name} runs on {listed(strange[name])}. Make the folder services/{name}, or take this line out."
        remarks.ask(path, text)
    return {**{name: found[name] for name in sorted(found)}, **{name: strange[name] for name in sorted(strange)}}


def _strangers(host: Host, units: Mapping[str, str]) -> set[str]:
    names = set()
    for unit in host.facts.units:
        name, _, kind = unit.name.rpartition(".")
        if unit.name in units or kind != "service" or _SYSTEM.match(name) or _ENGINE.match(name):
            continue
        if unit.by_hand or _TELLING.match(name):
            names.add(name)
    return names


def listening(facts: HostFacts) -> str:
    """Return what listens for others on a machine, as a comment says it.

    >>> from model.facts import Listener
    >>> from model.topology import Access
    >>> ports = (Listener(address="*", port=80, processes=("haproxy",)), Listener(address="127.0.0.1", port=25))
    >>> listening(HostFacts(access=Access(host="lb"), listeners=ports))
    'listens: haproxy 80'
    """
    ports: dict[str, set[int]] = defaultdict(set)
    for listener in facts.listeners:
        if listener.address.startswith("127.") or listener.address == "::1":
            continue
        for process in listener.processes or ("",):
            ports[process].add(listener.port)
    shown = [f"{name} {' '.join(map(str, sorted(ports[name])))}".strip() for name in sorted(ports)]
    return f"listens: {', '.join(shown)}" if shown else ""
