"""What is typed instead of what is built in Azure: the same with ``az``; everything has a name in a group. Pure.

Source: Azure CLI reference: az group, az network, az vm, az disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model.change import Step
from model.change.document import Part
from model.change.planned import Planned
from provisioners.changes.by_hand.common import (
    known,
    number,
    part,
    plugged,
    to_fill_in,
    typed,
    where,
    whole,
)
from provisioners.changes.by_hand.networks import joined, networks
from provisioners.commands import Variable

_Argv = tuple[str | Variable, ...]
_SIDES = ("source", "destination")
_WITHIN = {"resourceGroups": "resourceGroupName", "virtualNetworks": "virtualNetworkName"}
"""The inputs of a thing that name what it is in, by what stands before that in Azure's addresses."""


def _named(planned: Planned, key: str, sort: str) -> str:
    """Return the name of what a thing is for, out of its address or its own inputs.

    Args:
        planned: the thing's step.
        key: its input that says what it is for.
        sort: what stands before the name in Azure's addresses, such as ``subnets``.
    """
    value = (planned.after or planned.before).get(key)
    value = value[0] if isinstance(value, list) and value else value
    if isinstance(value, str) and known(value):
        return value.partition(f"/{sort}/")[2].partition("/")[0] or value
    inputs = planned.needs[key][0].inputs
    within = _WITHIN.get(sort, "name")
    return str(inputs.get(within) or inputs.get("name"))


def _az(planned: Planned, *arguments: str | Variable, group: str = "") -> _Argv:
    """Return a command in the thing's own resource group; ``group`` is of another thing that is in the same."""
    values = planned.after or planned.before
    within = group or (_within(planned) if "resourceGroupName" in values else "")
    return (
        *("az", *arguments),
        *(("--resource-group", within) if within else ()),
        *where("--subscription", planned.provider.get("subscriptionId")),
    )


def _within(planned: Planned) -> str:
    value = (planned.after or planned.before).get("resourceGroupName")
    return str(value) if known(value) else str(planned.needs["resourceGroupName"][0].inputs.get("name"))


def _where(values: Mapping[str, Any]) -> tuple[str, ...]:
    tags = values.get("tags") or {}
    told = [f"{key}={tags[key]}" for key in sorted(tags) if not key.startswith("__")]
    return (*("--location", str(values.get("location"))), *(("--tags", *told) if told else ()))


def _whole(planned: Planned, what: str, make: Sequence[Step], remove: Step) -> tuple[Part, ...]:
    """Return the part of what is made or removed; nothing for a change within it."""
    name = f"{what} {(planned.after or planned.before).get('name', planned.name)}"
    return whole(planned, name, make, (remove,), again="It is made anew by an update.")


def _simple(planned: Planned, what: str, argv: tuple[str, ...], *told: str) -> tuple[Part, ...]:
    """Return the part of what is made by one command with a name, a place and tags."""
    values = planned.after or planned.before
    name = ("--name", str(values.get("name")))
    make = typed("make it", _az(planned, *argv, "create", *name, *told, *_where(values)))
    return _whole(planned, what, (make,), typed("remove it", _az(planned, *argv, "delete", *name)))


def _group(planned: Planned) -> tuple[Part, ...]:
    values = planned.after or planned.before
    name = ("--name", str(values.get("name")))
    make = typed("make it", _az(planned, "group", "create", *name, *_where(values)))
    end = typed("remove it, with all that is in it", _az(planned, "group", "delete", *name, "--yes"))
    return _whole(planned, "The resource group", (make,), end)


def _network(planned: Planned) -> tuple[Part, ...]:
    spaces = (planned.after or planned.before).get("addressSpaces") or ()
    return _simple(planned, "The network", ("network", "vnet"), "--address-prefixes", *map(str, spaces))


def _subnet(planned: Planned) -> tuple[Part, ...]:
    values = planned.after or planned.before
    mine = ("--vnet-name", _named(planned, "virtualNetworkName", "virtualNetworks"), "--name", str(values.get("name")))
    what = ("--address-prefixes", *map(str, values.get("addressPrefixes") or ()), "--default-outbound-access", "false")
    make = typed("make it", _az(planned, "network", "vnet", "subnet", "create", *mine, *what))
    end = typed("remove it", _az(planned, "network", "vnet", "subnet", "delete", *mine))
    return _whole(planned, "The subnet", (make,), end)


def _fence(planned: Planned) -> tuple[Part, ...]:
    values = planned.after or planned.before
    if planned.operation == "update":
        there, wanted = _rules(planned.before), _rules(planned.after)
        steps, undo = _become(planned, there, wanted), _become(planned, wanted, there)
        effect = f"The fence {values.get('name')} changes rule by rule; meanwhile it lets less through, not more."
        return (part(planned, effect, steps, undo),) if steps else ()
    name = ("--name", str(values.get("name")))
    make = typed("make it", _az(planned, "network", "nsg", "create", *name, *_where(values)))
    rules = _become(planned, {}, _rules(values))
    end = typed("remove it", _az(planned, "network", "nsg", "delete", *name))
    return _whole(planned, "The fence", (make, *rules), end)


def _rules(values: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(each["name"]): each for each in values.get("securityRules") or ()}


def _become(
    planned: Planned, there: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, Mapping[str, Any]]
) -> tuple[Step, ...]:
    """Return the steps from some rules to others; first goes what is in the way, so that no number is taken twice."""
    gone = [name for name in there if wanted.get(name, {}).get("priority") != there[name]["priority"]]
    new = [name for name in wanted if there.get(name) != wanted[name]]
    rule = ("network", "nsg", "rule")
    fence = ("--nsg-name", str((planned.after or planned.before).get("name")))
    return (
        *(typed(f"no more {name}", _az(planned, *rule, "delete", *fence, "--name", name)) for name in gone),
        *(_new_rule(planned, *rule, "create", *fence, rule=wanted[name]) for name in new),
    )


def _new_rule(planned: Planned, *begin: str, rule: Mapping[str, Any]) -> Step:
    lines: list[str] = []
    argv: list[str | Variable] = [*("--name", str(rule["name"]), "--priority", str(int(rule["priority"])))]
    argv += [
        "--direction",
        str(rule["direction"]),
        "--access",
        str(rule["access"]),
        "--protocol",
        str(rule["protocol"]),
    ]
    for side in _SIDES:
        for one, many, option in (
            ("AddressPrefix", "AddressPrefixes", "address-prefixes"),
            ("PortRange", "PortRanges", "port-ranges"),
        ):
            told = rule.get(f"{side}{many}") or [rule.get(f"{side}{one}", "*")]
            asked, found = networks(planned, "securityRules", told)
            lines += asked
            argv += [f"--{side}-{option}", *(joined(*each) for each in found)]
    return typed(f"rule {rule['name']}", *lines, _az(planned, *begin, *argv))


def _around(planned: Planned) -> tuple[Part, ...]:
    subnet, fence = (
        _named(planned, "subnetId", "subnets"),
        _named(planned, "networkSecurityGroupId", "networkSecurityGroups"),
    )
    group = _named(planned, "networkSecurityGroupId", "resourceGroups")
    mine = ("--vnet-name", _named(planned, "subnetId", "virtualNetworks"), "--name", subnet)

    def become(name: str, to: str) -> Step:
        argv = ("network", "vnet", "subnet", "update", *mine, "--network-security-group", to)
        return typed(name, _az(planned, *argv, group=group))

    effect = f"The fence of subnet {subnet}"
    put, take = become("put it around the subnet", fence), become("take it away", "")
    return whole(planned, effect, (put,), (take,), again="It is made anew by an update.")


def _address(planned: Planned) -> tuple[Part, ...]:
    values = planned.after or planned.before
    told = ("--sku", str(values.get("sku")), "--allocation-method", str(values.get("allocationMethod")))
    return _simple(planned, "The public address", ("network", "public-ip"), *told)


def _card(planned: Planned) -> tuple[Part, ...]:
    told: Mapping[str, Any] = ((planned.after or planned.before).get("ipConfigurations") or ({},))[0]
    needs = {each.kind.rpartition(":")[2]: each.inputs for each in planned.needs.get("ipConfigurations", ())}
    subnet, address = told.get("subnetId"), told.get("publicIpAddressId")
    if known(subnet):
        network, inside = (
            str(subnet).partition("/virtualNetworks/")[2].partition("/")[0],
            str(subnet).rpartition("/")[2],
        )
    else:
        network, inside = (str(needs["Subnet"].get(key)) for key in ("virtualNetworkName", "name"))
    public = str(address).rpartition("/")[2] if known(address) else str(needs["PublicIp"].get("name"))
    argv = ("--vnet-name", network, "--subnet", inside, "--private-ip-address", str(told.get("privateIpAddress")))
    return _simple(planned, "The network card", ("network", "nic"), *argv, "--public-ip-address", public)


def _machine(planned: Planned) -> tuple[Part, ...]:
    values = planned.before or planned.after
    name, disk = str(values.get("name")), str((values.get("osDisk") or {}).get("name"))
    end = typed(
        "end it, and remove its system disk",
        _az(planned, "vm", "delete", "--name", name, "--yes"),
        _az(planned, "disk", "delete", "--name", disk, "--yes"),
    )
    if planned.operation == "update":
        return _resized(planned, name) if "size" in planned.differing else ()
    make = _new_machine(planned) if planned.after else ()
    if planned.operation == "replace":
        lost = "What is on its system disk is lost; its data disk stays."
        return (part(planned, f"The machine {name} is made anew.", (end, *make), (), lost),)
    return _whole(planned, "The machine", make, end)


def _new_machine(planned: Planned) -> tuple[Step, ...]:
    values = planned.after
    name, disk, user = str(values.get("name")), values.get("osDisk") or {}, str(values.get("adminUsername"))
    image = values.get("sourceImageReference") or {}
    made_of = ":".join(str(image.get(key)) for key in ("publisher", "offer", "sku", "version"))
    key, told = f"{name}.pub", f"{name}.custom-data"
    argv = (
        *("--name", name, "--computer-name", str(values.get("computerName")), "--size", str(values.get("size"))),
        *("--nics", _named(planned, "networkInterfaceIds", "networkInterfaces")),
        *("--image", made_of if image else str(values.get("sourceImageId")), "--security-type", "Standard"),
        *("--os-disk-name", str(disk.get("name")), "--os-disk-size-gb", str(number(disk, "diskSizeGb"))),
        *("--os-disk-caching", str(disk.get("caching")), "--storage-sku", str(disk.get("storageAccountType"))),
        *("--authentication-type", "ssh", "--admin-username", user, "--ssh-key-values", key, "--custom-data", told),
    )
    text = (
        f"write the public half of the key that is to open the machine into the file `{key}`, and a cloud-config that "
        f"lets it in as root into `{told}`. Understudy's own has the machine's first host key in it, which is a secret."
    )
    shut = ("vm", "update", "--name", name, "--set", "osProfile.allowExtensionOperations=false")
    make = typed("make it", _az(planned, "vm", "create", *argv, *_where(values)), _az(planned, *shut))
    return to_fill_in("its keys", text), make


def _stopped(planned: Planned, machine: str, group: str, *meanwhile: _Argv) -> tuple[_Argv, ...]:
    """Return the commands that stop a machine, do something, and start it again."""
    stop, start = (("vm", verb, "--name", machine) for verb in ("deallocate", "start"))
    return (_az(planned, *stop, group=group), *meanwhile, _az(planned, *start, group=group))


def _resized(planned: Planned, name: str) -> tuple[Part, ...]:
    def become(values: Mapping[str, Any]) -> Step:
        size = str(values.get("size"))
        resize = _az(planned, "vm", "resize", "--name", name, "--size", size)
        return typed(f"stop it, make it {size}, and start it", *_stopped(planned, name, "", resize))

    effect = f"The machine {name} is stopped, becomes another size, and is started again; its disks and addresses stay."
    return (part(planned, effect, (become(planned.after),), (become(planned.before),)),)


def _disk(planned: Planned) -> tuple[Part, ...]:
    values = planned.after or planned.before
    name, before, size = str(values.get("name")), number(planned.before, "diskSizeGb"), number(values, "diskSizeGb")
    if planned.operation == "update" and 0 < before < size:
        machine = planned.name.rpartition("-")[0]  # as the program names a disk
        larger = _az(planned, "disk", "update", "--name", name, "--size-gb", str(size))
        grow = typed(f"stop {machine}, make it bigger, and start it", *_stopped(planned, machine, "", larger))
        effect = f"The disk {name} is made bigger, {before} GB becomes {size} GB; its data stays. {machine} is stopped."
        return (part(planned, effect, (grow,), (), "A disk is not made smaller again."),)
    told = ("--size-gb", str(size), "--sku", str(values.get("storageAccountType")))
    shut = ("--network-access-policy", str(values.get("networkAccessPolicy")), "--public-network-access", "Disabled")
    make = typed("make it", _az(planned, "disk", "create", "--name", name, *told, *shut, *_where(values)))
    end = typed("remove it, and what is on it", _az(planned, "disk", "delete", "--name", name, "--yes"))
    return _whole(planned, "The disk", (make,), end)


def _plug(planned: Planned) -> tuple[Part, ...]:
    values = planned.after or planned.before
    machine, disk = _named(planned, "virtualMachineId", "virtualMachines"), _named(planned, "managedDiskId", "disks")
    group, both = _named(planned, "managedDiskId", "resourceGroups"), ("--vm-name", machine, "--name", disk)
    at = ("--lun", str(number(values, "lun")), "--caching", str(values.get("caching")))
    make = typed("plug it in", _az(planned, "vm", "disk", "attach", *both, *at, group=group))
    end = typed(
        "stop the machine, and unplug it",
        _az(planned, "vm", "deallocate", "--name", machine, group=group),
        _az(planned, "vm", "disk", "detach", *both, group=group),
    )
    return plugged(planned, make, end)


BUILDERS: Mapping[str, Callable[[Planned], tuple[Part, ...]]] = {
    "azure:core/resourceGroup:ResourceGroup": _group,
    "azure:network/virtualNetwork:VirtualNetwork": _network,
    "azure:network/subnet:Subnet": _subnet,
    "azure:network/networkSecurityGroup:NetworkSecurityGroup": _fence,
    "azure:network/subnetNetworkSecurityGroupAssociation:SubnetNetworkSecurityGroupAssociation": _around,
    "azure:network/publicIp:PublicIp": _address,
    "azure:network/networkInterface:NetworkInterface": _card,
    "azure:compute/linuxVirtualMachine:LinuxVirtualMachine": _machine,
    "azure:compute/managedDisk:ManagedDisk": _disk,
    "azure:compute/dataDiskAttachment:DataDiskAttachment": _plug,
}
