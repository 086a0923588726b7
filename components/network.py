"""What the machines of an environment stand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import pulumi

from components.backends import Backend
from components.site import Site

Ground = TypeVar("Ground")


class Network(pulumi.ComponentResource, Generic[Ground]):
    """The fence, the networks behind it, and room for disks.

    Args:
        backend: the place where the machines run.
        host: the same, as the placement calls it.
        public: the addresses of the stack's machines in a cloud, where they are not here.
    """

    ground: Ground

    def __init__(
        self,
        name: str,
        backend: Backend[Ground],
        site: Site,
        host: str,
        public: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("understudy:components:Network", name, None, opts)
        self.ground = backend.build_ground(site, host, public, self)
        self.register_outputs({})
