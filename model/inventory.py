"""The inventory that Ansible reads: groups by service, by store and by role, and how each machine is reached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.connection import Connection
from model.environment import Environment
from model.topology import Machine

_ALWAYS = ("StrictHostKeyChecking=yes", "ForwardAgent=no")
_NO_IDENTIFIER = re.compile(r"[^a-z0-9_]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How Ansible reaches a machine.

    Args:
        key_file: the file with its private key; empty for the user's own keys.
        known_hosts: the file with its host key and no other; empty for the user's own.
        sudo: whether commands become root through sudo.
        jump: ssh's option for going through other hosts; empty where the way is direct.
    """

    connection: Connection
    key_file: str = ""
    known_hosts: str = ""
    sudo: bool = False
    jump: str = ""


def options(reached: Reached) -> tuple[str, ...]:
    """Return the words that ssh is given beside the usual.

    >>> options(Reached(connection=Connection(name="a", address="10.0.0.1"), known_hosts="/run/x y"))[-2:]
    ('-o', 'UpdateHostKeys=no')
    """
    values = [*_ALWAYS]
    if reached.jump:
        values.append(reached.jump)
    if reached.key_file:
        values.append("IdentitiesOnly=yes")
    if reached.known_hosts:
        # ssh itself takes the value apart at spaces, unless it is in quotes. Source: ssh_config(5).
        values += [f'UserKnownHostsFile="{reached.known_hosts}"', "GlobalKnownHostsFile=/dev/null", "UpdateHostKeys=no"]
    return tuple(word for value in values for word in ("-o", value))


def host_variables(environment: Environment, machine: Machine, reached: Reached, arguments: str) -> dict[str, Any]:
    """Return what Ansible knows of a machine.

    Args:
        environment: the stack.
        machine: the machine.
        reached: how it is reached.
        arguments: the words of `options` as one line for a shell.

    Source: ansible-core 2.14, plugins/connection/ssh.py, "options".
    """
    connection = reached.connection
    key = {"ansible_ssh_private_key_file": reached.key_file} if reached.key_file else {}
    become = {"ansible_become": True, "ansible_become_method": "sudo"} if reached.sudo else {}
    return {
        "ansible_host": connection.address,
        "ansible_port": connection.port,
        "ansible_user": connection.user,
        **key,
        **become,
        "ansible_ssh_common_args": arguments,
        "ansible_host_key_checking": True,  # whatever the user's ansible.cfg says
        "ansible_python_interpreter": "/usr/bin/python3",
        "understudy_stack": environment.stack,
        "understudy_address": str(machine.address),
        "understudy_services": list(machine.services),
    }


def groups(environment: Environment, names: frozenset[str], unmirrored: frozenset[str]) -> dict[str, list[str]]:
    """Return the machines of each group, by its name.

    Args:
        environment: the stack.
        names: the machines that can be reached: no others are in a group.
        unmirrored: services that a mirror does not run.
    """
    found: dict[str, list[str]] = {}
    machines = {machine.name for machine in environment.topology.machines}

    def add(group: str, machine: str) -> None:
        if machine in names and machine not in found.setdefault(group, []):
            found[group].append(machine)

    for machine in environment.topology.machines:
        for service in machine.services:
            if not (environment.mirror_of and service in unmirrored):
                add(_group(service, "service", machines), machine.name)
    for store in environment.topology.stores:
        for name in (store.primary, *store.replicas):
            role = "primary" if name == store.primary else "replica"
            for group in (f"store_{store.name}", store.engine, role):
                add(_group(group, "group", machines), name)
    return {name: members for name, members in sorted(found.items()) if members}


def _group(name: str, kind: str, machines: set[str]) -> str:
    """Return a name that Ansible takes for a group; one that a machine has is told apart from it.

    Source: ansible-core 2.14, ``TRANSFORM_INVALID_GROUP_CHARS``: names as Python's identifiers have them.

    >>> _group("load-balancer", "service", {"lb"}), _group("lb", "service", {"lb"})
    ('load_balancer', 'service_lb')
    """
    plain = _NO_IDENTIFIER.sub("_", name)
    return f"{kind}_{plain}" if name in machines else plain


def inventory(members: Mapping[str, list[str]], variables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what ``--list`` prints: groups with their hosts, and at once all that is known of each host.

    Source: https://docs.ansible.com/ansible/latest/dev_guide/developing_inventory.html#inventory-script-conventions
    """
    whole: dict[str, Any] = {name: {"hosts": hosts} for name, hosts in members.items()}
    whole["all"] = {"hosts": sorted(variables)}
    whole["_meta"] = {"hostvars": {name: dict(values) for name, values in sorted(variables.items())}}
    return whole
