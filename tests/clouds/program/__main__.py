"""A stack's machines as a cloud has them, before the first word with any: none here has a body that would answer."""

import json
import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pulumi
from pulumi import ResourceOptions

from components.backends import Keys, aws
from components.resources import SshKeypair
from components.site import Site
from model import names
from model.cloud import CloudSettings
from model.environment import Environment, Settings
from model.placement import Accelerator, PlacedHost, PlacedMachine, Placement
from model.topology import Machine, Topology
from tests.clouds import wrapped

wanted = json.loads(Path(os.environ["UNDERSTUDY_TEST_MACHINES"]).read_text())
host, control = wanted["host"], IPv4Network("198.18.7.0/24")
machines = tuple(
    Machine(name=name, services=(), **{**machine, "address": IPv4Address(machine["address"])})
    for name, machine in wanted["machines"].items()
)
settings = Settings(
    protect=wanted["protect"],
    cloud=CloudSettings(ssh_from=tuple(IPv4Network(text) for text in wanted["ssh_from"]), cost_centre="4711"),
)
site = Site(
    environment=Environment(
        stack="dr",
        topology=Topology(network=IPv4Network("10.20.0.0/24"), domain="shop.example", machines=machines),
        settings=settings,
    ),
    placement=Placement(
        control_network=control,
        accelerator=Accelerator(kind="tcg", reason="tests"),
        image="",
        hosts=(PlacedHost(name=host, kind="aws", region="eu-central-1"),),
        machines=tuple(
            PlacedMachine(name=each.name, host=host, control_address=control[10 + at], instance_type=wanted["size"])
            for at, each in enumerate(machines)
        ),
    ),
    owner=names.owner("dr", "file:///state"),
    services={},
    engines={},
)
wrapped.register()
parent = pulumi.ComponentResource("understudy:components:Network", "network")
ground = aws.build_ground(site, host, aws.reserve(site, host, parent).held, {}, parent)
controller = SshKeypair("controller", comment="test", opts=ResourceOptions())
for machine in machines:
    key = SshKeypair(f"{machine.name}-host", comment=machine.name, opts=ResourceOptions())
    made = aws.build_hardware(site, ground, machine, Keys(controller=controller, host=key), parent)
    pulumi.export(machine.name, {"first": made.first.private_key, "own": key.private_key})
