"""What a stack's state knows in Azure, by Azure's own identifiers: names there are short, and several kinds share one.

Azure minds no case in an identifier, and its services write one and the same differently: all are in small letters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Source: Microsoft, "Azure REST API reference": what each is called in its address.
_IN_GROUP = {
    "azure:network/virtualNetwork:VirtualNetwork": "Microsoft.Network/virtualNetworks",
    "azure:network/networkSecurityGroup:NetworkSecurityGroup": "Microsoft.Network/networkSecurityGroups",
    "azure:network/publicIp:PublicIp": "Microsoft.Network/publicIPAddresses",
    "azure:network/networkInterface:NetworkInterface": "Microsoft.Network/networkInterfaces",
    "azure:compute/managedDisk:ManagedDisk": "Microsoft.Compute/disks",
    "azure:compute/linuxVirtualMachine:LinuxVirtualMachine": "Microsoft.Compute/virtualMachines",
}
_GROUP = "azure:core/resourceGroup:ResourceGroup"
_SUBNET = "azure:network/subnet:Subnet"
_AROUND = "azure:network/subnetNetworkSecurityGroupAssociation:SubnetNetworkSecurityGroupAssociation"
_PLUG = "azure:compute/dataDiskAttachment:DataDiskAttachment"
_MACHINE = "azure:compute/linuxVirtualMachine:LinuxVirtualMachine"


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureState:
    """What a state knows in Azure.

    Args:
        subscriptions: those in which its providers work.
        known: what it has. A system disk is nobody's but its machine's.
        begun: what was being made when a run was cut off, and the system disk of what was being taken away.
    """

    subscriptions: frozenset[str]
    known: frozenset[str]
    begun: frozenset[str]


def around(subnet: str) -> str:
    """Return what is said here for a subnet's having a fence, which Terraform's provider calls as the subnet itself."""
    return f"{subnet}/fence".lower()


def plug(machine: str, disk: str) -> str:
    """Return Terraform's name of a disk's being plugged into a machine.

    >>> plug("/subscriptions/S/…/virtualMachines/db1", "/subscriptions/S/…/disks/db1-data")
    '/subscriptions/s/…/virtualmachines/db1/datadisks/db1-data'
    """
    return f"{machine}/dataDisks/{disk.rpartition('/')[2]}".lower()


def in_azure(deployment: Mapping[str, Any]) -> AzureState:
    """Return what a state knows in Azure.

    >>> provider = {"urn": "p", "id": "1", "type": "pulumi:providers:azure", "inputs": {"subscriptionId": "Shop"}}
    >>> making = {"type": "azure:core/resourceGroup:ResourceGroup", "provider": "p::1", "inputs": {"name": "dr-west"}}
    >>> cut_off = [{"type": "creating", "resource": making}]
    >>> in_azure({"deployment": {"resources": [provider], "pending_operations": cut_off}}).begun
    frozenset({'/subscriptions/shop/resourcegroups/dr-west'})
    """
    inner = deployment.get("deployment") or {}
    resources = inner.get("resources") or ()
    paid = {
        f"{each.get('urn')}::{each.get('id')}": str(told["subscriptionId"])
        for each in resources
        if each.get("type") == "pulumi:providers:azure" and (told := each.get("inputs") or {}).get("subscriptionId")
    }
    return AzureState(
        subscriptions=frozenset(paid.values()),
        known=frozenset(
            around(each["id"]) if each["type"] == _AROUND else str(each["id"]).lower()
            for each in resources
            if str(each.get("type")).startswith("azure:") and each.get("id")
        ),
        begun=frozenset(
            identifier.lower()
            for each in inner.get("pending_operations") or ()
            for identifier in _cut_off(str(each.get("type")), each.get("resource") or {}, paid)
        ),
    )


def _cut_off(operation: str, resource: Mapping[str, Any], paid: Mapping[str, str]) -> Iterator[str]:
    """Yield what an operation was making. What is being imported is somebody's, and stays."""
    kind, told = str(resource.get("type")), resource.get("inputs") or {}
    if (subscription := paid.get(str(resource.get("provider")))) is None:
        return
    if operation == "creating":
        yield from _identifiers(kind, told, f"/subscriptions/{subscription}/resourceGroups")
    if operation in {"creating", "deleting"} and kind == _MACHINE and (disk := (told.get("osDisk") or {}).get("name")):
        group = told.get("resourceGroupName")
        yield f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/disks/{disk}"


def _identifiers(kind: str, told: Mapping[str, Any], groups: str) -> Iterator[str]:
    """Yield what Azure calls something that was to be made, by what Terraform's provider was told of it."""
    name, within = told.get("name"), f"{groups}/{told.get('resourceGroupName')}/providers"
    if kind == _GROUP:
        yield f"{groups}/{name}"
    elif kind == _SUBNET:
        yield f"{within}/Microsoft.Network/virtualNetworks/{told.get('virtualNetworkName')}/subnets/{name}"
    elif kind == _AROUND:
        yield around(str(told.get("subnetId")))
    elif kind == _PLUG:
        yield plug(str(told.get("virtualMachineId")), str(told.get("managedDiskId")))
    elif kind in _IN_GROUP:
        yield f"{within}/{_IN_GROUP[kind]}/{name}"
