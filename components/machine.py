"""One machine, up to its first command and its data disk."""

from __future__ import annotations

from typing import Any, TypeVar

import pulumi
from pulumi import ResourceOptions

from components.backends import Backend, Built, Keys
from components.resources import Filesystem, SshKeypair
from components.site import Site
from model import topology

Ground = TypeVar("Ground")


class Machine(pulumi.ComponentResource):
    """A machine that runs, with its data disk mounted at /srv.

    Attributes:
        built: how it is reached, and how it started.
        ready: what must be there before something that keeps data is made on it.
    """

    built: Built
    ready: tuple[pulumi.Resource, ...]

    def __init__(
        self,
        machine: topology.Machine,
        backend: Backend[Any, Ground],
        site: Site,
        ground: Ground,
        controller: SshKeypair,
        opts: ResourceOptions,
    ) -> None:
        super().__init__("understudy:components:Machine", machine.name, None, opts)
        host_key = SshKeypair(f"{machine.name}-host", comment=machine.name, opts=ResourceOptions(parent=self))
        self.built = backend.build_machine(site, ground, machine, Keys(controller=controller, host=host_key), self)
        self.ready = ()
        if machine.data_disk_mib:
            reached = self.built.reached
            disk = Filesystem(
                f"{machine.name}:/srv",
                reached,
                device=self.built.data_device,
                label="data",
                mount="/srv",
                disk_mib=machine.data_disk_mib,
                opts=reached.options(self, *([self.built.data_disk] if self.built.data_disk else [])),
            )
            self.ready = (disk,)
        self.register_outputs({})
