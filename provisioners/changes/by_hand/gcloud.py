"""What is typed instead of what is built at Google: the same with ``gcloud compute``; everything has a name. Pure.

Source: gcloud CLI reference, gcloud compute.
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
    whole,
)
from provisioners.changes.by_hand.networks import joined, listed, networks
from provisioners.commands import Variable

_FIRST_BOOT = "components/backends/google_first_boot.sh"
_RANGES = {"sourceRanges": "--source-ranges", "destinationRanges": "--destination-ranges"}


def _compute(planned: Planned, *arguments: str | Variable, place: str = "") -> tuple[str | Variable, ...]:
    """Return a command; ``place`` is the input that says where: ``zone`` or ``region``."""
    values = planned.after or planned.before
    project = next((str(each) for each in (values.get("project"), planned.provider.get("project")) if known(each)), "")
    having = (values, *(each.inputs for needed in planned.needs.values() for each in needed))
    where = next((each[place] for each in having if place and known(each.get(place))), None)
    return (
        *("gcloud", "compute", *arguments),
        *(("--project", project) if project else ()),
        *((f"--{place}", str(where).rpartition("/")[2]) if known(where) else ()),
        "--quiet",
    )


def _name(planned: Planned, key: str) -> str:
    """Return the name of another resource, out of its address or its own inputs."""
    return _needed(planned, key, "", (planned.after or planned.before).get(key))


def _needed(planned: Planned, key: str, kind: str, value: object) -> str:
    """Return the same of one of that kind, whose address is somewhere within an input."""
    if isinstance(value, str) and known(value):
        return value.rpartition("/")[2]
    return next(str(each.inputs.get("name")) for each in planned.needs[key] if each.kind.endswith(kind))


def _listed(values: Mapping[str, Any] | Sequence[Any] | None) -> str:
    if isinstance(values, Mapping):
        return ",".join(f"{key}={values[key]}" for key in sorted(values) if not key.startswith("__"))
    return ",".join(str(each) for each in values or ())


def _labels(values: Mapping[str, Any]) -> tuple[str, ...]:
    return ("--labels", _listed(values["labels"])) if values.get("labels") else ()


def _whole(planned: Planned, what: str, make: Sequence[Step], remove: Step) -> tuple[Part, ...]:
    """Return the part of what is made or removed; nothing for a change within it."""
    name = f"{what} {(planned.after or planned.before).get('name', planned.name)}"
    return whole(planned, name, make, (remove,), again="It is made anew by an update.")


def _network(planned: Planned) -> tuple[Part, ...]:
    name = str((planned.after or planned.before).get("name"))
    make = typed("make it", _compute(planned, "networks", "create", name, "--subnet-mode", "custom"))
    return _whole(planned, "The network", (make,), typed("remove it", _compute(planned, "networks", "delete", name)))


def _subnet(planned: Planned) -> tuple[Part, ...]:
    values = planned.after or planned.before
    name, within = str(values.get("name")), ("networks", "subnets")
    what = ("--network", _name(planned, "network"), "--range", str(values.get("ipCidrRange")))
    make = typed("make it", _compute(planned, *within, "create", name, *what, place="region"))
    end = typed("remove it", _compute(planned, *within, "delete", name, place="region"))
    return _whole(planned, "The subnet", (make,), end)


def _firewall(planned: Planned) -> tuple[Part, ...]:
    values = planned.after or planned.before
    name, rules = str(values.get("name")), values.get("allows") or values.get("denies") or ()
    told = [f"{each['protocol']}{':' + port if port else ''}" for each in rules for port in each.get("ports") or ("",)]
    if planned.operation == "update" and all(each.partition("[")[0] in _RANGES for each in planned.differing):
        new, old = (_reranged(planned, name, each) for each in (planned.after, planned.before))
        return (part(planned, f"The fence's rule {name} is for other networks.", (new,), (old,)),)
    asked, between = _ranges(planned, values)
    argv = (
        *("--network", _name(planned, "network"), "--direction", str(values.get("direction"))),
        *("--action", "ALLOW" if values.get("allows") else "DENY", "--rules", ",".join(told)),
        *between,
        *("--target-tags", _listed(values.get("targetTags"))),
        *(("--priority", str(number(values, "priority"))) if number(values, "priority") else ()),
    )
    make = typed("make it", *asked, _compute(planned, "firewall-rules", "create", name, *argv))
    end = typed("remove it", _compute(planned, "firewall-rules", "delete", name))
    return _whole(planned, "The fence's rule", (make,), end)


def _ranges(planned: Planned, values: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str | Variable, ...]]:
    """Return the lines that ask for networks of a rule, and its arguments that name them."""
    lines: list[str] = []
    arguments: list[str | Variable] = []
    for key, option in _RANGES.items():
        if values.get(key):
            asked, found = networks(planned, key, values[key])
            lines += asked
            arguments += (option, joined(*listed(found)))
    return tuple(lines), tuple(arguments)


def _reranged(planned: Planned, name: str, values: Mapping[str, Any]) -> Step:
    asked, between = _ranges(planned, values)
    return typed("let other networks through", *asked, _compute(planned, "firewall-rules", "update", name, *between))


def _instance(planned: Planned) -> tuple[Part, ...]:
    name = str((planned.after or planned.before).get("name"))
    end = typed("end it", _compute(planned, "instances", "delete", name, place="zone"))
    if planned.operation == "update":
        return _resized(planned, name) if "machineType" in planned.differing else ()
    make = _new_instance(planned, name) if planned.after else ()
    if planned.operation == "replace":
        lost = "What is on its system disk is lost; its data disk stays."
        return (part(planned, f"The machine {name} is made anew.", (end, *make), (), lost),)
    return _whole(planned, "The machine", make, end)


def _new_instance(planned: Planned, name: str) -> tuple[Step, ...]:
    values = planned.after
    disk = (values.get("bootDisk") or {}).get("initializeParams") or {}
    card = (values.get("networkInterfaces") or [{}])[0]
    private = ("understudy-authorized-key", "understudy-host-key")
    shown = {key: value for key, value in (values.get("metadata") or {}).items() if key not in private}
    files = {"startup-script": _FIRST_BOOT, private[0]: f"{name}.authorized-key", private[1]: f"{name}.host-key"}
    inside = _needed(planned, "networkInterfaces", "subnetwork:Subnetwork", card.get("subnetwork"))
    reached = (card.get("accessConfigs") or [{}])[0].get("natIp")
    address = _needed(planned, "networkInterfaces", "address:Address", reached) if reached else ""
    argv = _compute(
        planned,
        *("instances", "create", name, "--machine-type", str(values.get("machineType"))),
        *("--image", str(disk.get("image")), "--boot-disk-size", f"{number(disk, 'size')}GB"),
        *(
            "--boot-disk-type",
            str(disk.get("type")),
            "--boot-disk-auto-delete",
            "--hostname",
            str(values.get("hostname")),
        ),
        *(
            "--subnet",
            inside,
            "--private-network-ip",
            str(card.get("networkIp")),
            *(("--address", address) if address else ()),
            "--tags",
            _listed(values.get("tags")),
        ),
        *_labels(values),
        *("--metadata", _listed(shown), "--metadata-from-file", _listed(files)),
        *("--shielded-secure-boot", "--shielded-vtpm", "--shielded-integrity-monitoring"),
        *("--no-service-account", "--no-scopes"),
        place="zone",
    )
    text = (
        f"write the public key that is to open the machine into `{name}.authorized-key`, and a new private host key "
        f"for it, which is a secret, into `{name}.host-key`: `ssh-keygen -t ed25519 -N '' -f {name}.host-key`."
    )
    return to_fill_in("its keys", text), typed("make it", argv)


def _resized(planned: Planned, name: str) -> tuple[Part, ...]:
    def become(values: Mapping[str, Any]) -> Step:
        size = str(values.get("machineType"))
        return typed(
            f"stop it, make it {size}, and start it",
            _compute(planned, "instances", "stop", name, place="zone"),
            _compute(planned, "instances", "set-machine-type", name, "--machine-type", size, place="zone"),
            _compute(planned, "instances", "start", name, place="zone"),
        )

    effect = f"The machine {name} is stopped, becomes another size, and is started again; its disks stay."
    other = "Unless it keeps its public address, that may be another one afterwards: `./run pulumi refresh` finds it."
    return (part(planned, effect, (become(planned.after),), (become(planned.before),), other),)


def _disk(planned: Planned) -> tuple[Part, ...]:
    values = planned.after or planned.before
    name, before, size = str(values.get("name")), number(planned.before, "size"), number(planned.after, "size")
    if planned.operation == "update" and 0 < before < size:
        grow = typed("make it bigger", _compute(planned, "disks", "resize", name, "--size", f"{size}GB", place="zone"))
        effect = f"The disk {name} is made bigger, {before} GB becomes {size} GB; its data stays."
        return (part(planned, effect, (grow,), (), "A disk is not made smaller again."),)
    what = ("--size", f"{size}GB", "--type", str(values.get("type")), *_labels(values))
    make = typed("make it", _compute(planned, "disks", "create", name, *what, place="zone"))
    end = typed("remove it, and what is on it", _compute(planned, "disks", "delete", name, place="zone"))
    return _whole(planned, "The disk", (make,), end)


def _attached(planned: Planned) -> tuple[Part, ...]:
    values = planned.after or planned.before
    machine, disk = _name(planned, "instance"), ("--disk", _name(planned, "disk"))
    device = ("--device-name", str(values.get("deviceName")))
    make = typed("plug it in", _compute(planned, "instances", "attach-disk", machine, *disk, *device, place="zone"))
    end = typed(
        "stop the machine, and unplug it",
        _compute(planned, "instances", "stop", machine, place="zone"),
        _compute(planned, "instances", "detach-disk", machine, *disk, place="zone"),
    )
    return plugged(planned, make, end)


def _address(planned: Planned) -> tuple[Part, ...]:
    name = str((planned.after or planned.before).get("name"))
    make = typed("rent it", _compute(planned, "addresses", "create", name, place="region"))
    end = typed("give it back", _compute(planned, "addresses", "delete", name, place="region"))
    return _whole(planned, "The public address", (make,), end)


BUILDERS: Mapping[str, Callable[[Planned], tuple[Part, ...]]] = {
    "gcp:compute/network:Network": _network,
    "gcp:compute/subnetwork:Subnetwork": _subnet,
    "gcp:compute/firewall:Firewall": _firewall,
    "gcp:compute/instance:Instance": _instance,
    "gcp:compute/disk:Disk": _disk,
    "gcp:compute/address:Address": _address,
    "gcp:compute/attachedDisk:AttachedDisk": _attached,
}
