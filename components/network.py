"""What the machines of an environment stand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import pulumi

from components.backends import Backend
from components.site import Site

Held = TypeVar("Held")
Ground = TypeVar("Ground")


class Network(pulumi.ComponentResource, Generic[Held, Ground]):
    """The fence, the networks behind it, and room for disks.

    Args:
        backend: the place where the machines run.
        host: the same, as the placement calls it.

    Attributes:
        public: the public addresses that machines keep there, by their names.
        ground: what its machines stand on; there once it was built.
    """

    public: Mapping[str, pulumi.Output[str]]
    ground: Ground

    def __init__(
        self,
        name: str,
        backend: Backend[Held, Ground],
        site: Site,
        host: str,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("understudy:components:Network", name, None, opts)
        self._backend, self._site, self._host = backend, site, host
        reserved = backend.reserve(site, host, self)
        self.public, self._held = reserved.public, reserved.held

    def build(self, public: Mapping[str, pulumi.Input[str]]) -> None:
        """Build it, once the addresses are known that the stack's machines keep in all clouds."""
        self.ground = self._backend.build_ground(self._site, self._host, self._held, public, self)
        self.register_outputs({})


def build_all(networks: Mapping[str, Network[Any, Any]]) -> dict[str, pulumi.Output[str]]:
    """Build those of all places, and return the addresses that machines keep in clouds: each fence may name them."""
    public = {name: address for network in networks.values() for name, address in network.public.items()}
    for network in networks.values():
        network.build(public)
    return public
