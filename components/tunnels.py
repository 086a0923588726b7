"""Tunnels between the machines of a stack that is in several places: they are one network all the same."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi import Input, Output, ResourceOptions

from components.backends import addressed
from components.resources import Reached, Tunnel, TunnelCheck, WireguardKeypair
from components.site import Site
from model import tunnels as model
from model.tunnels import pairs, speaks_first, tunnels, ways_between


class Tunnels(pulumi.ComponentResource):
    """A tunnel on each machine, and one look at whether they answer each other.

    Args:
        machines: how each machine is reached.
        public: the addresses of those in a cloud.

    Attributes:
        ready: what everything that machines do with each other waits for.
    """

    ready: tuple[pulumi.Resource, ...]

    def __init__(
        self,
        name: str,
        site: Site,
        machines: Mapping[str, Reached],
        public: Mapping[str, Input[str]],
        opts: ResourceOptions,
    ) -> None:
        super().__init__("understudy:components:Tunnels", name, None, opts)
        self._site, self._machines, self._public = site, machines, public
        wanted = tunnels(site.environment.topology, site.placement)
        opts = ResourceOptions(parent=self)
        self._keys = {
            each.name: WireguardKeypair(f"{each.name}-tunnel", comment=each.name, opts=opts) for each in wanted
        }
        made = tuple(self._build(each) for each in wanted)
        self.ready = (self._look(made),)
        self.register_outputs({})

    def _build(self, wanted: model.Tunnel) -> Tunnel:
        at = self._machines[wanted.name]
        peers = [
            {
                "name": peer.name,
                "address": str(peer.address),
                "port": peer.port,
                "public_key": self._keys[peer.name].public_key,
                **self._endpoint(wanted, peer),
            }
            for peer in wanted.peers
        ]
        inputs = {
            "address": str(wanted.address),
            **({"gateway": str(wanted.gateway)} if wanted.gateway else {"port": wanted.port}),
            **({"mtu": wanted.mtu} if wanted.mtu else {}),
            "tunnel_key": self._keys[wanted.name].private_key,
            "peers": peers,
        }
        return Tunnel(f"{wanted.name}:tunnel", at, inputs=inputs, opts=at.options(self))

    def _endpoint(self, wanted: model.Tunnel, peer: model.Peer) -> dict[str, Input[str]]:
        """Return where a machine speaks to one in another cloud; nothing where it waits for that one."""
        if wanted.gateway or not speaks_first(self._site.placement, wanted.name, peer.name):
            return {}
        return {"endpoint": self._public[peer.name]}

    def _look(self, made: tuple[Tunnel, ...]) -> TunnelCheck:
        """Have machines of all places speak with each other, and again where one of them is another by now."""
        placement, of = self._site.placement, self._machines

        def way(one: str, other: str) -> Output[str]:
            return addressed(self._public).apply(lambda known: ways_between(placement, one, other, known))

        machines = [
            {
                "connection": of[name].connection,
                "peers": [
                    {"name": peer.name, "address": str(peer.address), "way": way(name, peer.name)} for peer in peers
                ],
            }
            for name, peers in pairs(self._site.environment.topology, placement).items()
        ]
        again = [*(of[name].generation for name in self._keys), *(pair.public_key for pair in self._keys.values())]
        private_key = next(of[name].private_key for name in self._keys)
        inputs = {"private_key": private_key, "machines": machines, "recheck_on": Output.all(*again)}
        return TunnelCheck("tunnels", inputs=inputs, opts=ResourceOptions(parent=self, depends_on=made))
