"""What a killed run left in a project at Google: all that has the stack's name and that its state does not know.

Networks, subnets and rules can carry no label there, but the name of each thing begins with the stack's mark. What is
taken away is what a run of this very state was making. The order is that in which Google lets things go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from model.state import RentedThere
from provisioners.clouds.google_account import Account, within_projects
from provisioners.clouds.left_over import Thing, taken_away
from provisioners.outcome import Say


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project as a stack sees it.

    Args:
        account: the project, and who asks.
        prefix: with which the names of the stack's things begin.
        known: the names in its state. No two things of a stack share one, but a machine and its system disk.
        identifiers: those in its state, such as ``projects/shop/zones/ZONE/instances/db1/db1-data`` of a plug.
        begun: the names in what was being made when a run was killed.
    """

    account: Account
    prefix: str
    known: frozenset[str]
    identifiers: frozenset[str]
    begun: frozenset[str]

    def everywhere(self, plural: str) -> list[Any]:
        """Return the stack's things that are each in a place, such as machines in zones."""
        places = self.account.every(f"/aggregated/{plural}")
        return [each for place in places for each in place.get(plural) or () if each["name"].startswith(self.prefix)]

    def worldwide(self, plural: str) -> list[Any]:
        """Return the stack's things that are in no place."""
        return [each for each in self.account.every(f"/global/{plural}") if each["name"].startswith(self.prefix)]

    def plugs(self) -> list[tuple[Any, Any, str]]:
        """Return each machine with each of its disks, as it has them, and where that disk is."""
        machines = self.everywhere("instances")
        disks = ((machine, disk) for machine in machines for disk in machine.get("disks") or ())
        return [(machine, disk, within_projects(disk.get("source", ""))) for machine, disk in disks]

    def thing(self, sort: str, each: Any, *, first: tuple[Callable[[], None], ...] = ()) -> Iterator[Thing]:
        """Yield something that is there, unless the state knows it; first is done what lets it go."""
        if each["name"] in self.known:
            return

        def remove() -> None:
            for act in first:
                act()
            self.account.act("DELETE", _path(each["selfLink"]))

        yield Thing(sort=sort, name=each["name"], ours=each["name"] in self.begun, remove=remove)


def sweep(account: Account, owner: str, state: RentedThere, say: Say, *, act: bool) -> list[str]:
    """Find what the state does not know, and take it away.

    Args:
        account: the project, and who asks.
        owner: the stack's mark.
        state: what the stack's state has at Google.
        say: is told what is removed.
        act: whether to take it away, or only to name it.

    Returns:
        One line for each thing, such as ``machine understudy-dr-a2ad7316-db1 in Google shop``.

    Raises:
        UnderstudyError: Google does not answer, or refuses.
    """
    there = Project(
        account=account,
        prefix=f"{owner}-".replace("_", "-"),
        known=state.names,
        identifiers=state.identifiers,
        begun=state.begun,
    )
    return taken_away(f"Google {account.project}", (partial(sort, there) for sort in _SORTS), say, act=act)


def _path(link: str) -> str:
    """Return the same within its project."""
    return f"/{within_projects(link).partition('/')[2]}"


def _plain(sort: str, listed: Callable[[Project, str], list[Any]], plural: str) -> Callable[[Project], Iterator[Thing]]:
    """Return what finds things that nothing has to be done for first."""

    def find(there: Project) -> Iterator[Thing]:
        for each in listed(there, plural):
            yield from there.thing(sort, each)

    return find


def _disks(there: Project) -> Iterator[Thing]:
    """Yield disks; a system disk, which no state knows, goes with its machine."""
    plugs = there.plugs()
    systems = {at for _, disk, at in plugs if disk.get("boot")}
    for each in there.everywhere("disks"):
        path = within_projects(each["selfLink"])
        if path not in systems:
            unplug = tuple(partial(_unplug, there, machine, disk) for machine, disk, at in plugs if at == path)
            yield from there.thing("disk", each, first=unplug)


def _plugs(there: Project) -> Iterator[Thing]:
    """Yield data disks that are plugged in, where the state knows both sides and not that: it would be done again."""
    for machine, disk, at in there.plugs():
        name, data = machine["name"], at.rpartition("/")[2]
        told = any(each.endswith(f"/{name}/{data}") for each in there.identifiers)
        if not told and not disk.get("boot") and {name, data} <= there.known:
            remove, ours = partial(_unplug, there, machine, disk), {name, data} <= there.begun
            yield Thing(sort=f"plug on {name} of", name=data, ours=ours, remove=remove)


def _unplug(there: Project, machine: Any, disk: Any) -> None:
    there.account.act("POST", f"{_path(machine['selfLink'])}/detachDisk", deviceName=disk["deviceName"])


_SORTS: tuple[Callable[[Project], Iterator[Thing]], ...] = (
    _plain("machine", Project.everywhere, "instances"),
    _plain("address", Project.everywhere, "addresses"),
    _disks,
    _plugs,
    _plain("rule", Project.worldwide, "firewalls"),
    _plain("subnet", Project.everywhere, "subnetworks"),
    _plain("network", Project.worldwide, "networks"),
)
