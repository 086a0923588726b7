"""The place that creates nothing; only ``bench`` gives it to the program, no configuration can name it."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi import Output

from components.backends import Built, Keys, Reserved
from components.resources import Reached
from components.site import Site
from model.connection import Connection
from model.topology import Machine


def reserve(site: Site, host: str, parent: pulumi.Resource) -> Reserved[None]:
    """Reserve nothing."""
    return Reserved(public={}, held=None)


def build_ground(
    site: Site, host: str, held: None, public: Mapping[str, pulumi.Input[str]], parent: pulumi.Resource
) -> None:
    """Build nothing."""


def build_machine(site: Site, ground: None, machine: Machine, keys: Keys, parent: pulumi.Resource) -> Built:
    """Return how the machine would be reached."""
    address = str(site.placement.machine(machine.name).control_address)
    connection = keys.host.public_key.apply(
        lambda key: Connection(name=machine.name, address=address, host_key=" ".join(key.split()[:2])).values()
    )
    return Built(
        reached=Reached(
            name=machine.name,
            connection=connection,
            private_key=keys.controller.private_key,
            generation="1",
            anchor=keys.host,
        ),
        backend="nothing",
        host="nowhere",
        control_address=address,
        domain="",
        host_uri="",
        started=Output.from_input("cold"),
        reason=Output.from_input("it was not started"),
        boot_seconds=Output.from_input(0.0),
        data_device="/dev/vdb",
        data_disk=None,
    )
