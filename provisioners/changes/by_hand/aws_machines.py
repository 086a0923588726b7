"""What is typed instead of a machine or a disk in AWS: the same with ``aws ec2``. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from model.change import Step
from model.change.document import Part
from model.change.planned import Planned
from provisioners.changes.by_hand.aws_commands import ONE_SHELL, ec2, id_, ids, made, me, tags, whole
from provisioners.changes.by_hand.common import number, part, plugged, to_fill_in, typed

_ROOT = "/dev/xvda"
"""Source: Debian wiki, Cloud/AmazonEC2Image: the name of the root device in Debian's images."""


def _instance(planned: Planned) -> tuple[Part, ...]:
    mine = ("--instance-ids", me(planned))
    end = typed(
        "end it", ec2(planned, "terminate-instances", *mine), ec2(planned, "wait", "instance-terminated", *mine)
    )
    if planned.operation == "update":
        return _resized(planned) if "instanceType" in planned.differing else ()
    make = _new_instance(planned) if planned.after else ()
    if planned.operation == "replace":
        lost = "What is on its system disk is lost; its data disk stays."
        return (part(planned, f"The machine {planned.name} is made anew.", (end, *make), (), lost, ONE_SHELL),)
    return whole(planned, "The machine", make, (end,))


def _new_instance(planned: Planned) -> tuple[Step, ...]:
    values, file = planned.after, f"{planned.name}.user-data"
    disk, meta = values.get("rootBlockDevice") or {}, values.get("metadataOptions") or {}
    ebs = {
        "VolumeSize": number(disk, "volumeSize"),
        "VolumeType": disk.get("volumeType"),
        "Encrypted": bool(disk.get("encrypted")),
        "DeleteOnTermination": bool(disk.get("deleteOnTermination")),
    }
    shut = {
        "HttpEndpoint": meta.get("httpEndpoint"),
        "HttpTokens": meta.get("httpTokens"),
        "HttpPutResponseHopLimit": number(meta, "httpPutResponseHopLimit"),
    }
    spends = (values.get("creditSpecification") or {}).get("cpuCredits")
    argv = ec2(
        planned,
        "run-instances",
        *("--image-id", str(values.get("ami")), "--instance-type", str(values.get("instanceType"))),
        *("--subnet-id", id_(planned, "subnetId"), "--private-ip-address", str(values.get("privateIp"))),
        *(("--associate-public-ip-address",) if values.get("associatePublicIpAddress") else ()),
        *("--security-group-ids", *ids(planned, "vpcSecurityGroupIds"), "--key-name", str(values.get("keyName"))),
        *("--user-data", f"file://{file}", "--metadata-options", json.dumps(shut)),
        *("--block-device-mappings", json.dumps([{"DeviceName": _ROOT, "Ebs": ebs}])),
        *(("--credit-specification", f"CpuCredits={spends}") if spends else ()),
        *tags(planned, "instance", "volume"),
    )
    text = (
        f"write a cloud-config that lets your key in as root into the file `{file}`. Understudy's own has the "
        "machine's first host key in it, which is a secret."
    )
    ready = ec2(planned, "wait", "instance-running", "--instance-ids", me(planned))
    step = typed("make it, and wait until it runs", made(planned, "Instances[0].InstanceId", argv), ready)
    return to_fill_in("its user data", text), step


def _resized(planned: Planned) -> tuple[Part, ...]:
    mine = ("--instance-ids", me(planned))

    def become(values: Mapping[str, Any]) -> Step:
        kind = json.dumps({"Value": values.get("instanceType")})
        return typed(
            f"stop it, make it {values.get('instanceType')}, and start it",
            ec2(planned, "stop-instances", *mine),
            ec2(planned, "wait", "instance-stopped", *mine),
            ec2(planned, "modify-instance-attribute", "--instance-id", me(planned), "--instance-type", kind),
            ec2(planned, "start-instances", *mine),
            ec2(planned, "wait", "instance-running", *mine),
        )

    effect = f"The machine {planned.name} is stopped, becomes another size, and is started again; its disks stay."
    other = "Unless it keeps its public address, that is another one afterwards: `./run pulumi refresh` finds it."
    return (part(planned, effect, (become(planned.after),), (become(planned.before),), other),)


def _volume(planned: Planned) -> tuple[Part, ...]:
    values, mine = planned.after, ("--volume-ids", me(planned))
    before, after = number(planned.before, "size"), number(values, "size")
    if planned.operation == "update" and 0 < before < after:
        grow = ec2(planned, "modify-volume", "--volume-id", me(planned), "--size", str(after))
        effect = f"The disk {planned.name} is made bigger, {before} GiB becomes {after} GiB; its data stays."
        shrinks = "A disk is not made smaller again, and AWS changes one at most every six hours."
        step = typed("make it bigger", grow)
        return (part(planned, effect, (step,), (), shrinks),)
    make = ec2(
        planned,
        "create-volume",
        *("--availability-zone", str(values.get("availabilityZone")), "--size", str(after)),
        *("--volume-type", str(values.get("type")), *(("--encrypted",) if values.get("encrypted") else ())),
        *tags(planned, "volume"),
    )
    ready = ec2(planned, "wait", "volume-available", *mine)
    end = typed("remove it, and what is on it", ec2(planned, "delete-volume", "--volume-id", me(planned)))
    return whole(planned, "The disk", (typed("make it", made(planned, "VolumeId", make), ready),), (end,))


def _attachment(planned: Planned) -> tuple[Part, ...]:
    values = planned.after or planned.before
    both = ("--volume-id", id_(planned, "volumeId"), "--instance-id", id_(planned, "instanceId"))
    make = ec2(planned, "attach-volume", *both, "--device", str(values.get("deviceName")))
    machine, volume = ("--instance-ids", both[3]), ("--volume-ids", both[1])
    end = typed(
        "stop the machine, and unplug it",
        ec2(planned, "stop-instances", *machine),
        ec2(planned, "wait", "instance-stopped", *machine),
        ec2(planned, "detach-volume", *both),
        ec2(planned, "wait", "volume-available", *volume),
    )
    plug = typed("plug it in", make, ec2(planned, "wait", "volume-in-use", *volume))
    return plugged(planned, plug, end, ONE_SHELL)


def _address(planned: Planned) -> tuple[Part, ...]:
    make = ec2(planned, "allocate-address", "--domain", "vpc", *tags(planned, "elastic-ip"))
    end = typed("give it back", ec2(planned, "release-address", "--allocation-id", me(planned)))
    keep = typed("rent it", made(planned, "AllocationId", make))
    return whole(planned, "The public address of", (keep,), (end,))


def _address_of(planned: Planned) -> tuple[Part, ...]:
    both = ("--allocation-id", id_(planned, "allocationId"), "--instance-id", id_(planned, "instanceId"))
    make = typed("give it to the machine", made(planned, "AssociationId", ec2(planned, "associate-address", *both)))
    end = typed("take it away", ec2(planned, "disassociate-address", "--association-id", me(planned)))
    return whole(planned, "The way of the public address to", (make,), (end,))


BUILDERS: Mapping[str, Callable[[Planned], tuple[Part, ...]]] = {
    "aws:ec2/instance:Instance": _instance,
    "aws:ebs/volume:Volume": _volume,
    "aws:ec2/volumeAttachment:VolumeAttachment": _attachment,
    "aws:ec2/eip:Eip": _address,
    "aws:ec2/eipAssociation:EipAssociation": _address_of,
}
