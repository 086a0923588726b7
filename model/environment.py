"""What one stack is to be: its topology, whom it mirrors, and how it is built."""

from __future__ import annotations

from dataclasses import dataclass, field

from model.change.rules import GateRules
from model.cloud import CloudSettings
from model.topology import Machine, Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a stack is built.

    Args:
        capacity: where its machines run: ``here`` is this computer, ``hosts`` those of ``Capacity.yaml``.
        seed: ``newest`` fills the stores from the newest good backup; ``empty`` leaves them empty.
        warm_start: whether machines wake from a saved template where that works.
        protect: whether what keeps data can only be destroyed after this was set to false.
        gate: what the gate asks of a rehearsal; a mirror has none.
        cloud: what holds for its machines in clouds.
    """

    capacity: str = "here"
    seed: str = "empty"
    warm_start: bool = True
    protect: bool = False
    gate: GateRules = field(default_factory=GateRules)
    cloud: CloudSettings = field(default_factory=CloudSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One stack, read whole and free of faults.

    Args:
        stack: the stack's own name, such as ``stage``.
        topology: what it consists of. In a mirror no machine is ``existing``: each is built.
        mirror_of: the stack whose file describes the topology; empty for one that describes itself.
        described: the machines as that file has them, where a mirror's own may be smaller.
    """

    stack: str
    topology: Topology
    mirror_of: str = ""
    settings: Settings = Settings()
    described: tuple[Machine, ...] = ()

    def sizes(self, machine: str) -> dict[str, int]:
        """Return the sizes of a machine as it is described, in MiB."""
        return next(each.sizes for each in (*self.described, *self.topology.machines) if each.name == machine)
