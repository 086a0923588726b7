"""What a killed run left in an Azure subscription: all in the stack's resource groups that its state does not know.

A group is known by its tag and its name. What is taken away is what a run of this very state was making, in what the
state has: Terraform's provider would refuse it, since it exists already. The order is that in which Azure lets things
go. What takes more with it (a group all that is in it, a network its subnets) goes only while there is nothing in it.

Source: terraform-provider-azurerm, `tf.ImportAsExistsError` in each resource's creation; Microsoft, "Azure REST API
reference", whose addresses and versions these are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from model.azure_state import AzureState, around, plug
from model.errors import UnderstudyError
from provisioners.clouds.azure_account import Account, within
from provisioners.clouds.left_over import Thing, taken_away
from provisioners.outcome import Say

_GROUPS, _NETWORK, _DISK = "2021-04-01", "2023-11-01", "2023-04-02"
# From 2024-11-01 on a machine whose disks go with it would be ended by force.
_MACHINE = "2024-07-01"
_MACHINES, _DISKS = "Microsoft.Compute/virtualMachines", "Microsoft.Compute/disks"
_CARDS, _ADDRESSES = "Microsoft.Network/networkInterfaces", "Microsoft.Network/publicIPAddresses"
_NETWORKS, _FENCES = "Microsoft.Network/virtualNetworks", "Microsoft.Network/networkSecurityGroups"
_VERSIONS = {
    _MACHINES: _MACHINE,
    _DISKS: _DISK,
    _CARDS: _NETWORK,
    _ADDRESSES: _NETWORK,
    _NETWORKS: _NETWORK,
    _FENCES: _NETWORK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription as a stack sees it.

    Args:
        account: the subscription, and who asks.
        groups: the stack's resource groups there, as Azure tells of them.
        state: what the stack's state knows.
    """

    account: Account
    groups: tuple[Any, ...]
    state: AzureState

    def listed(self, kind: str) -> list[Any]:
        """Return all things of a kind in the stack's groups: to the last page, before the first of them goes."""
        return [each for group in self.groups for each in self.inside(group, kind)]

    def inside(self, group: Any, kind: str) -> Iterator[Any]:
        """Yield all things of a kind in a group."""
        return self.account.every(f"{within(group['id'])}/providers/{kind}", _VERSIONS[kind])

    def plugs(self) -> list[tuple[Any, str]]:
        """Return each machine with the identifier of each of its data disks."""
        told = ((each, each["properties"].get("storageProfile") or {}) for each in self.listed(_MACHINES))
        disks = ((each, one.get("managedDisk") or {}) for each, has in told for one in has.get("dataDisks") or ())
        return [(machine, disk["id"]) for machine, disk in disks if disk.get("id")]

    def thing(self, sort: str, key: str, name: str, remove: Callable[[], None], *, fit: bool = True) -> Iterator[Thing]:
        """Yield something that is there, unless the state knows it.

        Args:
            sort: what it is.
            key: its identifier.
            name: its name, in front of users.
            remove: takes it away.
            fit: whether it can be this state's, as what is in it or has it says.
        """
        key = key.lower()
        if key not in self.state.known:
            begun = key in self.state.begun and self.state.known.issuperset(_around(key))
            yield Thing(sort=sort, name=name, ours=begun and fit, remove=remove)


def sweep(account: Account, owner: str, state: AzureState, say: Say, *, act: bool) -> list[str]:
    """Find what the state does not know, and take it away.

    Args:
        account: the subscription, and who asks.
        owner: the stack's mark.
        state: what the stack's state has in Azure.
        say: is told what is removed.
        act: whether to take it away, or only to name it.

    Returns:
        One line for each thing, such as ``machine understudy-dr-a2ad7316-west/db1 in Azure SUBSCRIPTION``.

    Raises:
        UnderstudyError: Azure does not answer, or refuses.
    """
    told = account.every("/resourcegroups", _GROUPS, filter=f"tagName eq 'owner' and tagValue eq '{owner}'")
    groups = tuple(each for each in told if each["name"].lower().startswith(f"{owner}-") and not _goes(each))
    there = Subscription(account=account, groups=groups, state=state)
    return taken_away(f"Azure {account.subscription}", (partial(sort, there) for sort in _SORTS), say, act=act)


def _goes(group: Any) -> bool:
    return (group.get("properties") or {}).get("provisioningState") == "Deleting"


def _around(key: str) -> tuple[str, ...]:
    """Return the identifiers of what something is in: its group, its network or machine, and its subnet.

    >>> _around("/subscriptions/s/resourcegroups/g/providers/p/virtualnetworks/n/subnets/s")
    ('/subscriptions/s/resourcegroups/g', '/subscriptions/s/resourcegroups/g/providers/p/virtualnetworks/n')
    >>> _around("/subscriptions/s/resourcegroups/g")
    ()
    """
    parts = key.split("/")
    return tuple("/".join(parts[:count]) for count in (5, 9, 11) if count < len(parts))


def _name(identifier: str) -> str:
    """Return a name that no other thing of its sort has: with its group.

    >>> _name("/subscriptions/s/resourceGroups/dr-west/providers/Microsoft.Compute/disks/db1-data")
    'dr-west/db1-data'
    """
    parts = identifier.split("/")
    return f"{parts[4]}/{parts[-1]}" if len(parts) > 5 else parts[-1]


def _removed(there: Subscription, identifier: str, version: str) -> Callable[[], None]:
    return partial(there.account.act, "DELETE", within(identifier), version)


def _plain(sort: str, kind: str) -> Callable[[Subscription], Iterator[Thing]]:
    """Return what finds things that nothing has to be done for first."""

    def find(there: Subscription) -> Iterator[Thing]:
        for each in there.listed(kind):
            remove = _removed(there, each["id"], _VERSIONS[kind])
            yield from there.thing(sort, each["id"], _name(each["id"]), remove)

    return find


def _disks(there: Subscription) -> Iterator[Thing]:
    """Yield disks. A system disk is its machine's while that is there, and stays when that goes.

    A disk that is plugged in was there before the killed run, which would have done that only once its state knew it.
    It may have data.

    Source: Microsoft, "Delete a VM and attached resources"; terraform-provider-azurerm deletes it after the machine.
    """
    machines = (each["properties"].get("storageProfile") or {} for each in there.listed(_MACHINES))
    systems = {(((each.get("osDisk") or {}).get("managedDisk") or {}).get("id") or "").lower() for each in machines}
    plugged = {disk.lower() for _, disk in there.plugs()}
    for each in there.listed(_DISKS):
        key, remove = each["id"].lower(), _removed(there, each["id"], _DISK)
        if key not in systems:
            yield from there.thing("disk", key, _name(each["id"]), remove, fit=key not in plugged)


def _plugs(there: Subscription) -> Iterator[Thing]:
    """Yield data disks that are plugged in, where the state knows both sides and not that: it would be refused."""
    for machine, disk in there.plugs():
        if {machine["id"].lower(), disk.lower()} <= there.state.known:
            sort, remove = f"plug on {_name(machine['id'])} of", partial(_unplug, there, machine["id"], disk)
            yield from there.thing(sort, plug(machine["id"], disk), disk.rpartition("/")[2], remove)


def _unplug(there: Subscription, machine: str, disk: str) -> None:
    """Pull one disk by the call that is for that: whatever else the machine has is not told again.

    Source: Microsoft, "Virtual Machines - Attach Detach Data Disks", which is there since 2024-03-01.
    """
    told = {"dataDisksToDetach": [{"diskId": disk}]}
    there.account.act("POST", f"{within(machine)}/attachDetachDataDisks", _MACHINE, told)


def _subnets(there: Subscription) -> Iterator[Any]:
    for network in there.listed(_NETWORKS):
        yield from network["properties"].get("subnets") or ()


def _fences_around(there: Subscription) -> Iterator[Thing]:
    """Yield subnets that the state knows without their fence: Terraform's provider refuses one that has any."""
    for each in _subnets(there):
        if (each["properties"].get("networkSecurityGroup") or {}).get("id") and each["id"].lower() in there.state.known:
            remove = partial(_take_off, there, each["id"])
            for thing in there.thing("fence around", around(each["id"]), _name(each["id"]), remove):
                yield replace(thing, todo="Without it nothing must run there.")


def _take_off(there: Subscription, subnet: str) -> None:
    """Take a subnet's fence off while no card is in it: no machine runs without one. Else it stays, whatever it costs.

    A first run makes cards after it; so there are some only where it was being put on anew.
    """
    told = there.account.get(within(subnet), _NETWORK)
    has = told["properties"]
    if cards := [_name("/".join(each["id"].split("/")[:9])) for each in has.get("ipConfigurations") or ()]:
        raise UnderstudyError(
            where=f"Azure: {_name(subnet)}",
            found=f"its fence is not in the state, and in it is {', '.join(cards)}",
            wanted="no card in it while the fence is put on anew: machines would be without one for a moment",
            todo=f"Stop its machines (`az vm deallocate`), run `az network vnet subnet update --ids {subnet} --remove "
            "networkSecurityGroup`, then this again, and `az vm start`.",
        )
    kept = {key: value for key, value in has.items() if key != "networkSecurityGroup"}
    there.account.act("PUT", within(subnet), _NETWORK, {**told, "properties": kept})


def _lone_subnets(there: Subscription) -> Iterator[Thing]:
    for each in _subnets(there):
        yield from there.thing("subnet", each["id"], _name(each["id"]), _removed(there, each["id"], _NETWORK))


def _networks(there: Subscription) -> Iterator[Thing]:
    for each in there.listed(_NETWORKS):
        remove, empty = _removed(there, each["id"], _NETWORK), not each["properties"].get("subnets")
        yield from there.thing("network", each["id"], _name(each["id"]), remove, fit=empty)


def _groups(there: Subscription) -> Iterator[Thing]:
    for each in there.groups:
        remove, begun = _removed(there, each["id"], _GROUPS), each["id"].lower() in there.state.begun
        yield from there.thing("group", each["id"], _name(each["id"]), remove, fit=begun and _nothing_in(there, each))


def _nothing_in(there: Subscription, group: Any) -> bool:
    """Whether nothing is in a group, of any kind; each kind is asked for too, since the list of all may lag behind.

    Source: terraform-provider-azurerm, whose deletion of a group asks that list anew for ten minutes.
    """
    if any(True for _ in there.account.every(f"{within(group['id'])}/resources", _GROUPS)):
        return False
    return not any(True for kind in _VERSIONS for _ in there.inside(group, kind))


_SORTS: tuple[Callable[[Subscription], Iterator[Thing]], ...] = (
    _plain("machine", _MACHINES),
    _disks,
    _plugs,
    _plain("card", _CARDS),
    _plain("address", _ADDRESSES),
    _fences_around,
    _lone_subnets,
    _networks,
    _plain("fence", _FENCES),
    _groups,
)
