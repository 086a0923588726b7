"""What one stack is to be: its topology, whom it mirrors, and how it is built."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from model.change.rules import GateRules
from model.cloud import CloudSettings
from model.errors import UnderstudyError
from model.offsite import OffsiteCopy
from model.topology import Backup, Machine, Store, Topology


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
        offsite: copies of the backups, of which the first that can be is taken; none for those of the description.
    """

    capacity: str = "here"
    seed: str = "empty"
    warm_start: bool = True
    protect: bool = False
    gate: GateRules = field(default_factory=GateRules)
    cloud: CloudSettings = field(default_factory=CloudSettings)
    offsite: tuple[OffsiteCopy, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One stack, read whole and free of faults.

    Args:
        stack: the stack's own name, such as ``stage``.
        topology: what it consists of. In a mirror no machine is ``existing``: each is built.
        mirror_of: the stack whose file describes the topology; empty for one that describes itself.
        described: the machines as that file has them, where a mirror's own may be smaller.
        copy: the off-site copy that was taken; None where there is none, or none was taken yet.
    """

    stack: str
    topology: Topology
    mirror_of: str = ""
    settings: Settings = Settings()
    described: tuple[Machine, ...] = ()
    copy: OffsiteCopy | None = None

    def sizes(self, machine: str) -> dict[str, int]:
        """Return the sizes of a machine as it is described, in MiB."""
        return next(each.sizes for each in (*self.described, *self.topology.machines) if each.name == machine)

    def data_disk_key(self, machine: Machine) -> str:
        """Return the file and key that say how big a machine's data disk is."""
        described = next((each for each in self.described if each.name == machine.name), machine)
        if described.data_disk_mib != machine.data_disk_mib:
            return f"Pulumi.{self.stack}.yaml: at_most.data_disk"
        return f"Pulumi.{self.mirror_of or self.stack}.yaml: machines.{machine.name}.data_disk"

    def refuse_overwriting(self) -> None:
        """Refuse to fill the stores anew once users write there.

        Raises:
            UnderstudyError: everybody reaches a machine of the stack.
        """
        if opened := self.settings.cloud.open:
            raise UnderstudyError(
                where=f"Pulumi.{self.stack}.yaml: cloud.open",
                found=f"users reach {', '.join(name for name, _ in opened)}, and what they write is nowhere else",
                wanted="a stack that nobody works with, to fill its stores anew",
                todo="Nothing was done. Strike `open` if the data may go.",
            )

    def at_copy(self, host: str) -> Environment:
        """Return the same, filled from the off-site copy beside a host; from none where that is empty.

        Raises:
            UnderstudyError: the stack's file lists no such copy.
        """
        if not host:
            return self
        copy = next((copy for copy in self.settings.offsite if copy.host == host), None)
        if copy is None:
            raise UnderstudyError(
                where=f"Pulumi.{self.stack}.yaml: offsite",
                found=f"no copy beside {host}, where the stack was placed",
                wanted="that copy, or a new choice",
                todo=f"Put it back, or run `./run understudy place --again -s {self.stack}`.",
            )
        stores = tuple(_from_copy(store, copy) for store in self.topology.stores)
        return replace(self, topology=replace(self.topology, stores=stores), copy=copy)


def _from_copy(store: Store, copy: OffsiteCopy) -> Store:
    at = copy.store(store.name)
    if at is None or store.backup is None:
        return store
    backup = Backup(
        kind=store.backup.kind,
        location=at.bucket,
        stanza=store.backup.stanza,
        endpoint=at.endpoint,
        region=at.region,
        profile=copy.profile,
        fetched_by="machine" if store.backup.kind == "pgbackrest" else "",
    )
    return replace(store, backup=backup)
