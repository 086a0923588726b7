"""A stack of machines and nothing else; which ones stands in a JSON file that a test writes."""

import json
import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pulumi
from pulumi import ResourceOptions

from components.backends import Keys
from components.backends.choose import backend_of
from components.network import Network, build_all
from components.resources import Reached, SshKeypair
from components.site import Site
from components.tunnels import Tunnels
from model import names
from model.cloud import CloudSettings
from model.environment import Environment, Settings
from model.placed_hosts import read_hosts
from model.placement import HERE, Accelerator, PlacedMachine, Placement
from model.readers import Place
from model.topology import Machine, Topology
from model.tunnels import is_spread, rented
from tests.clouds import wrapped

wanted = json.loads(Path(os.environ["UNDERSTUDY_TEST_MACHINES"]).read_text())
stack = pulumi.get_stack()
control = IPv4Network(wanted["control_network"])
hosts = read_hosts(Place("wanted.json", (), []), wanted["hosts"])
places = {machine["name"]: machine.pop("host", hosts[0].name if hosts else HERE) for machine in wanted["machines"]}
machines = tuple(Machine(**{**machine, "address": IPv4Address(machine["address"])}) for machine in wanted["machines"])
computers = {HERE, *(host.name for host in hosts if host.access)}
topology = Topology(network=IPv4Network(wanted["network"]), domain=wanted["domain"], machines=machines)
site = Site(
    environment=Environment(
        stack=stack,
        topology=topology,
        settings=Settings(
            warm_start=wanted["warm"],
            cloud=CloudSettings(ssh_from=tuple(IPv4Network(text) for text in wanted["ssh_from"])),
        ),
    ),
    placement=Placement(
        control_network=control,
        accelerator=Accelerator(kind="tcg", reason="tests"),
        image=wanted["image"],
        machines=tuple(
            PlacedMachine(
                name=machine.name,
                host=places[machine.name],
                control_address=control[10 + at],
                instance_type="" if places[machine.name] in computers else "t3.small",
            )
            for at, machine in enumerate(machines)
        ),
        hosts=hosts,
        address=IPv4Address(wanted["address"]) if wanted["address"] else None,
    ),
    owner=names.owner(stack, wanted["backend"]),
    services={},
    engines={},
)
if rented(site.placement):
    wrapped.register()
reached: dict[str, Reached] = {}
networks: dict[str, Network[Any, Any]] = {
    host: Network(f"network-{host}", backend_of(site.placement, host), site, host, ResourceOptions())
    for host in sorted(set(places.values()))
}
public = build_all(networks)
controller = SshKeypair("controller", comment="test", opts=ResourceOptions())
for machine in machines:
    host_key = SshKeypair(f"{machine.name}-host", comment=machine.name, opts=ResourceOptions())
    keys, host = Keys(controller=controller, host=host_key), places[machine.name]
    built = backend_of(site.placement, host).build_machine(site, networks[host].ground, machine, keys, networks[host])
    reached[machine.name] = built.reached
    pulumi.export(
        machine.name,
        {
            "started": built.started,
            "reason": built.reason,
            "boot_seconds": built.boot_seconds,
            "generation": built.reached.generation,
            "connection": built.reached.connection,
            "private_key": built.reached.private_key,
        },
    )
if is_spread(site.placement):
    Tunnels("tunnels", site, reached, public, ResourceOptions())
