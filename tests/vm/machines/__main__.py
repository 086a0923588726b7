"""A stack of machines and nothing else; which ones stands in a JSON file that a test writes."""

import json
import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pulumi
from pulumi import ResourceOptions

from components.backends import Keys, libvirt
from components.network import Network
from components.resources import SshKeypair
from components.site import Site
from components.tunnels import Tunnels
from model import names
from model.environment import Environment, Settings
from model.placed_hosts import read_hosts
from model.placement import HERE, Accelerator, PlacedMachine, Placement
from model.readers import Place
from model.topology import Machine, Topology
from model.tunnels import is_spread

wanted = json.loads(Path(os.environ["UNDERSTUDY_TEST_MACHINES"]).read_text())
stack = pulumi.get_stack()
control = IPv4Network(wanted["control_network"])
hosts = read_hosts(Place("wanted.json", (), []), wanted["hosts"])
places = {machine["name"]: machine.pop("host", hosts[0].name if hosts else HERE) for machine in wanted["machines"]}
machines = tuple(Machine(**{**machine, "address": IPv4Address(machine["address"])}) for machine in wanted["machines"])
topology = Topology(network=IPv4Network(wanted["network"]), domain=wanted["domain"], machines=machines)
site = Site(
    environment=Environment(stack=stack, topology=topology, settings=Settings(warm_start=wanted["warm"])),
    placement=Placement(
        control_network=control,
        accelerator=Accelerator(kind="tcg", reason="tests"),
        image=wanted["image"],
        machines=tuple(
            PlacedMachine(name=machine.name, host=places[machine.name], control_address=control[10 + at])
            for at, machine in enumerate(machines)
        ),
        hosts=hosts,
        address=IPv4Address(wanted["address"]) if wanted["address"] else None,
    ),
    owner=names.owner(stack, wanted["backend"]),
    services={},
    engines={},
)
networks = {host: Network(f"network-{host}", libvirt, site, host, ResourceOptions()) for host in set(places.values())}
reached = {}
controller = SshKeypair("controller", comment="test", opts=ResourceOptions())
for machine in machines:
    host = SshKeypair(f"{machine.name}-host", comment=machine.name, opts=ResourceOptions())
    keys = Keys(controller=controller, host=host)
    network = networks[places[machine.name]]
    built = libvirt.build_machine(site, network.ground, machine, keys, network)
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
    Tunnels("tunnels", site, reached, ResourceOptions())
