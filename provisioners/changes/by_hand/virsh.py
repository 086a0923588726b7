"""What is typed instead of a machine, network, disk or pool that libvirt is told of: the same with ``virsh``. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model import names
from model.change import Step
from model.change.document import Part
from model.change.foreseen import FILL_IN
from model.change.planned import BOOT, DATA_DISK, Planned
from model.libvirt_xml import indented, replaced_by, volume_xml
from provisioners.changes.by_hand.common import fed, known, number, part, typed
from provisioners.commands import command_line

_MIB = 1024 * 1024


def _virsh(planned: Planned) -> tuple[str, ...]:
    uri = planned.provider.get("uri") or planned.after.get("host_uri")
    return ("virsh", "--connect", uri if isinstance(uri, str) and known(uri) else "qemu:///system")


def _is_off(virsh: Sequence[str], domain: str) -> str:
    return f"[ \"$({command_line((*virsh, 'domstate', domain))})\" = 'shut off' ]"


def _off(planned: Planned, domain: str) -> Step:
    """Return the step that shuts a machine down cleanly, and waits until it is off."""
    virsh = _virsh(planned)
    is_off = _is_off(virsh, domain)
    command = (
        f"{is_off} || {command_line((*virsh, 'shutdown', domain))} &&\nuntil {is_off}; do sleep 1; done && echo off\n"
    )
    return Step(name="shut it down cleanly", command=command, prints="off", place="controller")


def _domain(planned: Planned) -> tuple[Part, ...]:
    """A machine: defined and started, or shut down first."""
    virsh = _virsh(planned)
    before, after = (_xml(values) for values in (planned.before, planned.after))
    name = str((planned.after or planned.before).get("name", planned.name))
    start, stop = typed("start it", (*virsh, "start", name)), _off(planned, name)
    forget = typed("let libvirt forget it; its disks stay", (*virsh, "undefine", name))
    define = fed("describe it to libvirt", after, *virsh, "define", "/dev/stdin")
    again = fed("describe it as it was", before, *virsh, "define", "/dev/stdin")
    if planned.operation == "create":
        return (part(planned, f"The machine {name} is made and started.", (define, start), (stop, forget)),)
    if planned.operation == "delete":
        return (part(planned, f"The machine {name} is shut down and forgotten.", (stop, forget), (again, start)),)
    effect = (
        f"The machine {name} is shut down cleanly and started anew; its disks stay. It is away until it has booted."
    )
    return (part(planned, effect, (stop, define, start), (stop, again, start)),)


def _xml(values: Mapping[str, Any]) -> str:
    """Return the XML of a domain, network or volume: it reaches libvirt through a stylesheet that replaces all."""
    return replaced_by(str((values.get("xml") or {}).get("xslt", "")))


def _network(planned: Planned) -> tuple[Part, ...]:
    virsh = _virsh(planned)
    name = str((planned.after or planned.before).get("name", planned.name))
    start = (
        typed("start it", (*virsh, "net-start", name)),
        typed("and at each boot", (*virsh, "net-autostart", name)),
    )
    define = fed("describe it to libvirt", _xml(planned.after), *virsh, "net-define", "/dev/stdin"), *start
    end = typed("end it", (*virsh, "net-destroy", name)), typed("forget it", (*virsh, "net-undefine", name))
    again = fed("describe it as it was", _xml(planned.before), *virsh, "net-define", "/dev/stdin"), *start
    if planned.operation == "create":
        return (part(planned, f"The network {name} is made.", define, end),)
    if planned.operation == "delete":
        return (part(planned, f"The network {name} is removed.", end, again),)
    effect = f"The network {name} is made anew: its machines are cut off from each other meanwhile."
    return (part(planned, effect, (*end, *define), (*end, *again)),)


def _volume(planned: Planned) -> tuple[Part, ...]:
    virsh, values = _virsh(planned), planned.after or planned.before
    name, pool = str(values.get("name", planned.name)), str(values.get("pool", ""))
    create = fed("make it", _volume_xml(planned, name), *virsh, "vol-create", "--pool", pool, "/dev/stdin")
    remove = typed("remove it", (*virsh, "vol-delete", "--pool", pool, name))
    if planned.operation == "create":
        return (part(planned, f"The disk {name} is made, empty or as a clone of its image.", (create,), (remove,)),)
    lost = "What is on it is lost: the only way back is a restore from the backup."
    fetch = Step(name="restore", command="Restore its data from the newest good backup.", place="person")
    if planned.operation == "delete":
        return (part(planned, f"The disk {name} is removed.", (remove,), (fetch,), lost),)
    return (part(planned, f"The disk {name} is made anew.", (remove, create), (fetch,), lost),)


def _volume_xml(planned: Planned, name: str) -> str:
    """Return the XML of a disk; where its template is not there yet, it is a clone of what that is a clone of."""
    values = planned.after
    if xml := _xml(values):
        return xml
    images = (str(each.inputs.get("image") or "") for each in planned.needs.get("xml") or ())
    image = next((each for each in images if known(each)), "")
    below = str(names.ROOT / "images" / image / "disk.qcow2") if image else ""
    return indented(volume_xml(name, number(values, "size") // _MIB, below))


def _data_disk(planned: Planned) -> tuple[Part, ...]:
    """A bigger disk: made so where it is, also while its machine runs."""
    values, size = planned.after, number(planned.after, "size_mib") * _MIB
    if planned.operation != "update" or not 0 < number(planned.before, "size_mib") * _MIB < size:
        return ()
    virsh, domain, path = _virsh(planned), str(values.get("domain")), str(values.get("path"))
    is_off = _is_off(virsh, domain)
    at_work = command_line((*virsh, "blockresize", domain, path, f"{size}B"))
    at_rest = command_line((*virsh, "vol-resize", path, str(size)))
    step = typed(
        "make it bigger",
        f"if {is_off}; then\n    {at_rest}\nelse\n    {at_work}\nfi",
        (*virsh, "pool-refresh", str(values.get("pool"))),
    )
    effect = f"The disk {path} is made bigger where it is; its data stays."
    return (part(planned, effect, (step,), (), "A disk is not made smaller again."),)


def _pool(planned: Planned) -> tuple[Part, ...]:
    virsh, values = _virsh(planned), planned.after or planned.before
    name, path = str(values.get("name", planned.name)), str((values.get("target") or {}).get("path", ""))
    make = (
        typed("describe it", (*virsh, "pool-define-as", name, "dir", "--target", path)),
        typed("make its directory", (*virsh, "pool-build", name)),
        typed("start it", (*virsh, "pool-start", name)),
        typed("and at each boot", (*virsh, "pool-autostart", name)),
    )
    end = (
        typed("end it", (*virsh, "pool-destroy", name)),
        typed("remove its directory, which is empty", (*virsh, "pool-delete", name)),
        typed("forget it", (*virsh, "pool-undefine", name)),
    )
    if planned.operation == "delete":
        return (part(planned, f"The storage pool {name} is removed.", end, make),)
    return (part(planned, f"The storage pool {name} is made in {path}.", make, end),)


def _boot(planned: Planned) -> tuple[Part, ...]:
    """A new machine of our image, which waits to be told who it is; later starts need nothing of this."""
    values = planned.after
    identity, domain = values.get("identity"), str(values.get("domain"))
    if planned.operation != "create" or not known(values.get("image")) or not isinstance(identity, Mapping):
        return ()
    keys = [key if known(key) else f"{FILL_IN}: your public key" for key in identity.get("authorized_keys") or ()]
    told = json.dumps({**_plain(identity), "authorized_keys": keys}, indent=1, sort_keys=True)
    file, uri = f"{planned.name}.host-key", values.get("host_uri")
    make = typed("make its host key", ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file))
    place = ("--connect", uri) if isinstance(uri, str) and known(uri) else ()
    argv = ("./run", "understudy", "introduce", domain, "--uuid", str(values.get("uuid")), "--host-key", file, *place)
    tell = fed("tell it its name, its addresses, and who may log in", told, *argv)
    effect = f"The machine {domain} is told who it is, over a channel that is not the network."
    other = f"Its host key is the one in `{file}.pub`, and not the one that Understudy would have given it."
    return (part(planned, effect, (make, tell), (), other),)


def _plain(values: Any) -> Any:
    """Return values without what Pulumi itself puts among them."""
    if isinstance(values, Mapping):
        return {key: _plain(value) for key, value in values.items() if not key.startswith("__")}
    return [_plain(value) for value in values] if isinstance(values, list) else values


BUILDERS: Mapping[str, Callable[[Planned], tuple[Part, ...]]] = {
    "libvirt:index/domain:Domain": _domain,
    "libvirt:index/network:Network": _network,
    "libvirt:index/volume:Volume": _volume,
    DATA_DISK: _data_disk,
    "libvirt:index/pool:Pool": _pool,
    BOOT: _boot,
}
